"""Studies from files: rules from ``study.yaml``, items from a table (a row an item) or from recordings alone.

A table is ``items``, ``manifest`` or ``metadata`` as ``.jsonl``, ``.csv`` or ``.tsv``. Its columns are the clips that
the template needs (a path each) and, optionally, ``text_ROLE``, ``system_ROLE``, ``system``, ``family``, ``guess``,
``guess_probability`` and ``expected``. All other columns are kept as provenance.

Everything is read and checked first. All faults are reported at once, and nothing is made until they are settled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from annotation.study.clips import Clips
from annotation.study.columns import Columns
from annotation.study.faults import Faults
from annotation.study.items import Item, make_item, presented
from annotation.study.progress import Progress, no_progress
from annotation.study.rules import Study
from annotation.study.scales import check_answers
from annotation.study.source import MOST_ITEMS, Source, key_of
from annotation.study.tables import Row, Table, find_tables, read_table
from emotion_omni import audio, emotion, json_lines
from emotion_omni.text_encoding import decode_text
from emotion_omni.types import EmotionOmniError

AUDIO_ENDINGS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".webm", ".weba", ".mka", ".mkv"),
    *(".aiff", ".aif", ".aifc", ".caf", ".au", ".snd", ".w64", ".rf64", ".mov", ".m4b", ".3gp", ".mp2", ".mpga"),
    *(".wma", ".amr", ".ac3", ".spx", ".ape", ".wv"),  # refused by name, not left out
)
LONGEST_FAMILY = 80  # characters

Fields = Mapping[str, Any]  # of a row of the table


@dataclass(frozen=True)
class Entry:
    """What becomes an item."""

    file: str  # of the table, or the recording itself
    where: str
    files: Mapping[str, str]  # by role
    values: Fields
    given: Fields  # the row as the researcher wrote it

    @property
    def place(self) -> str:
        """The table and the row in it; "" for a recording that no table names."""
        return f"{self.file}, {self.where}" if self.where else ""


@dataclass
class Checked:
    """An import that has been read and has no faults."""

    rules: Study
    source: Source
    entries: list[Entry] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    recordings: dict[str, tuple[str, float]] = field(default_factory=dict)  # SHA-256 of the bytes, seconds
    left_out: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """What was read, and what was left out."""
        return {
            "items": len(self.entries) * len(self.rules.modes or self.rules.form.modes),
            "recordings": len(self.recordings),
            "seconds": round(sum(seconds for _, seconds in self.recordings.values()), 1),
            "tables": [table.report() for table in self.tables],
            "left_out": self.left_out,
            "notes": self.notes,
        }


def read_source(
    source: Source, clips: Clips, overrides: Mapping[str, Any] | None = None, progress: Progress = no_progress
) -> tuple[Study, list[Item]]:
    """The rules and items of a source. ``overrides``: settings that take precedence over those of study.yaml."""
    checked = check(source, overrides, progress)
    return checked.rules, make_items(checked, clips, progress)


def check(source: Source, overrides: Mapping[str, Any] | None = None, progress: Progress = no_progress) -> Checked:
    """Read a source without making anything. Raises :class:`ImportFaults` with all that is wrong."""
    faults = Faults()
    for name in source.doubles:
        faults.add("The archive holds two files of this name.", "duplicate", name)
    rules = _read_rules(source, overrides or {}, faults)
    checked = Checked(rules, source)
    _read_entries(checked, faults)
    _check_recordings(checked, faults, progress)
    for entry in checked.entries:
        _check_values(entry, rules, faults)
    faults.settle()
    _list_what_is_left_out(checked)
    return checked


def make_items(checked: Checked, clips: Clips, progress: Progress = no_progress) -> list[Item]:
    items: list[Item] = []
    for number, entry in enumerate(checked.entries, 1):
        progress(number, len(checked.entries), "Reading recordings")
        items += _items_of(entry, checked, clips)
    return items


# --- rules ------------------------------------------------------------------------------------------------------


def _read_rules(source: Source, overrides: Mapping[str, Any], faults: Faults) -> Study:
    """The rules. Where they have faults: those of the template, so that the rest can be checked."""
    files = [name for name in source.names if PurePosixPath(name).name.lower() in ("study.yaml", "study.yml")]
    if len(files) > 1:
        faults.add(f"There are several: {', '.join(files[:5])}. Keep one.", "ambiguous", files[1])
    settings: dict[str, Any] = {}
    if files:
        with faults.at(files[0]):
            settings = read_yaml(source.read(files[0]))
    settings |= overrides
    before = len(faults.found)
    for name, value in settings.items():
        with faults.at(files[0] if files and name not in overrides else ""):
            Study.check_setting(name, value)
    if len(faults.found) == before:
        with faults.at(files[0] if files else ""):
            return Study.read(settings)
    template = settings.get("template")
    try:
        return Study.read({"title": "Import", "template": template})
    except EmotionOmniError:  # without a template there is nothing to compare the table with
        faults.settle()
        raise


def read_yaml(data: bytes) -> dict[str, Any]:
    """Settings of a study. Aliases are refused: a few lines of them expand to gigabytes."""
    text, _ = decode_text(data, "study.yaml")
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise EmotionOmniError("study.yaml may have no aliases (*name). Write the value out.", "bad-yaml")
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EmotionOmniError(f"study.yaml is not valid YAML: {error}", "bad-yaml") from error
    if not isinstance(settings, dict):
        raise EmotionOmniError("study.yaml must be a mapping of settings, such as 'title: My study'.", "bad-yaml")
    return settings


# --- entries ----------------------------------------------------------------------------------------------------


def _read_entries(checked: Checked, faults: Faults) -> None:
    source, rules = checked.source, checked.rules
    before = len(faults.found)
    columns, names = Columns(rules), []
    with faults.at():
        names = find_tables(source)
    for name in names:
        with faults.at(name):
            checked.tables.append(read_table(source, name, columns, MOST_ITEMS + 1, faults))
    rows = [(table, row) for table in checked.tables for row in table.rows]
    if names:
        first: dict[tuple[str, ...], str] = {}
        for table, row in rows[:MOST_ITEMS]:
            if entry := _entry(table, row, checked, faults):
                _check_double(entry, first, faults)
                checked.entries.append(entry)
        checked.notes += [note for table in checked.tables for note in table.notes]
    elif len(faults.found) == before:
        _entries_without_table(checked, faults)
    if len(rows) > MOST_ITEMS or len(checked.entries) > MOST_ITEMS:
        raise EmotionOmniError(f"These are too many items for one study; {MOST_ITEMS} are allowed.", "too-large")
    if not checked.entries and len(faults.found) == before:
        faults.add(
            f"No items were found. Give items.jsonl, items.csv, or recordings ({', '.join(AUDIO_ENDINGS[:12])} …).",
            "empty",
        )


def _entries_without_table(checked: Checked, faults: Faults) -> None:
    form = checked.rules.form
    if form.clips != ("speech",):
        faults.add(f"{form.title} needs items.jsonl with {', '.join(form.clips)} for each item.", "missing")
        return
    recordings = [name for name in checked.source.names if key_of(name).lower().endswith(AUDIO_ENDINGS)]
    checked.entries = [Entry(name, "", {"speech": name}, {}, {}) for name in recordings]


def _entry(table: Table, row: Row, checked: Checked, faults: Faults) -> Entry | None:
    form, files = checked.rules.form, {}
    for role in form.clips:
        with faults.at(table.file, row.where, role):
            if not row.values.get(role):
                raise EmotionOmniError(f"it has no {role!r}; {form.title} needs {', '.join(form.clips)}.", "missing")
            files[role] = checked.source.find(str(row.values[role]), table.folder)
    if len(files) < len(form.clips):
        return None
    return Entry(table.file, row.where, files, row.values, row.given)


def _check_double(entry: Entry, first: dict[tuple[str, ...], str], faults: Faults) -> None:
    here = f"{entry.file}, {entry.where}"
    before = first.setdefault(tuple(entry.files.values()), here)
    if before != here:
        faults.add(f"It names the same recordings as {before}.", "duplicate", entry.file, entry.where)


def _check_recordings(checked: Checked, faults: Faults, progress: Progress) -> None:
    places = {
        name: (entry.file, entry.where, role if entry.where else "")
        for entry in reversed(checked.entries)
        for role, name in entry.files.items()
    }
    for number, (name, place) in enumerate(sorted(places.items()), 1):
        progress(number, len(places), "Checking recordings")
        with faults.at(*place):
            try:
                data = checked.source.read(name)
                sound = audio.check_usable(audio.decode(data))
            except EmotionOmniError as error:
                named = f"{name}: {error}" if place[1] else str(error)
                raise EmotionOmniError(named, error.code) from error
            checked.recordings[name] = hashlib.sha256(data).hexdigest(), sound.seconds


def _list_what_is_left_out(checked: Checked) -> None:
    used = set(checked.recordings) | {table.file for table in checked.tables}
    for name in checked.source.names:
        base = PurePosixPath(name).name.lower()
        if name in used or base in ("study.yaml", "study.yml"):
            continue
        is_sound = key_of(name).lower().endswith(AUDIO_ENDINGS)
        reason = "no row names it" if is_sound and checked.tables else "it is neither a recording nor a table"
        checked.left_out.append({"file": name, "reason": reason})
    checked.left_out += [
        {"file": name, "reason": "it is hidden, or belongs to the system"} for name in checked.source.hidden
    ]
    shas: dict[str, str] = {}
    for name, (sha, _) in checked.recordings.items():
        if shas.setdefault(sha, name) != name:
            checked.notes.append(f"{name} has the same bytes as {shas[sha]}.")


# --- a row ------------------------------------------------------------------------------------------------------


def _check_values(entry: Entry, rules: Study, faults: Faults) -> None:
    for column, read in (
        ("guess", lambda: entry.values.get("guess") and emotion.find(str(entry.values["guess"]))),
        ("guess_probability", lambda: _probability(entry.values.get("guess_probability"))),
        ("expected", lambda: _expected(entry.values, rules)),
        ("family", lambda: _family(entry.values)),
    ):
        with faults.at(entry.file, entry.where, column):
            read()
    if rules.template == "words-voice" and not entry.values.get("text_speech"):
        faults.add("words against voice needs the transcript.", "missing", entry.file, entry.where, "text_speech")


def _items_of(entry: Entry, checked: Checked, clips: Clips) -> list[Item]:
    rules, row = checked.rules, entry.values
    roles = rules.form.clips
    sounds = {role: audio.decode(checked.source.read(name)) for role, name in entry.files.items()}
    item = make_item(
        sounds,
        clips,
        _by_role(row, "text", roles),
        family=_family(row),
        guess=_guess(row),
        systems=_systems(row, roles),
        about=_provenance(row, roles),
        expected=_expected(row, rules),
        source={
            "file": dict(entry.files),
            "sha256": {role: checked.recordings[name][0] for role, name in entry.files.items()},
            "row": dict(entry.given),
            "place": entry.place,
        },
    )
    return presented(item, sounds, clips, rules)


def _by_role(row: Fields, column: str, roles: tuple[str, ...]) -> dict[str, str]:
    """``column_ROLE`` of each role that has one."""
    values = {role: row.get(f"{column}_{role}") for role in roles}
    return {role: str(value) for role, value in values.items() if value not in (None, "")}


def _systems(row: Fields, roles: tuple[str, ...]) -> dict[str, str]:
    """Which system spoke each clip. ``system`` alone is that of the reply, or of the only clip."""
    systems = _by_role(row, "system", roles)
    if row.get("system") not in (None, ""):
        systems["reply" if "reply" in roles else roles[0]] = str(row["system"])
    return systems


def _provenance(row: Fields, roles: tuple[str, ...]) -> dict[str, Any]:
    used = {*roles, "family", "guess", "guess_probability", "system", "expected"}
    used |= {f"{column}_{role}" for column in ("text", "system") for role in roles}
    return {str(key): value for key, value in row.items() if key not in used}


def _family(row: Fields) -> str | None:
    if row.get("family") in (None, ""):
        return None
    family = str(row["family"])
    if len(family) > LONGEST_FAMILY:
        raise EmotionOmniError(f"A family has at most {LONGEST_FAMILY} characters.", "bad-manifest")
    return family


def _guess(row: Fields) -> dict[str, Any] | None:
    if not row.get("guess"):
        return None
    found = {"label": emotion.find(str(row["guess"])).name}
    return found | {"probability": _probability(row.get("guess_probability"))}


def _probability(given: Any) -> float | None:
    """A number, or text of one; a decimal comma too."""
    if given in (None, ""):
        return None
    text = given.replace(",", ".") if isinstance(given, str) and re.fullmatch(r"\d+,\d+", given) else given
    try:
        value = -1.0 if isinstance(text, bool) else float(text)
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not 0 <= value <= 1:
        raise EmotionOmniError(f"guess_probability = {str(given)[:40]!r} must be a number from 0 to 1.", "bad-manifest")
    return value


# --- expected answers -------------------------------------------------------------------------------------------


def _expected(row: Fields, rules: Study) -> dict[str, Any] | None:
    """{scale: value}, or the value of the template's main scale. Makes the item a gold item."""
    given = row.get("expected")
    if given in (None, ""):
        return None
    if isinstance(given, str) and given.startswith(("{", "[")):
        try:
            given = json_lines.parse(given)
        except ValueError as error:
            raise EmotionOmniError(f"expected = {given[:60]!r} is not JSON: {error}.", "bad-manifest") from error
    expected = given if isinstance(given, dict) else {rules.form.main: given}
    scales = {scale.name: scale for scale in rules.form.asked(True)}
    read: dict[str, Any] = {}
    for name, values in expected.items():
        asked = (scales[name],) if name in scales else ()
        read[name] = _as_numbers(values) if asked and asked[0].kind == "points" else values
        for value in _each_value(read[name]):
            check_answers(asked, {name: value})
    return read


def _as_numbers(values: Any) -> Any:
    """Numbers that a CSV file holds as text."""
    if isinstance(values, dict):
        return {name: _as_numbers(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_as_numbers(value) for value in values]
    if isinstance(values, str) and re.fullmatch(r"\s*[+-]?\d{1,6}([.,]0+)?\s*", values):
        return int(re.split("[.,]", values)[0])
    return values


def _each_value(expected: Any) -> list[Any]:
    """The values that an expectation names: one, a list of them, or the ends of a range."""
    if not isinstance(expected, dict):
        return expected if isinstance(expected, list) else [expected]
    if not expected or not set(expected) <= {"low", "high"}:
        raise EmotionOmniError(
            f"expected: {str(expected)[:60]} must be a value, a list of values, or low and high.", "bad-manifest"
        )
    return list(expected.values())
