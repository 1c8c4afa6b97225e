"""Tables of an import: CSV as many programs write it, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from annotation.study.columns import Columns
from annotation.study.faults import Faults
from annotation.study.source import Source
from emotion_omni import json_lines
from emotion_omni.text_encoding import WINDOWS, decode_text, split_lines
from emotion_omni.types import EmotionOmniError

TABLES = tuple(f"{stem}{ending}" for stem in ("items", "manifest", "metadata") for ending in (".jsonl", ".csv", ".tsv"))
OTHER_TABLES = (".csv", ".tsv", ".jsonl", ".xlsx", ".xls", ".ods", ".parquet")
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True)
class Row:
    where: str  # "row 3", "line 3"
    values: dict[str, Any]  # by the known names of columns; others by their own
    given: dict[str, Any]  # by the table's own names


@dataclass
class Table:
    file: str
    encoding: str = ""
    separator: str = ""
    columns: dict[str, str] = field(default_factory=dict)  # the table's own name: the known one
    kept: list[str] = field(default_factory=list)  # columns of the researcher's own
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> str:
        parent = str(PurePosixPath(self.file).parent)
        return "" if parent == "." else parent

    def report(self) -> dict[str, Any]:
        named = {name: meant for name, meant in self.columns.items() if name != meant}
        report = {"file": self.file, "rows": len(self.rows), "encoding": self.encoding, "separator": self.separator}
        return report | {"read_as": named, "kept_columns": self.kept}


def find_tables(source: Source) -> list[str]:
    """The tables of a source: one, or one of the same name in each of several folders."""
    found = [name for name in source.names if _base(name) in TABLES]
    kinds = {_base(name) for name in found}
    if len(kinds) > 1:
        raise EmotionOmniError(f"There are several tables: {', '.join(found[:5])}. Keep one of them.", "ambiguous")
    if not found:
        others = [name for name in source.names if _base(name).endswith(OTHER_TABLES)]
        if others:
            raise EmotionOmniError(
                f"{others[0]} is not read: a table is called items.csv or items.jsonl. Rename it, save it as CSV, "
                "or take it out.",
                "bad-manifest",
            )
    return found


def read_table(source: Source, file: str, columns: Columns, most: int, faults: Faults) -> Table:
    table = Table(file)
    text, table.encoding = decode_text(source.read(file), file)
    if table.encoding == WINDOWS:
        sample = next(line for line in split_lines(text) if not line.isascii()).strip()
        table.notes.append(f"{file} was read as {WINDOWS}. Check that this is right: {sample[:80]}")
    reader = _json_rows if file.lower().endswith(".jsonl") else _csv_rows
    table.rows = list(islice(reader(text, table, columns, faults), most))
    return table


def _base(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name.strip().lower()


# --- CSV --------------------------------------------------------------------------------------------------------


def _csv_rows(text: str, table: Table, columns: Columns, faults: Faults) -> Iterator[Row]:
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) <= 5:  # Excel says so
        table_text, skipped = rest, 1
    else:
        table_text = text
    separator = _separator(table_text, columns)
    table.separator = _SEPARATORS[separator]
    records = _records(table_text, separator, table, faults, skipped)
    header: list[str] = []
    for _, record in records:
        if any(cell.strip() for cell in record):
            header = [cell.strip() for cell in record]
            break
    if not header:
        return
    if not _check_header(header, table, columns, faults):
        return
    for number, record in records:
        if row := _csv_row(number, record, header, table, faults):
            yield row


def _records(text: str, separator: str, table: Table, faults: Faults, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Records with their rows in a sheet."""
    header = text.lstrip().partition("\n")[0]
    is_padded = f"{separator} " in header or f'{separator} "' in text  # then a quotation mark may follow a space
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=is_padded)
    number = skipped
    while True:
        number += 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add(f"It cannot be read: {error}. Check its quotation marks.", file=table.file, row=f"row {number}")
            if "unexpected end" in str(error):
                return


def _separator(text: str, columns: Columns) -> str:
    """That which finds most known columns in the header; then that which finds most columns."""
    lines = [line for line in io.StringIO(text) if line.strip()][:1]

    def score(separator: str) -> tuple[int, int]:
        names = [name.strip().strip('"') for name in lines[0].strip("\r\n").split(separator)] if lines else []
        return len(columns.recognize(names)), len(names)

    return max(_SEPARATORS, key=score)


