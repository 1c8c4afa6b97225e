"""Erasing people who have withdrawn from the event log: their events become tombstones.

The withdrawal itself stays in the log; it holds a pseudonym only.
"""

from __future__ import annotations

from collections.abc import Mapping

from annotation.store.event_log import Event, EventLog

Subject = tuple[
    str, str | None, str | None
]  # ("rater", id, study or None for all), ("contributor" or "item", id, None)
PROGRESS = {"rated": 1, "skipped": 0}  # by how much an event moves its rater on in a study


def erase_withdrawn(log: EventLog) -> int:
    """Replace the events of all who have withdrawn that precede their withdrawal → how many."""
    withdrawn = _withdrawals(log)
    return log.erase(lambda event: _tombstone(event, withdrawn))


def _withdrawals(log: EventLog) -> dict[Subject, int]:
    """Who or what was withdrawn, with the number of the event that says so."""
    found: dict[Subject, int] = {}
    for event in log.read():
        if event["event"] == "rater.withdrawn":
            found["rater", event["rater"], event["study"]] = event["sequence"]
        elif event["event"] == "contributor.withdrawn":
            found["contributor", event["contributor"], None] = event["sequence"]
            for item in event["items"]:
                found["item", item, None] = event["sequence"]
    return found


def _tombstone(event: Event, withdrawn: Mapping[Subject, int]) -> Event | None:
    """What is left of an event; None if it stays. Of a rating of a withdrawn voice, the rater's progress is left."""
    if event["event"] in ("rater.withdrawn", "contributor.withdrawn", "erased"):
        return None

    def is_withdrawn(kind: str, name: str | None, study: str | None = None) -> bool:
        return event["sequence"] < withdrawn.get((kind, name, study), 0)

    tombstone: Event = {"sequence": event["sequence"], "event": "erased"}
    rater, study = event.get("rater"), event.get("study")
    if is_withdrawn("rater", rater) or is_withdrawn("rater", rater, study):
        return tombstone
    if event["event"] == "items.added":
        kept = [item for item in event["items"] if not is_withdrawn("contributor", item.get("contributor"))]
        if len(kept) == len(event["items"]):
            return None
        return event | {"items": kept} if kept else tombstone
    if is_withdrawn("item", event.get("item")):
        if event["event"] in PROGRESS:
            tombstone |= {"study": study, "rater": rater, "done": PROGRESS[event["event"]]}
        return tombstone
    return None
