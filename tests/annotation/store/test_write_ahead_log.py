"""The write-ahead log of SQLite holds nothing of what was erased, and nobody waits for that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_events import add_study, bytes_of, die, dies, give_rating, join

from annotation.store import store as store_module
from annotation.store.store import Store

SECRET = "Xylophonia-Quintessenz"


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(store_module, "PATIENCE", 0.05)
    opened = Store(tmp_path)
    yield opened
    opened.close()


def withdrawer(one: Store) -> str:
    one.write(add_study)
    rater = one.write(lambda transaction: join(transaction, SECRET))
    give_rating(one, rater, "s1-0", SECRET)
    return rater


def test_a_withdrawal_under_a_long_reader_holds_up_no_writer_and_is_finished_after_it(
    one: Store, tmp_path: Path
) -> None:
    rater = withdrawer(one)
    with one.read() as view:
        view.studies()
        began = time.monotonic()
        one.withdraw_rater(rater)
        other = one.write(join)
        for number in range(3):
            give_rating(one, other, f"s1-{number}")
        assert time.monotonic() - began < 5  # SQLite itself would wait 30 seconds
        assert SECRET.encode() in bytes_of(tmp_path)
    until = time.monotonic() + 10
    while SECRET.encode() in bytes_of(tmp_path):
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.05)
    with one.read() as view:
        assert len(view.ratings("s1")) == 3


def test_a_store_closes_at_once_although_there_is_more_to_empty(one: Store, tmp_path: Path) -> None:
    rater = withdrawer(one)
    with one.read() as view:
        view.studies()
        one.withdraw_rater(rater)
        began = time.monotonic()
        one._write_ahead_log.close()
        assert time.monotonic() - began < 5


def test_what_a_crash_left_in_it_is_gone_after_the_next_start(tmp_path: Path) -> None:
    def act(store: Store) -> None:
        store._write_ahead_log.empty = die
        store.withdraw_rater(withdrawer(store))

    dies(tmp_path, "", act)
    assert SECRET.encode() in (tmp_path / "studio.db-wal").read_bytes()
    Store(tmp_path).close()
    assert SECRET.encode() not in bytes_of(tmp_path)
