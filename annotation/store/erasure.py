"""Erasing from the event log: the events of people who have withdrawn and of deleted studies become tombstones.

The withdrawal or deletion itself stays in the log; it holds ids only. The log is read while others write it; only the
exchange of a segment's file is the writer's work. Sounds go first, since the log says which they are: an erasure that
is cut short begins again at the next start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotation.store.event_log import Event, EventLog, decode, encode

# ("rater", id, study or None for all), ("study", id, None), ("contributor" or "item", id, None)
Subject = tuple[str, str | None, str | None]
Erased = Mapping[Subject, int]  # who or what is erased, with the number of the event that says so
PROGRESS = {"rated": 1, "skipped": 0}  # by how much an event moves its rater on in a study
REQUESTS = ("rater.withdrawn", "contributor.withdrawn", "study.deleted")
_REQUEST = re.compile(rb'"event":"(?:rater\.withdrawn|contributor\.withdrawn|study\.deleted)"')
_ID = re.compile(rb'"(?:rater|study|item|contributor)":"((?:[^"\\]|\\.)*)"')
_SOUND = re.compile(r'"([0-9a-f]{64})"')


def requested(log: EventLog, last: int) -> Erased:
    """All that is to be erased, by the withdrawals and deletions up to event ``last``."""
    found: dict[Subject, int] = {}
    for path in log.segments():
        for number, line in enumerate(whole_lines(path), 1):
            if _REQUEST.search(line):
                event = decode(line.rstrip(b"\n"), f"{path.name}, line {number}")
                if event["event"] in REQUESTS and event["sequence"] <= last:
                    for subject in _subjects(event):
                        found[subject] = event["sequence"]
    return found


def _subjects(event: Event) -> list[Subject]:
    if event["event"] == "rater.withdrawn":
        return [("rater", event["rater"], event["study"])]
    if event["event"] == "study.deleted":
        guests = event.get("guests", ())  # unknown to release 0.1
        return [("study", event["study"], None), *(("rater", guest, None) for guest in guests)]
    return [("contributor", event["contributor"], None), *(("item", item, None) for item in event["items"])]


def erase_lines(lines: list[bytes], erased: Erased, place: str) -> tuple[list[bytes], int, set[str]]:
    """→ the lines with their tombstones, the number of events replaced, the hashes of the sounds that they held.

    Only lines that name somebody or something erased are parsed.
    """
    ids = {json.dumps(name, ensure_ascii=False)[1:-1].encode() for _, name, _ in erased if name}
    kept, replaced, sounds = list(lines), 0, set()
    for index, line in enumerate(lines):
        if ids.isdisjoint(_ID.findall(line)):
            continue
        event = decode(line.rstrip(b"\n"), f"{place}, line {index + 1}")
        tombstone = _tombstone(event, erased)
        if tombstone is not None:
            kept[index] = encode(tombstone)
            sounds |= _sounds(event) - _sounds(tombstone)
            replaced += 1
    return kept, replaced, sounds


def delete_sounds(folder: Path, names: set[str]) -> None:
    """Half-written ones, too."""
    for name in names:
        for path in (folder / name[:2]).glob(f"{name}.flac*"):
            path.unlink(missing_ok=True)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a segment. What follows the last newline is still being written."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)


def _sounds(event: Event) -> set[str]:
    return set(_SOUND.findall(json.dumps(event["items"]))) if "items" in event else set()


def _tombstone(event: Event, erased: Erased) -> Event | None:
    """What is left of an event; None if it stays. Of a rating of a withdrawn voice, the rater's progress is left."""
    if event["event"] in REQUESTS or event["event"] == "erased" and "rater" not in event:
        return None

    def is_erased(kind: str, name: Any, study: str | None = None) -> bool:
        return name is not None and event["sequence"] < erased.get((kind, name, study), 0)

    tombstone: Event = {"sequence": event["sequence"], "event": "erased"}
    rater, study = event.get("rater"), event.get("study")
    if is_erased("rater", rater) or is_erased("rater", rater, study) or is_erased("study", study):
        return tombstone
    if event["event"] == "erased":
        return None
    if event["event"] == "items.added":
        kept = [item for item in event["items"] if not is_erased("contributor", item.get("contributor"))]
        if len(kept) == len(event["items"]):
            return None
        return event | {"items": kept} if kept else tombstone
    if is_erased("item", event.get("item")):
        if event["event"] in PROGRESS:
            tombstone |= {"study": study, "rater": rater, "done": PROGRESS[event["event"]]}
        return tombstone
    return None
