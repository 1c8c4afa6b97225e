"""The event log alone gives the same tables."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path

import pytest
import raters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_events import add_study, assign, join, rate

from annotation.store.store import Store
from annotation.store.transaction import Transaction

pytest_plugins = ("databases",)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "join",
                "give",
                "rate",
                "skip",
                "expire",
                "late",
                "phase",
                "decide",
                "withdraw",
                "leave",
                "take-back",
                "delete",
                "close",
            ]
        ),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=30,
)


class Play:
    """Random but valid operations on a store with two studies."""

    def __init__(self, one: Store) -> None:
        self.store, self.people = one, []
        for number in (1, 2):
            self.begin(number)
        self.do("join", 0, 0)

    def begin(self, number: int) -> None:
        self.store.write(lambda transaction: add_study(transaction, 5 - number, f"s{number}", f"voice-{number}"))

    def do(self, what: str, who: int, which: int) -> None:
        rater = self.people[who % len(self.people)] if self.people else ""
        study = f"s{1 + which % 2}"
        if what == "join" or not rater:
            self.people.append(self.store.write(lambda transaction: join(transaction, f"person {len(self.people)}")))
        elif what == "withdraw":
            self.people.remove(rater)
            self.store.withdraw_rater(rater)
        elif what == "leave":
            self.store.withdraw_rater(rater, study)
        elif what == "take-back":
            with self.store.read() as view:
                theirs = [row["id"] for row in view.contributed(f"voice-{1 + which % 2}")]
            self.store.withdraw_contributor(f"voice-{1 + which % 2}", theirs)
        elif what == "delete":
            gone = self.store.delete_study(study)
            self.people = [person for person in self.people if person not in gone]
            self.begin(1 + which % 2)  # another of the same name
        else:
            self.store.write(lambda transaction: getattr(self, f"_{what}")(transaction, rater, study, which))

    def _give(self, transaction: Transaction, rater: str, study: str, which: int) -> None:
        if transaction.enrolment(study, rater) is None:
            transaction.record("enrolled", study=study, rater=rater)
        found = transaction.items(study)
        if found:
            assign(transaction, rater, found[which % len(found)]["id"], study, flip=1 - 2 * (which % 2))

    def _of(self, transaction: Transaction, rater: str, study: str, state: str) -> dict | None:
        return next((row for row in transaction.assignments(study, rater) if row["state"] == state), None)

    def _rate(self, transaction: Transaction, rater: str, study: str, _: int, state: str = "open") -> None:
        if row := self._of(transaction, rater, study, state):
            rate(transaction, rater, row["item"], row["id"], study=study)

    def _late(self, transaction: Transaction, rater: str, study: str, which: int) -> None:
        if row := self._of(transaction, rater, study, "expired"):
            transaction.record(
                "rated",
                submit=str(uuid.uuid4()),
                assignment=row["id"],
                study=study,
                item=row["item"],
                rater=rater,
                kind="rate",
                answers={},
                right=None,
                heard={},
                seconds=None,
                clicks=[1, "x"],
                flip=row["flip"],
                reclaimed=1,
                disagreement=0.5,
            )

    def _skip(self, transaction: Transaction, rater: str, study: str, _: int) -> None:
        if row := self._of(transaction, rater, study, "open"):
            facts = {name: row[name] for name in ("study", "rater", "item", "kind", "flip")}
            transaction.record("skipped", assignment=row["id"], reason="other", **facts)

    def _expire(self, transaction: Transaction, rater: str, study: str, _: int) -> None:
        if row := self._of(transaction, rater, study, "open"):
            transaction.record(
                "expired",
                assignment=row["id"],
                **{name: row[name] for name in ("study", "rater", "item", "kind", "flip")},
            )

    def _phase(self, transaction: Transaction, rater: str, study: str, which: int) -> None:
        transaction.record(
            "phase.changed", study=study, rater=rater, phase="task", block=which, answers={"consent": {"at": 1.5}}
        )

    def _decide(self, transaction: Transaction, rater: str, study: str, which: int) -> None:
        about = {"study": study, "subject": "rater", "rater": rater, "value": {"keep": which > 2}}
        transaction.record("decided", decision=str(uuid.uuid4()), reason="x", by="me", **about)

    def _close(self, transaction: Transaction, rater: str, study: str, _: int) -> None:
        transaction.record("study.changed", study=study, state="paused", settings={"title": "new"})
        transaction.record("rater.changed", rater=rater, role="researcher")


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_whatever_was_done_the_log_alone_gives_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operations: list
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # for speed: nothing is killed here
    one = Store(tmp_path / uuid.uuid4().hex)
    play = Play(one)
    for operation in operations:
        play.do(*operation)
    before, applied = raters.tables_of(one), one.log.last
    assert one.rebuild() == applied
    assert raters.tables_of(one) == before
    one.close()


def test_on_either_database_the_log_alone_gives_the_same_tables(opened: Store) -> None:
    play, draw = Play(opened), random.Random(0)
    often = ["join"] + ["give"] * 6 + ["rate"] * 6 + ["skip", "expire", "late", "phase", "decide", "close"]
    for number in range(120):
        play.do(draw.choice(often), draw.randrange(6), draw.randrange(6))
        if number in (40, 60):
            for what in ("withdraw", "leave", "take-back", "delete"):
                play.do(what, number, number // 60)
    before = raters.tables_of(opened)
    assert len(before["assignments"]) > 5 and len(before["ratings"]) > 2  # or there was nothing to compare
    opened.rebuild()
    assert raters.tables_of(opened) == before
