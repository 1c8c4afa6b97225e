"""Events for the tests of the store: small studies, ratings, and processes that are killed."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotation.store.store import Store
from annotation.store.transaction import Transaction


def join(transaction: Transaction, name: str = "Ann", rater: str = "") -> str:
    rater = rater or "r" + uuid.uuid4().hex[:8]
    transaction.record("rater.joined", rater=rater, name=name, role="rater", account=None, cohort="", secret=None)
    return rater


def names(one: Store) -> list[str]:
    with one.read() as view:
        return sorted(row["name"] for row in view.raters())


def add_study(transaction: Transaction, items: int = 3, name: str = "s1", contributor: str | None = None) -> None:
    transaction.record("study.created", study=name, settings={"title": name}, state="open", by=None)
    rows = [item(f"{name}-{number}", contributor if number == 0 else None) for number in range(items)]
    transaction.record("items.added", study=name, items=rows)


def item(name: str, contributor: str | None = None) -> dict[str, Any]:
    return {
        "id": name,
        "role": "rate",
        "family": name,
        "content": {"clips": {}},
        "expected": None,
        "contributor": contributor,
    }


def assign(transaction: Transaction, rater: str, item: str, study: str = "s1", flip: int = 1) -> str:
    name = uuid.uuid4().hex
    transaction.record(
        "assigned",
        assignment=name,
        study=study,
        rater=rater,
        item=item,
        family=item,
        kind="rate",
        block=0,
        slot=0,
        flip=flip,
        guess=0,
        leased_until=0.0,
    )
    return name


def rate(
    transaction: Transaction,
    rater: str,
    item: str,
    assignment: str,
    note: str = "",
    study: str = "s1",
    submit: str = "",
) -> str:
    submit = submit or str(uuid.uuid4())
    transaction.record(
        "rated",
        submit=submit,
        assignment=assignment,
        study=study,
        item=item,
        rater=rater,
        kind="rate",
        answers={"primary": "sad", "note": note},
        right=None,
        heard={"0": 1.0},
        seconds=2.5,
        clicks=None,
        flip=1,
        reclaimed=0,
        disagreement=None,
    )
    return submit


def skip(one: Store, rater: str, item: str, reason: str = "distressing", study: str = "s1") -> None:
    def all_of_it(transaction: Transaction) -> None:
        if transaction.enrolment(study, rater) is None:
            transaction.record("enrolled", study=study, rater=rater)
        facts = {"study": study, "rater": rater, "item": item, "kind": "rate", "flip": 1, "reason": reason}
        transaction.record("skipped", assignment=assign(transaction, rater, item, study), **facts)

    one.write(all_of_it)


def give_rating(one: Store, rater: str, item: str, note: str = "", study: str = "s1") -> str:
    def all_of_it(transaction: Transaction) -> str:
        if transaction.enrolment(study, rater) is None:
            transaction.record("enrolled", study=study, rater=rater)
        return rate(transaction, rater, item, assign(transaction, rater, item, study), note, study)

    return one.write(all_of_it)


def dies(home: Path, url: str, act: Callable[[Store], None]) -> None:
    """Another process opens the store, acts, and is killed."""
    child = os.fork()
    if child == 0:
        try:
            act(Store(home, url))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_one_batch(one: Store, operations: list[Callable[[Transaction], Any]]) -> list[Any]:
    """Let operations wait behind a slow one, so that they share a commit → futures."""
    gate = threading.Event()
    one.enqueue(lambda _: gate.wait(10))
    futures = [one.enqueue(operation) for operation in operations]
    gate.set()
    return futures


def bytes_of(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())
