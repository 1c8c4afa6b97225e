"""A data set of spoken dialogues → rows: what was said to the model, and what it should answer.

Read from a JSONL file, with paths relative to it, from a corpus of ``data build`` (streamed from its shards), or from a
data set of the Hugging Face hub or of a local folder.
Columns: ``query`` (audio), ``reply`` (text), and as far as known ``reply_audio``, ``reply_emotion``, ``emotion`` and
``transcript`` (of the query), ``speaker``, ``id``, ``history`` (chat messages {role, text, emotion}) and ``split``
(train, dev or test). Names that end in ``_file_name``, as in the hub's audio folders, mean the same.

A row without ``reply_audio`` has none, and nothing is used instead. Rows are strict: the first invalid one is refused
by line and column; lines that are not JSON are all named at once. Keeps no audio in memory, and knows no model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emotion_omni import emotion, json_lines
from emotion_omni.data import reader
from emotion_omni.strict import nearest
from emotion_omni.types import EmotionOmniError, Exchange

COLUMNS = (
    "query",
    "reply",
    "reply_audio",
    "reply_emotion",
    "emotion",
    "transcript",
    "speaker",
    "id",
    "history",
    "split",
)
AUDIO = ("query", "reply_audio")
ALSO = {"query_file_name": "query", "reply_audio_file_name": "reply_audio", "reply_file_name": "reply_audio"}
SPLITS = ("train", "dev", "test")
HUB_SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}


@dataclass(frozen=True)
class Sound:
    """A sound file that is read on demand. ``sha256``: of its bytes; ``where``: its name, for people."""

    where: str
    sha256: str
    read: Callable[[], bytes] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Dialogue:
    """One row. ``line`` counts from 1. Emotions are labels of :mod:`emotion_omni.emotion`."""

    line: int
    query: Sound
    reply: str
    split: str
    reply_audio: Sound | None = None
    reply_emotion: str | None = None
    emotion: str | None = None
    transcript: str | None = None
    speaker: str | None = None
    id: str | None = None
    earlier: tuple[Exchange, ...] = ()


@dataclass(frozen=True)
class Dialogues:
    """The rows of a data set, its ``ignored`` columns, and one hash over everything that is learned from."""

    name: str
    rows: tuple[Dialogue, ...]
    sha256: str
    ignored: tuple[str, ...] = ()

    def of(self, split: str) -> list[Dialogue]:
        return [row for row in self.rows if row.split == split]

    def counts(self) -> dict[str, Any]:
        """For the report: rows by split, and how many have no spoken answer, so train neither emotion nor speech."""
        return {
            "rows": {split: len(self.of(split)) for split in SPLITS},
            "without_reply_audio": sum(row.reply_audio is None for row in self.rows),
            "reply_emotions": dict(Counter(row.reply_emotion for row in self.rows if row.reply_emotion)),
        }


def read(source: str | Path, validation_ratio: float = 0.02) -> Dialogues:
    """A file of JSON lines (``.jsonl``, ``.jsonl.gz``, ``.ndjson``), a folder or a hub id → its rows.

    If no row names a split, a share of them becomes ``dev``.
    Raises :class:`EmotionOmniError` (code ``data``) with the line and column of an invalid value.
    """
    path = Path(source)
    if path.name.lower().endswith(json_lines.ENDINGS):
        return collect(path.stem, _lines(path), validation_ratio)
    if reader.is_corpus(path):
        return collect(path.name, _corpus_rows(path), validation_ratio)
    return collect(str(source), _hub_rows(str(source)), validation_ratio)


def collect(name: str, mappings: Iterable[tuple[int, Mapping[str, Any]]], validation_ratio: float) -> Dialogues:
    """(line, columns) pairs, audio columns as :class:`Sound` or None → the rows."""
    rows, ignored = [], set()
    for line, columns in mappings:
        known = _renamed(line, columns)
        ignored |= set(columns) - set(COLUMNS) - set(ALSO)
        rows.append(_row(line, known))
    if not rows:
        raise EmotionOmniError(f"{name} has no rows. Each line of it is one dialogue with query and reply.", "data")
    if not any(row.split for row in rows):
        rows = _split(rows, validation_ratio)
    without_split = next((row for row in rows if not row.split), None)
    if without_split:
        raise EmotionOmniError(
            f"Line {without_split.line} has no split, while others have one. Give a split to every row, or to none.",
            "data",
        )
    if not any(row.split == "train" for row in rows):
        raise EmotionOmniError(f"{name} has no row in split train, so there is nothing to learn from.", "data")
    return Dialogues(name, tuple(rows), _hash(rows), tuple(sorted(ignored)))


def _renamed(line: int, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Known columns only, under our names. A name that almost equals one of ours is a typo, and refused."""
    found: dict[str, Any] = {}
    for key, value in columns.items():
        name = ALSO.get(key, key)
        if name in COLUMNS:
            found[name] = value if value != "" else None
        elif hint := nearest(key, [*COLUMNS, *ALSO]):
            raise _wrong(line, key, f"is not a column.{hint} Rename or remove it")
    return found


