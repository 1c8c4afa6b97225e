"""Ratings as training reads them: the export of a study, checked against the contract, and what a method may take.

Words are learned from ratings of words, the voice from ratings of sound. Corrections are words that a rater wrote,
whatever they were judged from. What a method does not take is counted by its reason. Knows no model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emotion_omni import json_lines
from emotion_omni.emotion import NEWS, is_known
from emotion_omni.rating_contract import BOTH, CONTRACT, JUDGED_FROM, SOUND, TABLES, TEXT
from emotion_omni.types import EmotionOmniError, Exchange

Row = dict[str, Any]
MANIFEST = "manifest.json"
WRITTEN = ("corrected", "unchanged", "correction")  # sources whose words a rater wrote or left

METHOD_TABLES = {
    "reward": ("dpo",),
    "dpo": ("dpo",),
    "kto": ("kto",),
    "sft": ("sft",),
    "recognizer": ("emotion",),
    "prosody": ("voice", "dpo"),
}
METHODS = tuple(METHOD_TABLES)
WORDS = ("reward", "dpo", "kto", "sft")
LEAST_ROWS = {"reward": 20, "dpo": 20, "kto": 20, "sft": 10, "recognizer": 20, "prosody": 20}
REASONS = {
    "heard": "raters heard the answers, so words and voice cannot be told apart (--also-heard takes them all the same)",
    "read": "raters read the answers, so they say nothing of the voice",
    "words-shown": "raters saw the words, which tell an emotion that the voice may not carry",
    "same-words": "both answers have the same words, which say nothing to a model of words",
    "other-words": "the two answers differ in words, so a preference is not of the voice alone",
    "no-emotion": "no emotion was named by more raters than any other",
    "no-delivery": "the engine did not say how the answer was to be spoken",
}


@dataclass(frozen=True)
class Ratings:
    """The export of a study. ``sha256``: of its manifest, which holds the hashes of all its files."""

    folder: Path
    study: str
    sha256: str
    files: Mapping[str, str]

    @classmethod
    def read(cls, folder: str | Path) -> Ratings:
        """Raises :class:`EmotionOmniError`: ``ratings`` (no export, or not of this contract), ``locked``."""
        folder = Path(folder)
        try:
            data = (folder / MANIFEST).read_bytes()
            manifest = json.loads(data)
            contract, split = manifest.get("contract", 1), manifest.get("split")
            study, files = manifest["study"], dict(manifest["files"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _refused(
                f"{str(folder)!r} is not the export of a study ({type(error).__name__}: {error}). Unpack it if it is a "
                "zip file, or make one: python -m annotation export STUDY FOLDER."
            ) from error
        if contract != CONTRACT:
            raise _refused(
                f"{str(folder)!r} keeps version {contract!r} of the contract between studio and training; this release "
                f"reads version {CONTRACT}. Export the study again: python -m annotation export {study} FOLDER."
            )
        if split != "training":
            raise locked(f"The study {study!r} is of the split {split!r}")
        return cls(folder, study, hashlib.sha256(data).hexdigest(), files)

    def rows(self, table: str) -> list[Row]:
        """The rows of a table, checked; none where the export has no such table.

        Raises :class:`EmotionOmniError`: ``ratings`` (a file has changed, a column or value is wrong), ``locked``.
        """
        name = self.file_of(table)
        if name not in self.files:
            return []
        path = self.folder / name
        self._check_hash(path)
        numbered = _parquet(path) if table == "emotion" else json_lines.read_file(path)
        return [_checked(row, TABLES[table], f"Row {number} of {name}") for number, row in numbered]

    @staticmethod
    def file_of(table: str) -> str:
        return f"{table}.parquet" if table == "emotion" else f"{table}.jsonl"

    def sound(self, sha256: str) -> Path:
        """The file of a sound of the export. Raises :class:`EmotionOmniError` (code ``ratings``)."""
        path = self.folder / "audio" / f"{sha256}.flac"
        if path.relative_to(self.folder).as_posix() not in self.files:
            raise _refused(f"The export has no sound {sha256[:12]}…. Export the study again.")
        self._check_hash(path)
        return path

    def _check_hash(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _refused(f"{path.name} of the export cannot be read ({error.strerror}). Export again.") from error
        if found != self.files[path.relative_to(self.folder).as_posix()]:
            raise _refused(f"{path.name} is not as it was exported: its hash has changed. Export the study again.")


@dataclass(frozen=True)
class Selection:
    """What a method takes: rows by table, and how many it leaves, by reason."""

    method: str
    tables: Mapping[str, list[Row]]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.tables.values() for row in rows]

    def counts(self) -> dict[str, Any]:
        return {
            "taken": {table: len(rows) for table, rows in self.tables.items() if rows},
            "left_out": dict(self.left_out),
            "raters": len({rater for row in self.rows for rater in row["raters"]}),
            "families": len({row["family"] for row in self.rows}),
        }

    def require_enough(self) -> None:
        """Raises :class:`EmotionOmniError` (code ``too-little``)."""
        least, found = LEAST_ROWS[self.method], len(self.rows)
        reasons = "".join(f" {count} left out: {REASONS[reason]}." for reason, count in self.left_out.items())
        if found < least:
            raise too_little(f"{self.method} needs at least {least} rows, and the export has {found} for it.{reasons}")
        if self.method == "kto" and len({row["label"] for row in self.rows}) < 2:
            raise too_little("kto needs good and bad answers, and all have the same label.")
        if self.method == "recognizer" and len({row["label"] for row in self.rows}) < 2:
            raise too_little("recognizer needs recordings of at least two emotions, and all have the same label.")
        if len({row["family"] for row in self.rows}) < 5:
            raise too_little("The rows come from fewer than 5 items, so nothing could be held out to check the result.")


def select(ratings: Ratings, method: str, also_heard: bool = False) -> Selection:
    """The rows of its own kind that a method takes. ``also_heard``: words are learned from spoken answers, too."""
    if method not in METHODS:
        raise _refused(f"No method is called {method!r}. Choose one of: {', '.join(METHODS)}.")
    tables: dict[str, list[Row]] = {}
    left_out: Counter[str] = Counter()
    for table in METHOD_TABLES[method]:
        tables[table] = []
        for row in ratings.rows(table):
            if reason := _reason_against(method, table, row, also_heard):
                left_out[reason] += 1
            else:
                tables[table].append(row)
    return Selection(method, tables, left_out)


def _reason_against(method: str, table: str, row: Row, also_heard: bool) -> str:
    """Why a method does not take a row, one of :data:`REASONS`; empty if it does."""
    if method in WORDS:
        if row.get("same_words"):
            return "same-words"
        is_of_words = row["judged_from"] == TEXT or row["source"] in WRITTEN
        return "" if is_of_words or also_heard else "heard"
    if method == "recognizer":
        if row["judged_from"] != SOUND:
            return "words-shown"
        return "" if row["label"] else "no-emotion"
    if row["judged_from"] == TEXT:
        return "read"
    if table == "dpo":
        if not row["same_words"]:
            return "other-words"
        return "" if row["chosen_delivery"] and row["rejected_delivery"] else "no-delivery"
    if row["judged_from"] == BOTH:
        return "words-shown"
    return "" if row["delivery"] else "no-delivery"


def is_validation(row: Row, share: float) -> bool:
    """By a hash of the item's family: all rows of one are on one side."""
    return int(hashlib.sha256(str(row["family"]).encode()).hexdigest(), 16) % 1000 < 1000 * share


