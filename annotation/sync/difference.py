"""What the event log here and its copy in the repository have that the other lacks.

Two logs that contradict each other are never merged, and neither is ever overwritten: that is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from annotation.store.event_log import Event, decode
from annotation.sync.local_files import SEGMENT, File, continues

Fetch = Callable[[list[str]], Mapping[str, bytes]]  # the content of files of the repository
EMPTY: File = (0, "")


@dataclass(frozen=True)
class Difference:
    """``newer_here``, ``newer_there``: it has something that the other lacks, later events or erased ones.

    ``rewritten``: events of the repository are erased here.
    """

    newer_here: bool
    newer_there: bool
    rewritten: bool


class Contradiction(Exception):
    """The same event number, but not the same event."""


def find_difference(
    changed: Mapping[str, bytes], names: Set[str], files: Mapping[str, File], fetch: Fetch
) -> Difference:
    """``changed``: the segments here that may differ; ``names``: of all that are here; ``files``: of the repository.

    Fetches only the segments that do not simply continue the repository's.
    """
    missing = any(SEGMENT.fullmatch(path) and files[path][0] and path not in names for path in files)
    rewritten = {path: data for path, data in changed.items() if path in files and not continues(data, files[path])}
    longer = any(len(data) > files.get(path, EMPTY)[0] for path, data in changed.items() if path not in rewritten)
    newer_here, newer_there = longer, missing
    for path, data in fetch(list(rewritten)).items():
        more_here, more_there = _compare(rewritten[path], data, path)
        newer_here, newer_there = newer_here or more_here, newer_there or more_there
    return Difference(newer_here, newer_there, bool(rewritten) and not newer_there)


def _compare(here: bytes, there: bytes, place: str) -> tuple[bool, bool]:
    """Whether each version of a segment has later events than the other, or erased ones."""
    ours, theirs = here.splitlines(), there.splitlines()
    newer_here, newer_there = len(ours) > len(theirs), len(theirs) > len(ours)
    for our_line, their_line in zip(ours, theirs, strict=False):
        if our_line == their_line:
            continue
        our, their = decode(our_line, f"{place} here"), decode(their_line, f"{place} in the backup")
        if _is_left_of(our, their):
            newer_here = True
        elif _is_left_of(their, our):
            newer_there = True
        else:
            raise Contradiction(f"event {our['sequence']} is not the same")
    return newer_here, newer_there


def _is_left_of(event: Event, earlier: Event) -> bool:
    """Whether an event is what an erasure has left of an earlier form: a tombstone, or fewer of several items."""
    if event["sequence"] != earlier["sequence"]:
        return False
    if event["event"] == "erased":
        return earlier["event"] != "erased" or event.keys() < earlier.keys()
    if event["event"] == earlier["event"] == "items.added":
        fewer = all(item in earlier["items"] for item in event["items"])
        return fewer and event | {"items": None} == earlier | {"items": None}
    return False