def _check_header(header: list[str], table: Table, columns: Columns, faults: Faults) -> bool:
    before = len(faults.found)
    named = [name for name in header if name]
    for name, count in Counter(name.casefold() for name in named).items():
        if count > 1:
            faults.add("The table has two columns of this name.", file=table.file, row="row 1", column=name)
    table.columns = columns.recognize(named)
    table.kept = [name for name in named if name not in table.columns]
    for meant, count in Counter(table.columns.values()).items():
        if count > 1:
            both = " and ".join(repr(name) for name, known in table.columns.items() if known == meant)
            faults.add(f"{both} are both read as {meant!r}. Rename one.", file=table.file, row="row 1")
    for name in table.kept:
        _check_near(name, table, columns, faults, "row 1")
    for role in columns.roles:
        if role not in table.columns.values() and len(faults.found) == before:
            faults.add(
                f"The table has no column {role!r}; it has {', '.join(named[:12])}.",
                "missing",
                table.file,
                "row 1",
                role,
            )
    return len(faults.found) == before


def _check_near(name: str, table: Table, columns: Columns, faults: Faults, where: str) -> None:
    if near := columns.near_miss(name, table.columns):
        faults.add(
            f"There is no such column. Did you mean {near!r}? If it is your own, give it another name.",
            "unknown-column",
            table.file,
            where,
            name,
        )


def _csv_row(number: int, record: list[str], header: list[str], table: Table, faults: Faults) -> Row | None:
    where, cells = f"row {number}", [cell.strip() for cell in record]
    if not any(cells):
        return None
    if any(cells[len(header) :]):
        faults.add(
            f"It has {len(cells)} fields, but the header has {len(header)}. Put a text that contains the separator "
            f"({table.separator}) in quotation marks: …{cells[len(header) - 1][:30]!r}, {cells[len(header)][:30]!r}",
            file=table.file,
            row=where,
        )
        return None
    given: dict[str, Any] = {}
    for place, (name, cell) in enumerate(zip(header, cells, strict=False)):
        if not name and cell and not (place == 0 and cell.isdigit()):  # an index, as pandas writes it
            faults.add(f"Column {place + 1} has no name but holds {cell[:40]!r}.", file=table.file, row=where)
        if not name or not cell:
            continue
        given[name] = cell
        known = table.columns.get(name, "")
        is_moved = record[place].startswith(" ") and table.separator == "comma"
        if is_moved and (known == "family" or known.startswith("system")):
            faults.add(
                f"It begins with a space: {cell[:40]!r} looks like the rest of a text with a comma in it. Put the text "
                "in quotation marks.",
                file=table.file,
                row=where,
                column=name,
            )
        _check_text(cell, table, where, name, faults)
    if len(cells) < len(header):
        table.notes.append(f"{table.file}, {where}, ends before the last column; the rest of it is read as empty.")
    return Row(where, {table.columns.get(name, name): cell for name, cell in given.items()}, given)


# --- JSON lines -------------------------------------------------------------------------------------------------


def _json_rows(text: str, table: Table, columns: Columns, faults: Faults) -> Iterator[Row]:
    for where, value in _json_values(text, table, faults):
        if not isinstance(value, dict):
            faults.add("It is not an object.", file=table.file, row=where)
            continue
        row = _json_row(where, value, table, columns, faults)
        if row is not None:
            yield row


def _json_values(text: str, table: Table, faults: Faults) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):  # one list of objects
        try:
            listed = json_lines.parse(text)
        except ValueError:
            listed = None
        if isinstance(listed, list) and listed and all(isinstance(one, dict) for one in listed):
            yield from ((f"entry {number}", one) for number, one in enumerate(listed, 1))
            return
    for number, line in enumerate(split_lines(text), 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            yield where, json_lines.parse(line.strip())
        except ValueError as error:
            faults.add(f"It is not JSON: {error}.", file=table.file, row=where)


def _json_row(where: str, value: dict[str, Any], table: Table, columns: Columns, faults: Faults) -> Row | None:
    given = {name.strip(): one.strip() if isinstance(one, str) else one for name, one in value.items()}
    found = columns.recognize(list(given))
    double = [meant for meant, count in Counter(found.values()).items() if count > 1]
    if double or len(given) < len(value):
        faults.add(f"Two names are read as {(double or ['one column'])[0]!r}.", file=table.file, row=where)
        return None
    new: list[str] = []
    for name in given:
        if name not in found and name not in table.kept:
            table.kept.append(name)
            new.append(name)
    table.columns |= found
    for name in new:
        _check_near(name, table, columns, faults, where)
    for name, one in given.items():
        _check_text(one, table, where, name, faults)
        meant = found.get(name, "")
        is_text = meant in columns.roles or meant.startswith(("text_", "system")) or meant in ("family", "guess")
        if is_text and isinstance(one, dict | list | bool):
            faults.add(f"It must be a text, not {json.dumps(one)[:60]}.", file=table.file, row=where, column=name)
            return None
    values = {found.get(name, name): one for name, one in given.items() if one is not None and one != ""}
    return Row(where, values, {name: one for name, one in given.items() if one is not None and one != ""})


def _check_text(value: Any, table: Table, where: str, column: str, faults: Faults) -> None:
    if fault := json_lines.fault_in([column, value]):
        shown = column[:60].encode("utf-8", "replace").decode()
        faults.add(fault, file=table.file, row=where, column=shown)
