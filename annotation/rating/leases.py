"""Leases: an item is handed to a rater for some minutes, and goes to another rater when they run out.

A lease is renewed by use, but ends after three times its minutes at the latest.

An item that asks for k ratings (``ratings_per_item``) is claimed by at most k raters at a time: the store counts
claims in the transaction that hands out, so that raters who ask at the same moment never exceed it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from annotation.rating.enrolment import Enrolment, known_item, known_study
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.study.rules import Study
from emotion_omni.types import EmotionOmniError

LONGEST_LEASES = 3  # so many times its minutes a lease lasts, however often it is renewed
SWEEP_SECONDS = 1.0  # between two searches for leases that have run out


class HandedItem(NamedTuple):
    """An item in a rater's hands."""

    assignment: Mapping[str, Any]
    item: Mapping[str, Any]


class Leases:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._swept = 0.0

    def held(self, enrolment: Enrolment) -> HandedItem | None:
        """The item that the rater holds already, with its lease renewed; None if it cannot be renewed any more."""
        transaction = enrolment.transaction
        assignment = transaction.open_assignment(enrolment.study_id, enrolment.rater)
        if assignment is None:
            return None
        end = self._end(enrolment.rules, assignment["created"])
        if end <= self._now():
            expire_assignment(transaction, assignment["id"])
            return None
        transaction.extend_lease(assignment["id"], end)
        return HandedItem(assignment, known_item(transaction, assignment["item"]))

    def hand_out(
        self, enrolment: Enrolment, kind: str, item: Mapping[str, Any], flip: int = 1, guess: int = 0
    ) -> HandedItem:
        """``flip`` -1: the answers have changed sides. ``guess`` 1: the model's guess is shown."""
        now = self._now()
        event = enrolment.transaction.record(
            "assigned",
            at=now,
            assignment=uuid.uuid4().hex,
            study=enrolment.study_id,
            rater=enrolment.rater,
            item=item["id"],
            family=item["family"],
            kind=kind,
            block=enrolment.block,
            slot=enrolment.slot,
            flip=flip,
            guess=guess,
            leased_until=self._end(enrolment.rules, now),
        )
        return HandedItem(event | {"id": event["assignment"]}, item)

    def renew(self, transaction: Transaction, rater: str, assignment: str) -> None:
        """A rater who is still at work keeps the lease."""
        row = own_assignment(transaction, rater, assignment)
        if row["state"] == "open":
            rules = Study.read(known_study(transaction, row["study"])["settings"])
            transaction.extend_lease(row["id"], self._end(rules, row["created"]))

    def expire(self, transaction: Transaction) -> None:
        """Free the items whose leases have run out; looks for them once a second at most."""
        if self._now() - self._swept < SWEEP_SECONDS:
            return
        self._swept = self._now()
        for assignment in transaction.expired(self._now()):
            expire_assignment(transaction, assignment)

    def _end(self, rules: Study, handed_out: float) -> float:
        seconds = rules.lease_minutes * 60
        return min(self._now() + seconds, handed_out + LONGEST_LEASES * seconds)


def expire_assignment(transaction: Transaction, assignment: str) -> None:
    row = transaction.assignment(assignment)
    assert row is not None, "the store has just named it"
    facts = {name: row[name] for name in ("study", "rater", "item", "kind", "flip")}
    transaction.record("expired", assignment=assignment, **facts)


def own_assignment(view: View, rater: str, assignment: Any) -> Row:
    """An assignment of this rater. Another's, and one that does not exist, look the same from outside."""
    row = view.assignment(str(assignment))
    if row is None or row["rater"] != rater:
        raise EmotionOmniError("This item was not handed to you. Ask for the next one.", "not-yours")
    return row


def reclaim(transaction: Transaction, assignment: Row, item: Row, rules: Study) -> bool:
    """Whether an ordinary item was reclaimed: its lease had run out, but no other rater has the item yet.

    Refused (``lease-lost``) once k raters have the item, or once this rater was given another one.
    """
    if assignment["state"] == "open":
        return False
    if assignment["state"] == "skipped":
        raise EmotionOmniError("You have skipped this item. It is not asked again.", "skipped")
    is_ordinary = assignment["kind"] == "rate"
    is_taken = is_ordinary and item["claimed"] >= rules.ratings_per_item
    if is_taken or _has_moved_on(transaction, assignment):
        raise EmotionOmniError(
            "You were away for long, and this item went to somebody else. Please go on with the next.", "lease-lost"
        )
    return is_ordinary


def _has_moved_on(transaction: Transaction, assignment: Row) -> bool:
    enrolment = transaction.enrolment(assignment["study"], assignment["rater"])
    assert enrolment is not None, "a rater with an assignment is enrolled"
    in_place = (assignment["block"], assignment["slot"]) == (enrolment["block"], enrolment["slot"])
    return not in_place or transaction.open_assignment(assignment["study"], assignment["rater"]) is not None
