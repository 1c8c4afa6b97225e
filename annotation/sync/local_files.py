"""The mirrored files of a studio's folder: the segments of the event log, and the sounds.

A :data:`File` describes a file by length and hash, which is what a repository's listing says of its files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from annotation.store.event_log import decode

SEGMENT = re.compile(r"log/[0-9]{6,}\.jsonl")
SOUND = re.compile(r"audio/([0-9a-f]{2})/(\1[0-9a-f]{62})\.flac")

File = tuple[int, str]  # length in bytes; SHA-256 of the content, or git's id of it
Stamp = tuple[int, int, int]  # length, time of change, inode
Fingerprint = tuple[tuple[str, Stamp | None], ...]  # of the log's segments and the sounds' folders


def segments(home: Path) -> dict[str, Path]:
    """The segments of the event log by their path in the repository, in order."""
    found = {f"log/{path.name}": path for path in sorted((home / "log").glob("[0-9]*.jsonl"))}
    return {path: file for path, file in found.items() if SEGMENT.fullmatch(path)}


def sounds(home: Path) -> dict[str, Path]:
    found = {path.relative_to(home).as_posix(): path for path in (home / "audio").glob("??/*.flac")}
    return {path: file for path, file in found.items() if SOUND.fullmatch(path)}


def fingerprint(home: Path) -> Fingerprint:
    """Changes whenever the log does, or a sound is added or deleted (its folder's time of change)."""
    folders = {folder.name: folder for folder in (home / "audio").glob("??")}
    return tuple((name, stamp(path)) for name, path in sorted((segments(home) | folders).items()))


def stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def contents(segments: Mapping[str, Path], wanted: Iterable[str] | None = None) -> dict[str, bytes]:
    """Segments, all or those ``wanted``, up to the last newline; the newest up to its last whole operation.

    What follows is still being written.
    """
    found: dict[str, bytes] = {}
    for path in segments if wanted is None else wanted:
        data = segments[path].read_bytes()
        found[path] = data[: data.rfind(b"\n") + 1]
    newest = max(segments, default="")
    if newest in found:
        found[newest] = _whole_operations(found[newest], newest)
    return found


def _whole_operations(data: bytes, place: str) -> bytes:
    """Without the last operation if its end is missing: all events of an operation but the last say ``more``."""
    lines = data.splitlines(keepends=True)
    while lines and "more" in decode(lines[-1].rstrip(b"\n"), f"{place}, line {len(lines)}"):
        lines.pop()
    return b"".join(lines)


def sounds_held(segments: Mapping[str, bytes]) -> set[str]:
    """The hashes of the sounds in all items that were added and not erased, in studies that were not deleted."""
    held: dict[str, set[str]] = {}
    for path, data in sorted(segments.items()):
        for number, line in enumerate(data.splitlines(), 1):
            if b'"items.added"' in line or b'"study.deleted"' in line:
                event = decode(line, f"{path}, line {number}")
                if event["event"] == "items.added":
                    held.setdefault(event["study"], set()).update(re.findall(r'"([0-9a-f]{64})"', line.decode()))
                elif event["event"] == "study.deleted":
                    held.pop(event["study"], None)
    return set().union(*held.values())


# --- lengths and hashes -----------------------------------------------------------------------------------------


def describe(data: bytes | Path) -> File:
    if isinstance(data, Path):  # a sound: its name is its hash
        return data.stat().st_size, data.stem
    return len(data), hashlib.sha256(data).hexdigest()


def has_hash(data: bytes, name: str) -> bool:
    """``name``: 64 digits of SHA-256 (large files), or 40 of git's own id, SHA-1 of "blob", length, content."""
    if len(name) == 64:
        return hashlib.sha256(data).hexdigest() == name
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == name


def is_same(data: bytes, file: File) -> bool:
    return len(data) == file[0] and has_hash(data, file[1])


def continues(data: bytes, file: File) -> bool:
    """Whether the content begins with that file."""
    return len(data) >= file[0] and has_hash(data[: file[0]], file[1])
