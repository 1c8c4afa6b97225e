"""Reads a corpus as a stream: rows in order from Parquet, a row group in memory, sounds on demand.

Knows the files of :mod:`emotion_omni.data.shards`, not how they are made; light enough for training to import.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from emotion_omni.types import EmotionOmniError

SOUNDS = ("query", "reply_audio")
Sound = tuple[str, str, Callable[[], bytes]]  # name, SHA-256, how to read it
OPEN_GROUPS = 8  # row groups whose sounds are kept: a shuffled epoch asks for rows of one file in turn


def is_corpus(folder: Path) -> bool:
    return (folder / "ledger").is_dir() and (folder / "plan.json").is_file()


def rows(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Sound]]]:
    """(columns without sounds, {sound column: (name, SHA-256, read)}) of each kept turn.

    Raises :class:`EmotionOmniError` (code ``data``) for a corpus without finished shards or a damaged file.
    """
    files = sorted((folder / "data").glob("*.parquet"))
    if not files:
        raise EmotionOmniError(
            f"{str(folder)!r} has no finished shard yet. Run data build on it until it says so.", "data"
        )
    for path in files:
        try:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                for place, row in enumerate(file.read_row_group(group).to_pylist()):
                    sounds: dict[str, Sound] = {}
                    for name in SOUNDS:
                        cell = row.pop(name)
                        if cell is not None:
                            digest = hashlib.sha256(cell["bytes"]).hexdigest()
                            sounds[name] = (cell["path"], digest, functools.partial(_sound, path, group, name, place))
                    yield row, sounds
        except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> EmotionOmniError:
    return EmotionOmniError(f"{str(path)!r} cannot be read: {error}. Delete its ledger and build again.", "data")


def _sound(path: Path, group: int, column: str, place: int) -> bytes:
    return _column(path, group, column)[place]


@functools.lru_cache(maxsize=OPEN_GROUPS)
def _column(path: Path, group: int, column: str) -> list[bytes]:
    table = pq.ParquetFile(path).read_row_group(group, columns=[f"{column}.bytes"])
    return [cell["bytes"] if cell else b"" for cell in table.column(column).to_pylist()]
