"""Where the weights of a part come from: ``lineage.json`` beside them. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emotion_omni import weights
from emotion_omni.checkpoint.about import Data
from emotion_omni.checkpoint.errors import as_checkpoint_error, broken
from emotion_omni.checkpoint.layout import SHA256
from emotion_omni.checkpoint.part_files import base_models, files_of, identity_of, parts_of
from emotion_omni.strict import Strict

LINEAGE = "lineage.json"
SHIPPED = "shipped"  # the parent of what was trained from the package's own weights, or from none


@dataclass(frozen=True)
class Lineage(Strict):
    """``files``: with their SHA-256. ``parent``: identity of the checkpoint that training started from, or ``shipped``.

    ``method``: the command. ``data``: what it was trained on. ``base_models``: part → ``id@revision``. ``scores``:
    figures of its evaluation by ``measure figure``. Unknown keys and wrong types are refused (code ``checkpoint``).
    """

    files: dict[str, str]
    parent: str
    method: str
    data: tuple[Data, ...]
    base_models: dict[str, str]
    created: str
    version: str  # of this package
    seed: int = 0
    scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with as_checkpoint_error(LINEAGE):
            rows = tuple(one if isinstance(one, Data) else Data.from_mapping(one) for one in self.data)
            object.__setattr__(self, "data", rows)
            self._require(bool(self.method.strip()), "method", "the command or what was done")
            self._require(
                self.parent == SHIPPED or bool(SHA256.fullmatch(self.parent)), "parent", f"a SHA-256 or {SHIPPED}"
            )
            self._require(all(SHA256.fullmatch(sha) for sha in self.files.values()), "files", "SHA-256 by name")
            self._require(all(isinstance(v, int | float) for v in self.scores.values()), "scores", "numbers by name")
            datetime.fromisoformat(self.created)

    @property
    def identity(self) -> str:
        return identity_of(self.files)

    @property
    def parts(self) -> tuple[str, ...]:
        return parts_of(self.files)


def record(
    folder: Path,
    method: str,
    data: Sequence[Path] = (),
    parent: str = SHIPPED,
    seed: int = 0,
    rows: Mapping[Path, int] | None = None,
) -> Lineage:
    """Write ``lineage.json`` for the part files of ``folder``. A folder of data counts by its tables.

    Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    files = files_of(folder)
    known = [Data(path.name, hash_of_data(path), (rows or {}).get(path, count_rows(path))) for path in data]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    found = Lineage(files, parent, method, tuple(known), base_models(files), created, _version(), seed)
    write(folder, found)
    return found


def write(folder: Path, lineage: Lineage) -> None:
    part = folder / f".{LINEAGE}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(lineage.to_json())
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / LINEAGE)


def read(folder: Path) -> Lineage:
    """Raises :class:`EmotionOmniError` (code ``checkpoint``): none there, or the files are not those it is about."""
    try:
        text = (folder / LINEAGE).read_text(encoding="utf-8")
    except OSError as error:
        raise broken(
            f"{folder.name!r} has no {LINEAGE}, so nobody knows what it was trained on. Train it with this version, "
            f"or say "
            "it: python -m emotion_omni checkpoint record FOLDER --method TEXT --data FILES."
        ) from error
    with as_checkpoint_error(f"{LINEAGE} of {folder.name!r}"):
        found = Lineage.from_json(text)
    if files_of(folder) != found.files:
        raise broken(
            f"The files of {folder.name!r} are not those that its {LINEAGE} is about: one was changed, added or lost. "
            "Train it again, or record it anew."
        )
    return found


def parent_of(file: Path) -> str:
    """The identity of the checkpoint that holds a weight file, ``shipped`` for the package's own."""
    if file.is_relative_to(Path(__file__).parents[1]):
        return SHIPPED
    return identity_of(files_of(file.parent))


def with_scores(lineage: Lineage, scores: Mapping[str, float]) -> Lineage:
    return replace(lineage, scores=dict(scores))


def hash_of_data(path: Path) -> str:
    """Of a file, or over the tables of a folder. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    if path.is_file():
        return weights.sha256(path)
    tables = _tables(path)
    if not tables:
        raise broken(f"{str(path)!r} is no data set: it is no file, and no folder with CSV, TSV or JSON lines.")
    return identity_of({str(table.relative_to(path)): weights.sha256(table) for table in tables})


def count_rows(path: Path) -> int:
    """Lines of the tables; 0 where they are packed."""
    tables = [path] if path.is_file() else _tables(path)
    return sum(table.read_bytes().count(b"\n") for table in tables if table.suffix in (".csv", ".tsv", ".jsonl"))


def _tables(folder: Path) -> list[Path]:
    return sorted(
        file for kind in ("*.csv", "*.tsv", "*.jsonl", "*.jsonl.gz", "*.parquet") for file in folder.rglob(kind)
    )


def _version() -> str:
    try:
        return importlib.metadata.version("emotion-omni-studio")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def as_row(lineage: Lineage) -> dict[str, Any]:
    return json.loads(lineage.to_json()) | {"identity": lineage.identity, "parts": list(lineage.parts)}
