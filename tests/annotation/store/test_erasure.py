"""Withdrawals: nothing of a person is left, and nothing of others is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import raters
from store_events import add_study, bytes_of, die, dies, give_rating, in_one_batch, item, join

from annotation.store.store import Store
from annotation.store.transaction import Transaction

pytest_plugins = ("databases",)


SECRET = "Xylophonia-Quintessenz"


def with_a_withdrawer(one: Store) -> str:
    """Two raters and many ratings; one of the two left her mark everywhere."""
    one.write(lambda transaction: add_study(transaction, 40))
    other = one.write(lambda transaction: join(transaction, "other"))
    rater = one.write(lambda transaction: join(transaction, SECRET))
    for number in range(40):
        give_rating(one, other, f"s1-{number}", "stays")
        give_rating(one, rater, f"s1-{number}", SECRET * 20)
    one.write(
        lambda transaction: transaction.record(
            "phase.changed", study="s1", rater=rater, answers={"survey": {"comment": SECRET}}
        )
    )
    one.write(
        lambda transaction: transaction.record(
            "decided", decision="d", study="s1", subject="rater", rater=rater, reason=SECRET, by="me"
        )
    )
    return rater


def test_nothing_of_a_rater_who_withdrew_is_left_in_any_file(opened: Store, home: Path) -> None:
    rater = with_a_withdrawer(opened)
    assert SECRET.encode() in bytes_of(home)
    assert opened.withdraw_rater(rater) == 84
    assert SECRET.encode() not in bytes_of(home)
    with opened.read() as view:
        assert len(view.ratings("s1")) == 40 and view.rater(rater) is None
        assert all(row["claimed"] == row["done"] == 1 for row in view.items("s1"))
    assert not any(SECRET in row for rows in raters.tables_of(opened).values() for row in rows)


def test_a_rebuild_after_a_withdrawal_gives_the_same_and_brings_nothing_back(opened: Store, home: Path) -> None:
    opened.withdraw_rater(with_a_withdrawer(opened))
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before
    assert SECRET.encode() not in bytes_of(home)


def test_a_crash_before_the_log_was_erased_is_finished_at_the_next_start(home: Path, store_url: str) -> None:
    def act(one: Store) -> None:
        rater = with_a_withdrawer(one)
        one.log.exchange = die
        one.withdraw_rater(rater)

    dies(home, store_url, act)
    assert SECRET.encode() in b"".join(path.read_bytes() for path in (home / "log").iterdir())
    one = Store(home, store_url)
    assert SECRET.encode() not in bytes_of(home)
    before = raters.tables_of(one)
    one.rebuild()
    assert raters.tables_of(one) == before
    one.close()


def test_withdrawals_at_the_same_time_are_all_erased(opened: Store, home: Path) -> None:
    opened.write(lambda transaction: add_study(transaction, 8))
    people = [opened.write(lambda transaction: join(transaction, SECRET)) for _ in range(8)]
    for number, rater in enumerate(people):
        give_rating(opened, rater, f"s1-{number}", SECRET)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rater: opened.withdraw_rater(rater), people))
    assert SECRET.encode() not in bytes_of(home)


def test_a_withdrawal_during_the_erasing_of_another_is_erased_as_well(opened: Store, home: Path) -> None:
    first, second = (opened.write(lambda transaction: join(transaction, SECRET)) for _ in range(2))
    exchange = opened.log.exchange
    during = []

    def slowly(*segment: Any) -> bool:
        done = exchange(*segment)
        if not during:  # the second withdraws when the log has been gone through
            during.append(
                opened.enqueue(lambda transaction: transaction.record("rater.withdrawn", rater=second, study=None))
            )
        return done

    opened.log.exchange = slowly
    opened.withdraw_rater(first)
    during[0].result(10)
    assert SECRET.encode() in bytes_of(home)
    opened._finish_erasure()
    assert SECRET.encode() not in bytes_of(home)


def test_withdrawing_from_one_study_keeps_the_others(opened: Store, home: Path) -> None:
    opened.write(lambda transaction: (add_study(transaction, 2, "s1"), add_study(transaction, 2, "s2")))
    rater = opened.write(lambda transaction: join(transaction, "Ann"))
    give_rating(opened, rater, "s1-0", SECRET, "s1")
    give_rating(opened, rater, "s2-0", "kept", "s2")
    opened.withdraw_rater(rater, "s1")
    assert SECRET.encode() not in bytes_of(home)
    with opened.read() as view:
        assert view.rater(rater)["name"] == "Ann"
        assert view.ratings("s1") == [] and view.enrolment("s1", rater) is None
        assert [row["answers"]["note"] for row in view.ratings("s2")] == ["kept"]
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before


def test_a_rater_who_joins_again_after_withdrawing_starts_anew(opened: Store) -> None:
    opened.write(add_study)
    rater = opened.write(lambda transaction: join(transaction, SECRET))
    give_rating(opened, rater, "s1-0", SECRET)
    opened.withdraw_rater(rater)
    opened.write(lambda transaction: join(transaction, "again", rater))
    give_rating(opened, rater, "s1-0", "new")
    opened.withdraw_rater(opened.write(join))  # another's erasing must not take these
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before
    with opened.read() as view:
        assert [row["answers"]["note"] for row in view.ratings("s1")] == ["new"]


def test_a_voice_that_is_taken_back_goes_with_its_ratings_and_leaves_the_raters_their_progress(
    opened: Store, home: Path
) -> None:
    opened.write(lambda transaction: add_study(transaction, 3, "s1", contributor="code-1"))
    rater = opened.write(lambda transaction: join(transaction, "Ann"))
    give_rating(opened, rater, "s1-0", SECRET)
    give_rating(opened, rater, "s1-1", "stays")
    opened.withdraw_contributor("code-1", ["s1-0"])
    assert SECRET.encode() not in bytes_of(home)
    with opened.read() as view:
        assert view.contributed("code-1") == [] and view.item("s1-0") is None
        assert [row["answers"]["note"] for row in view.ratings("s1")] == ["stays"]
        assert view.enrolment("s1", rater)["done"] == 2
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before


def test_a_withdrawal_in_the_same_batch_as_the_end_of_anothers_erasing_is_erased_as_well(
    opened: Store, home: Path
) -> None:
    """Its event was not in the log yet when the log was read, so it must stay to be done."""
    rater = opened.write(lambda transaction: join(transaction, SECRET))
    last = opened.log.last

    def withdraw(transaction: Transaction) -> None:
        transaction.record("rater.withdrawn", rater=rater, study=None)

    for future in in_one_batch(opened, [withdraw, lambda transaction: transaction.finish_erasure(last)]):
        future.result(10)
    assert SECRET.encode() in bytes_of(home)
    opened._finish_erasure()
    assert SECRET.encode() not in bytes_of(home)


def test_what_is_written_while_a_segment_is_gone_through_is_kept(opened: Store, home: Path) -> None:
    rater = with_a_withdrawer(opened)
    gone_through = opened._exchange

    def slowly(*segment: Any) -> bool:
        opened.write(lambda transaction: join(transaction, "Latecomer"))
        return gone_through(*segment)

    opened._exchange = slowly
    opened.withdraw_rater(rater)
    assert SECRET.encode() not in bytes_of(home)
    assert sum(event.get("name") == "Latecomer" for event in opened.log.read()) == 1
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before


@pytest.mark.parametrize("others", [0, 2])
def test_the_words_of_a_voice_that_is_taken_back_are_gone_and_other_items_stay(
    opened: Store, home: Path, others: int
) -> None:
    """Whether its item was added alone or together with others, in one event."""
    voice = item("voice", "code-1") | {"content": {"clips": {}, "texts": {"speech": SECRET}}}
    rows = [voice, *(item(f"other-{number}") for number in range(others))]
    opened.write(lambda transaction: add_study(transaction, 1))
    opened.write(lambda transaction: transaction.record("items.added", study="s1", items=rows))
    opened.withdraw_contributor("code-1", ["voice"])
    assert SECRET.encode() not in bytes_of(home)
    opened.rebuild()
    with opened.read() as view:
        assert [row["id"] for row in view.items("s1")] == [row["id"] for row in rows[1:]] + ["s1-0"]