def split(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """→ rows for training and for validation, of different items; at least one item in each."""
    families = sorted({str(row["family"]) for row in rows}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = min(max(1, round(share * len(families))), len(families) - 1)
    held = set(families[:count])
    return [row for row in rows if row["family"] not in held], [row for row in rows if row["family"] in held]


def history_of(row: Row) -> tuple[Exchange, ...]:
    """The earlier turns of a row, as pairs."""
    messages = row.get("history") or []
    pairs = zip(messages[::2], messages[1::2], strict=True)
    return tuple(
        Exchange(said["text"], said.get("emotion") or "neutral", reply["text"], reply.get("emotion") or "neutral")
        for said, reply in pairs
    )


def content_of(messages: Sequence[Mapping[str, str]]) -> str:
    """The words of an answer in TRL's format: one message."""
    return messages[-1]["content"].strip()


# --- checks -------------------------------------------------------------------------------------------------------


def _checked(row: Row, columns: Sequence[str], place: str) -> Row:
    missing = [name for name in columns if name not in row]
    if missing:
        raise _refused(f"{place} has no column {missing[0]!r}, which the contract asks for. Export the study again.")
    if row["split"] != "train":
        raise locked(f"{place} is of the split {row['split']!r}")
    for name, holds, wanted in _VALUES:
        if name in columns and not holds(row[name]):
            raise _refused(f"{place}: {name} is {row[name]!r}; it must be {wanted}.")
    return row


def _is_tone(value: Any) -> bool:
    return value is None or (isinstance(value, str) and all(map(is_known, value.split(" or "))))


def _is_answer(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 1
        and isinstance(value[0], Mapping)
        and value[0].get("role") == "assistant"
        and isinstance(value[0].get("content"), str)
        and bool(value[0]["content"].strip())
    )


def _is_history(value: Any) -> bool:
    if not isinstance(value, list) or len(value) % 2:
        return False
    roles = ["user", "assistant"] * (len(value) // 2)
    return all(
        isinstance(one, Mapping) and one.get("role") == role and isinstance(one.get("text"), str)
        for one, role in zip(value, roles, strict=True)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_VALUES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("judged_from", lambda value: value in JUDGED_FROM, f"one of {', '.join(JUDGED_FROM)}"),
    ("raters", lambda value: isinstance(value, list) and bool(value), "a list of raters"),
    ("transcript", _is_text, "what was said"),
    ("reply", _is_text, "an answer"),
    ("emotion", _is_tone, "an emotion, two joined by ' or ', or null"),
    ("event", lambda value: value is None or value in NEWS, f"one of {', '.join(NEWS)}, or null"),
    ("history", _is_history, "a list of messages {role, text, emotion}, by user and assistant in turn"),
    ("chosen", _is_answer, "one message of the assistant"),
    ("rejected", _is_answer, "one message of the assistant"),
    ("completion", _is_answer, "one message of the assistant"),
    ("flip_rate", lambda value: isinstance(value, float) and 0 <= value <= 0.5 + 1e-9, "from 0 to 0.5"),
    ("margin", lambda value: isinstance(value, int | float) and value >= 0, "0 or more"),
)


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pyarrow.parquet as pq

    number = 0
    for batch in pq.ParquetFile(path).iter_batches(64):
        for row in batch.to_pylist():
            number += 1
            yield number, row | {"audio": row["audio_sha256"][0]}  # the sound itself lies in the folder audio


def _refused(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "ratings")


def too_little(message: str) -> EmotionOmniError:
    return EmotionOmniError(f"{message} Collect more ratings, and export the study again.", "too-little")


def locked(what: str) -> EmotionOmniError:
    return EmotionOmniError(
        f"{what}: its items measure models, and nothing may be trained on them. Rate a study of the split training.",
        "locked",
    )
