"""The event log: an append-only folder of JSON lines from which the whole database can be rebuilt.

Each line is one event with its sequence number and a checksum, in segments of fixed length, so that a mirror sends only
what has changed. Appending ends with fsync. What a crash has cut short, a line or an operation of several events (all
but its last have ``more``), is dropped before the next write; damage anywhere else is an error that names the place.
Erasing replaces events by tombstones, one segment at a time, each atomically. It does not know SQL.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from annotation.store.files import make_private_folder, private, replace_file, sync_folder
from emotion_omni.types import EmotionOmniError

Event = dict[str, Any]
SEGMENT = 10_000  # events a file; about 8 MB
UNKNOWN = -1  # the end of the log is found later, under the lock of the writers


class EventLog:
    """``last``: the sequence number of the newest event, 0 in an empty log, ``UNKNOWN`` until :meth:`repair`."""

    def __init__(self, folder: Path, shared: bool = False) -> None:
        """``shared``: another process may be writing a line, so the log is repaired later, under the writers' lock."""
        self.folder = folder
        make_private_folder(folder)
        self.last = UNKNOWN if shared else self.repair()

    def append(self, events: Sequence[Event]) -> None:
        """Write numbered events and wait until they are on disk; after a failure none of them is left."""
        lines: dict[int, bytes] = {}
        for event in events:
            segment = (event["sequence"] - 1) // SEGMENT
            lines[segment] = lines.get(segment, b"") + encode(event)
        try:
            for segment, data in lines.items():
                self._append_to(self._path(segment), data)
        except OSError as error:
            self.last = UNKNOWN
            with suppress(OSError):  # what is left is dropped by the next writer, as after a crash
                self.cut_back(events[0]["sequence"] - 1)
            raise EmotionOmniError(
                f"The event log cannot be written ({error.strerror}). Free some space.", "disk"
            ) from error
        self.last = events[-1]["sequence"]

    def _append_to(self, path: Path, data: bytes) -> None:
        fresh = not path.exists()
        with open(path, "ab", buffering=0, opener=private) as file:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self.folder)

    def cut_back(self, last: int) -> None:
        """Drop the events after ``last``, whole or torn. It only shortens files, so it works on a full disk."""
        for path in self.segments():
            kept = last - int(path.stem) * SEGMENT  # one line for each number
            if kept <= 0:
                path.unlink()
            elif kept < SEGMENT:
                _keep_lines(path, kept)
        self.last = last

    def read(self, after: int = 0) -> Iterator[Event]:
        """Events with a higher sequence number, in order."""
        expected = after // SEGMENT * SEGMENT + 1
        for path in self.segments():
            if (int(path.stem) + 1) * SEGMENT <= after:
                continue
            for event in _read(path):
                if event["sequence"] != expected:
                    raise EmotionOmniError(
                        f"The event log {path.name} jumps from {expected - 1} to {event['sequence']}.", "log-damaged"
                    )
                expected = event["sequence"] + 1
                if event["sequence"] > after:
                    yield event

    def has_line_with(self, *texts: str) -> bool:
        """Whether some line holds all of these texts. Reads bytes only, so a line that is being written is no harm."""
        wanted = [text.encode() for text in texts]
        for path in self.segments():
            with path.open("rb") as file:
                if any(all(text in line for text in wanted) for line in file):
                    return True
        return False

    def exchange(self, path: Path, before: bytes, after: bytes) -> bool:
        """Put ``after`` in the place of ``before`` at the start of a segment, unless it begins differently by now.

        Only under the lock of the writers: nothing may be appended meanwhile.
        """
        now = path.read_bytes() if path.exists() else b""
        if not now.startswith(before):
            return False
        replace_file(path, after + now[len(before) :])
        return True

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.jsonl"))

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:06d}.jsonl"

    def repair(self) -> int:
        """Drop a torn last line, and an operation whose end is missing → the number of the last event."""
        for leftover in self.folder.glob("*.new"):
            leftover.unlink()
        paths = self.segments()
        if not paths:
            return 0
        path, lines = paths[-1], paths[-1].read_bytes().splitlines(keepends=True)
        kept = len(lines)
        while kept and not _ends_operation(lines[kept - 1], f"{path.name}, line {kept}"):
            kept -= 1
        if not kept:
            path.unlink()
            return self.repair()
        if kept < len(lines):
            _keep_lines(path, kept)
        return decode(lines[kept - 1].rstrip(b"\n"), f"{path.name}, line {kept}")["sequence"]


def encode(event: Event) -> bytes:
    body = json.dumps(event, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(body.encode()):08x} {body}\n".encode()


def decode(line: bytes, place: str) -> Event:
    checksum, _, body = line.partition(b" ")
    try:
        if int(checksum, 16) == zlib.crc32(body):
            return json.loads(body)
    except ValueError:
        pass
    raise EmotionOmniError(f"The event log is damaged at {place}. Restore that file from a backup.", "log-damaged")


def _read(path: Path) -> Iterator[Event]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield decode(line.rstrip(b"\n"), f"{path.name}, line {number}")


def _ends_operation(line: bytes, place: str) -> bool:
    """Whether a line is whole, and the last of its operation."""
    return line.endswith(b"\n") and "more" not in decode(line.rstrip(b"\n"), place)


def _keep_lines(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("r+b") as file:
        file.truncate(sum(map(len, lines[:number])))
        os.fsync(file.fileno())
