"""How many places of a study the guests of one address hold: at most half of those that are free, and at least one.

Anybody can be many guests, so without this a script could hold every item of a study under lease. People who were
invited are not counted. Which guest is where is kept in memory only, so a restart forgets it.
"""

from __future__ import annotations

from collections import OrderedDict

from annotation.rating.enrolment import Enrolment
from annotation.store.transaction import Transaction

MOST_GROUPS = 10_000  # (study, address); the one used longest ago is forgotten


class GuestShare:
    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str], dict[str, str]] = (
            OrderedDict()
        )  # (study, address) → rater → assignment

    def is_used_up(self, enrolment: Enrolment, free: int) -> bool:
        """Whether this rater must wait until another guest of the same address is done. ``free``: places not rated."""
        held = self._held.get((enrolment.study_id, enrolment.address), {})
        share = max(1, free // 2)
        if len(held) < share or not is_guest(enrolment):
            return False
        for rater, assignment in list(held.items()):
            if rater == enrolment.rater or not _is_open(enrolment.transaction, assignment):
                del held[rater]
        return len(held) >= share

    def add(self, enrolment: Enrolment, assignment: str) -> None:
        if not enrolment.address or not is_guest(enrolment):
            return
        group = (enrolment.study_id, enrolment.address)
        self._held.setdefault(group, {})[enrolment.rater] = assignment
        self._held.move_to_end(group)
        while len(self._held) > MOST_GROUPS:
            self._held.popitem(last=False)


def is_guest(enrolment: Enrolment) -> bool:
    """Whether somebody came in under any name, with neither an account nor an invite."""
    rater = enrolment.transaction.rater(enrolment.rater)
    return rater is None or (rater["role"] == "rater" and not rater["account"])


def _is_open(transaction: Transaction, assignment: str) -> bool:
    row = transaction.assignment(assignment)
    return row is not None and row["state"] == "open"
