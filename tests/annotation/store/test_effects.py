"""Effects of events that replaying alone cannot test: a rebuild makes the same mistake twice."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from store_events import add_study, assign, give_rating, join, rate

from annotation.store.store import Store
from annotation.store.transaction import Transaction

pytest_plugins = ("databases",)


def counters(store: Store, item: str = "s1-0") -> tuple[int, int, int]:
    """Assignments and ratings that an item has, and by how much one side was shown more often."""
    with store.read() as view:
        row = view.item(item)
    assert row is not None
    return row["claimed"], row["done"], row["flipped"]


def begin(store: Store) -> str:
    """A study with a rater in it."""
    store.write(add_study)
    rater = store.write(join)
    store.write(lambda transaction: transaction.record("enrolled", study="s1", rater=rater))
    return rater


@pytest.mark.parametrize("event", ["skipped", "expired"])
@pytest.mark.parametrize("flip", [1, -1])
def test_an_item_that_is_given_back_counts_as_never_assigned(opened: Store, event: str, flip: int) -> None:
    rater = begin(opened)
    name = opened.write(lambda transaction: assign(transaction, rater, "s1-0", flip=flip))
    assert counters(opened) == (1, 0, flip)
    facts = {"study": "s1", "rater": rater, "item": "s1-0", "kind": "rate", "flip": flip}
    opened.write(lambda transaction: transaction.record(event, assignment=name, **facts))
    assert counters(opened) == (0, 0, 0)


def test_a_withdrawal_makes_room_for_other_raters(opened: Store) -> None:
    rater = begin(opened)
    give_rating(opened, rater, "s1-0")
    assert counters(opened) == (1, 1, 1)
    opened.withdraw_rater(rater)
    assert counters(opened) == (0, 0, 0)


def test_an_assignment_is_rated_once(opened: Store) -> None:
    rater = begin(opened)
    name = opened.write(lambda transaction: assign(transaction, rater, "s1-0"))
    opened.write(lambda transaction: rate(transaction, rater, "s1-0", name))
    with pytest.raises(sa.exc.IntegrityError):
        opened.write(lambda transaction: rate(transaction, rater, "s1-0", name))
    assert counters(opened) == (1, 1, 1)
    assert sum(event["event"] == "rated" for event in opened.log.read()) == 1


def test_a_lease_lasts_to_its_last_instant(opened: Store) -> None:
    rater = begin(opened)

    def lease(transaction: Transaction) -> str:
        name = assign(transaction, rater, "s1-0")
        transaction.extend_lease(name, 1000.0)
        return name

    name = opened.write(lease)
    with opened.read() as view:
        assert view.expired(1000.0) == []
        assert view.expired(1000.5) == [name]
