"""A rater's place in one study: the phase, the block, the slot in it. Created the first time that a rater asks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from annotation.people.signing_key import require_lasting_key
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.study.lifecycle import PRACTICE
from annotation.study.rules import Study
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True)
class Enrolment:
    """One rater in one study, as read within one transaction."""

    transaction: Transaction
    study: Row
    rules: Study
    row: Row  # of the table of enrolments: phase, block, slot, block_began, trained, done, answers
    address: str = ""  # where the rater is now, as a name that tells nothing else

    @classmethod
    def open(cls, transaction: Transaction, study: str, rater: str, address: str = "") -> Enrolment:
        """The rater's enrolment; a new one where the rater may take part and has not asked before."""
        row = known_study(transaction, study)
        if not row["id"].startswith(PRACTICE):
            require_lasting_key()
        rules = Study.read(row["settings"])
        enrolled = transaction.enrolment(row["id"], rater)
        if enrolled is None:
            _refuse_strangers(transaction.rater(rater), rules)
            transaction.record("enrolled", study=row["id"], rater=rater)
            enrolled = transaction.enrolment(row["id"], rater)
            assert enrolled is not None
        return cls(transaction, row, rules, enrolled, address)

    @property
    def study_id(self) -> str:
        return self.row["study"]

    @property
    def rater(self) -> str:
        return self.row["rater"]

    @property
    def phase(self) -> str:
        return self.row["phase"]

    @property
    def block(self) -> int:
        return self.row["block"]

    @property
    def slot(self) -> int:
        """Place in the block, or among the items of the sound check or the training."""
        return self.row["slot"]

    @property
    def has_enough(self) -> bool:
        """Whether the rater was given as many items as the study allows one rater; 0 sets no limit."""
        most = self.rules.most_per_rater
        return bool(most) and self.transaction.count_ratings(self.study_id, self.rater) >= most

    def move(self, **changes: Any) -> None:
        """Store changes of the row. This object keeps what it read."""
        self.transaction.record("phase.changed", study=self.study_id, rater=self.rater, **changes)


def may_enter(rater: Row | None, rules: Study) -> bool:
    """Whether a rater may begin a study. Researchers and admins may begin any."""
    if rater is None:
        return False
    if rater["role"] != "rater":
        return True
    return rules.access == "open" and (not rules.cohorts or rater["cohort"] in rules.cohorts)


def break_left(rules: Study, row: Row, now: float) -> float:
    """Seconds that a break still lasts at least. ``block_began`` of the row is then when the break began."""
    return max(0.0, (row["block_began"] or 0.0) + rules.break_seconds - now)


def refuse_short_break(rules: Study, row: Row, now: float) -> None:
    left = math.floor(break_left(rules, row, now))  # not for a part of a second: clocks differ
    if left:
        raise EmotionOmniError(f"The break lasts {left} more seconds. Rest your ears until then.", "too-early")


def known_study(view: View, study: Any) -> Row:
    row = view.study(str(study))
    if row is None:
        raise EmotionOmniError("There is no such study. It may have been deleted.", "not-found")
    return row


def known_item(view: View, item: str) -> Row:
    row = view.item(item)
    if row is None:
        raise EmotionOmniError("This item does not exist any more. Ask for the next one.", "not-found")
    return row


def _refuse_strangers(rater: Row | None, rules: Study) -> None:
    if rater is None:
        raise EmotionOmniError("Please sign in first.", "sign-in")
    if not may_enter(rater, rules):
        raise EmotionOmniError("This study is by invitation. Open the link that you were sent.", "forbidden")
