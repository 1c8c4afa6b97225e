"""Files that are there whole or not at all, also after a kill or a power cut. No lock files: a rename is the commit."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emotion_omni.types import EmotionOmniError


@contextmanager
def whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """A path to write to; renamed to ``path`` when the block ends well. Raises :class:`EmotionOmniError` (``disk``).

    Not ``durable``: a kill leaves it whole or absent, a power cut may leave it empty; its reader must notice.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        if durable:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise EmotionOmniError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. Free some space or choose another folder; the "
            "same command then goes on.",
            "disk",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, durable: bool = True) -> None:
    with whole(path, durable) as part:
        part.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """So that a rename outlives a power cut."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot
    finally:
        os.close(handle)


def remove_parts(folder: Path) -> int:
    """Delete what an interrupted run left half-written → how many."""
    parts = list(folder.rglob(".*.part"))
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts)