def _row(line: int, columns: Mapping[str, Any]) -> Dialogue:
    for name in ("query", "reply"):
        if columns.get(name) is None:
            raise _wrong(line, name, "is missing. Every row needs a query (audio) and a reply (text)")
    words = {name: _text(line, name, columns.get(name)) for name in ("reply", "transcript", "speaker", "id", "split")}
    if words["split"] not in (None, *SPLITS):
        raise _wrong(line, "split", f"is {words['split']!r}. Use one of: {', '.join(SPLITS)}")
    return Dialogue(
        line,
        columns["query"],
        words["reply"] or "",
        words["split"] or "",
        columns.get("reply_audio"),
        _label(line, "reply_emotion", columns.get("reply_emotion")),
        _label(line, "emotion", columns.get("emotion")),
        words["transcript"],
        words["speaker"],
        words["id"],
        _earlier(line, columns.get("history") or []),
    )


def _text(line: int, name: str, value: Any) -> str | None:
    if value is None:
        return None
    if name in ("speaker", "id") and isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise _wrong(line, name, f"is {value!r}. It must be text")
    return value.strip()


def _label(line: int, name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not emotion.is_known(value):
        raise _wrong(line, name, f"is {value!r}. Use one of: {', '.join(emotion.NAMES)}")
    return emotion.find(value).name


def _earlier(line: int, messages: Any) -> tuple[Exchange, ...]:
    """Chat messages of user and assistant alternately, the last one by the assistant."""
    wanted = "must be a list of messages {role, text, emotion}, alternately by user and assistant, the assistant last"
    wrong = _wrong(line, "history", wanted)
    if not isinstance(messages, list | tuple) or len(messages) % 2:
        raise wrong
    pairs = []
    for said, answered in zip(messages[::2], messages[1::2], strict=True):
        if not (_is_message(said, "user") and _is_message(answered, "assistant")):
            raise wrong
        heard = _label(line, "history", said.get("emotion")) or "neutral"
        planned = _label(line, "history", answered.get("emotion")) or "neutral"
        pairs.append(Exchange(said["text"], heard, answered["text"], planned))
    return tuple(pairs)


def _is_message(message: Any, role: str) -> bool:
    return isinstance(message, Mapping) and message.get("role") == role and isinstance(message.get("text"), str)


def _wrong(line: int, column: str, what: str) -> EmotionOmniError:
    return EmotionOmniError(f"Line {line}, column {column!r}: {what}.", "data")


def _split(rows: Sequence[Dialogue], validation_ratio: float) -> list[Dialogue]:
    """By the hash of the speaker, so that no voice is in both splits; with few speakers, by that of the recording."""
    speakers = {row.speaker for row in rows}
    by_speaker = None not in speakers and validation_ratio * len(speakers) >= 1
    names = [str(row.speaker) if by_speaker else row.id or row.query.sha256 for row in rows]
    ranked = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    count = min(max(round(validation_ratio * len(ranked)), 1), len(ranked) - 1) if validation_ratio > 0 else 0
    dev = set(ranked[:count])
    return [replace(row, split="dev" if name in dev else "train") for row, name in zip(rows, names, strict=True)]


def _hash(rows: Sequence[Dialogue]) -> str:
    total = hashlib.sha256()
    for row in rows:
        values = {name: getattr(row, name) for name in COLUMNS if name not in (*AUDIO, "history")}
        sounds = [row.query.sha256, row.reply_audio.sha256 if row.reply_audio else None]
        earlier = [[exchange.transcript, exchange.heard, exchange.reply] for exchange in row.earlier]
        total.update((json.dumps([values, sounds, earlier], sort_keys=True, ensure_ascii=False) + "\n").encode())
    return total.hexdigest()


# --- where rows come from -----------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, columns in json_lines.read_file(path):
        for key, value in columns.items():
            if ALSO.get(key, key) in AUDIO:
                columns[key] = _file(path.parent, line, key, value)
        yield line, columns


def _file(folder: Path, line: int, column: str, name: Any) -> Sound | None:
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise _wrong(line, column, f"is {name!r}. It must be the path of a sound file, relative to the JSONL file")
    path = folder / name
    try:
        with path.open("rb") as file:
            return Sound(name, hashlib.file_digest(file, "sha256").hexdigest(), path.read_bytes)
    except OSError as error:
        why = f"names {name!r}, which cannot be read ({error.strerror}). Paths are relative to the JSONL file"
        raise _wrong(line, column, why) from error


def _corpus_rows(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Only the columns that training knows: the others of a corpus are for people and filters."""
    for line, (row, sounds) in enumerate(reader.rows(folder), 1):
        known = {name: row[name] for name in COLUMNS if name in row}
        yield line, known | {name: Sound(*found) for name, found in sounds.items()}


def _hub_rows(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Audio columns are read as bytes and decoded by :mod:`emotion_omni.audio`: the library needs no decoder."""
    try:
        import datasets
    except ImportError as error:
        raise EmotionOmniError(
            f"To read {name!r} the package datasets is needed: pip install datasets. A .jsonl file does not need it.",
            "package",
        ) from error
    try:
        loaded = datasets.load_dataset(name)
    # what the library raises for no network, no such data set, no data in a folder
    except (OSError, ValueError) as error:
        raise EmotionOmniError(
            f"The data set {name!r} cannot be loaded: {error}. Name a .jsonl file, a folder or a hub id.", "data"
        ) from error
    line = 0
    for split, table in loaded.items():
        audible = [column for column in table.column_names if isinstance(table.features[column], datasets.Audio)]
        for column in audible:
            table = table.cast_column(column, datasets.Audio(decode=False))
        several = len(loaded) > 1
        for index in range(len(table)):
            line += 1
            columns = {
                key: _heard(table, index, key, line) if key in audible else value for key, value in table[index].items()
            }
            for column in set(columns) - set(audible):
                if ALSO.get(column, column) in AUDIO and columns[column] is not None:
                    raise _wrong(
                        line, column, "is not an audio column. Cast it: dataset.cast_column(column, datasets.Audio())"
                    )
            if several and columns.get("split") is None:
                columns["split"] = HUB_SPLITS.get(str(split), str(split))
            yield line, columns


def _heard(table: Any, index: int, column: str, line: int) -> Sound | None:
    def read() -> bytes:
        cell = table[index][column]
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()

    cell = table[index][column]
    if cell is None:
        return None
    try:
        return Sound(cell["path"] or f"row {line}", hashlib.sha256(read()).hexdigest(), read)
    except OSError as error:
        raise _wrong(line, column, f"names {cell['path']!r}, which cannot be read ({error.strerror})") from error
