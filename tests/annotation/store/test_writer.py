"""The writer: what was acknowledged is there, once, whatever happened in between."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import raters
import sqlalchemy as sa
from store_events import add_study, die, dies, give_rating, in_one_batch, join, names

from annotation.store import event_log as log
from annotation.store.event_log import EventLog
from annotation.store.store import Store
from annotation.store.tables import metadata
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)


def test_what_was_written_is_there_after_a_kill(home: Path, store_url: str) -> None:
    def act(one: Store) -> None:
        for number in range(20):
            one.write(lambda transaction, number=number: join(transaction, f"rater {number:02d}"))

    dies(home, store_url, act)
    one = Store(home, store_url)
    assert names(one) == [f"rater {number:02d}" for number in range(20)]
    one.close()


def test_a_kill_between_log_and_database_loses_nothing(home: Path, store_url: str) -> None:
    def act(one: Store) -> None:
        one.write(lambda transaction: join(transaction, "before"))
        append = one.log.append
        one.log.append = lambda events: (append(events), die())
        one.write(lambda transaction: join(transaction, "between"))

    dies(home, store_url, act)
    one = Store(home, store_url)
    assert names(one) == ["before", "between"]
    one.write(lambda transaction: join(transaction, "later"))
    assert [event["sequence"] for event in one.log.read()] == [1, 2, 3]
    one.close()


def test_a_kill_before_the_log_leaves_no_trace(home: Path, store_url: str) -> None:
    def act(one: Store) -> None:
        one.log.append = die
        one.write(lambda transaction: join(transaction, "never"))

    dies(home, store_url, act)
    one = Store(home, store_url)
    assert names(one) == []
    one.write(lambda transaction: join(transaction, "later"))
    assert names(one) == ["later"]
    one.close()


@pytest.mark.parametrize("cut", [1, 30])
def test_a_line_that_a_crash_cut_short_is_dropped(opened: Store, home: Path, store_url: str, cut: int) -> None:
    opened.write(lambda transaction: join(transaction, "whole"))
    opened.close()
    path = home / "log" / "000000.jsonl"
    torn = log.encode({"sequence": 2, "event": "rater.joined", "at": 0.0, "rater": "r2", "name": "torn"})[:-cut]
    path.write_bytes(path.read_bytes() + torn)
    again = Store(home, store_url)
    again.write(lambda transaction: join(transaction, "later"))
    assert names(again) == ["later", "whole"]
    assert [event["name"] for event in again.log.read()] == ["whole", "later"]
    again.close()


def test_half_an_operation_is_dropped_as_a_whole(home: Path, store_url: str) -> None:
    def act(one: Store) -> None:
        one.write(lambda transaction: join(transaction, "before"))
        one.log._append_to = lambda path, data: (path.open("ab").write(data[:-20]), die())
        one.write(lambda transaction: (add_study(transaction), join(transaction, "cut off")))

    dies(home, store_url, act)
    one = Store(home, store_url)
    with one.read() as view:
        assert view.studies() == []
    assert [event["event"] for event in one.log.read()] == ["rater.joined"]
    one.close()


def test_an_operation_cut_off_between_two_segments_is_dropped_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT", 2)
    first = EventLog(tmp_path)
    first.append(
        [
            {"sequence": 1, "event": "a"},
            {"sequence": 2, "event": "b", "more": 1},
            {"sequence": 3, "event": "c", "more": 1},
        ]
    )
    (tmp_path / "000001.jsonl").open("ab").write(b"00000000 {torn")
    again = EventLog(tmp_path)
    assert again.last == 1
    again.append([{"sequence": 2, "event": "new"}])
    assert [event["event"] for event in EventLog(tmp_path).read()] == ["a", "new"]


def test_an_older_copy_of_the_database_catches_up_with_the_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = Store(home)
    one.write(add_study)
    give_rating(one, one.write(join), "s1-0", "early")
    one.close()
    shutil.copy(home / "studio.db", tmp_path / "older.db")
    one = Store(home)
    give_rating(one, one.write(join), "s1-1", "late")
    newest = raters.tables_of(one)
    one.close()
    shutil.copy(tmp_path / "older.db", home / "studio.db")
    again = Store(home)
    assert raters.tables_of(again) == newest
    again.close()


def test_a_lost_database_is_made_anew_from_the_log(opened: Store, home: Path, store_url: str) -> None:
    opened.write(add_study)
    give_rating(opened, opened.write(join), "s1-0")
    before = raters.tables_of(opened)
    with opened.writer.engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE version"))
    opened.close()
    again = Store(home, store_url)
    assert raters.tables_of(again) == before
    again.close()


# --- several at once --------------------------------------------------------------------------------------------


def test_two_stores_on_one_database_keep_one_ordered_log(opened: Store, home: Path, store_url: str) -> None:
    other = Store(home, store_url)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: (opened, other)[n % 2].write(lambda transaction: join(transaction, f"{n:03d}")), range(80)
            )
        )
    assert names(opened) == [f"{number:03d}" for number in range(80)]
    assert [event["sequence"] for event in opened.log.read()] == list(range(1, 81))
    before = raters.tables_of(other)
    opened.rebuild()
    assert raters.tables_of(other) == before
    other.close()


def test_two_processes_keep_one_ordered_log(home: Path, store_url: str) -> None:
    Store(home, store_url).close()

    def act(one: Store) -> None:
        for _ in range(30):
            one.write(join)

    threads = [threading.Thread(target=dies, args=(home, store_url, act)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one = Store(home, store_url)
    assert [event["sequence"] for event in one.log.read()] == list(range(1, 61))
    assert len(names(one)) == 60
    one.close()


def test_many_may_open_a_new_store_at_once(home: Path, store_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store(home, store_url), range(4)))
    for number, one in enumerate(stores):
        one.write(lambda transaction, number=number: join(transaction, str(number)))
    assert names(stores[0]) == ["0", "1", "2", "3"]
    for one in stores:
        one.close()


def test_opening_a_store_does_not_cut_the_line_that_another_is_writing(
    opened: Store, home: Path, store_url: str
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def slowly(path: Path, data: bytes) -> None:
        with path.open("ab", buffering=0) as file:
            file.write(data[:20])
            began.set()
            may_end.wait(10)
            file.write(data[20:])

    opened.log._append_to = slowly
    writing = opened.enqueue(lambda transaction: join(transaction, "slow"))
    assert began.wait(10)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(Store, home, store_url)
        time.sleep(0.2)  # it waits for the lock; the line is still half
        may_end.set()
        other = opening.result()
    assert writing.result()
    assert names(other) == ["slow"]
    other.close()


# --- failures ---------------------------------------------------------------------------------------------------


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_and_nothing_is_stored(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.write(lambda transaction: join(transaction, "before"))
    with monkeypatch.context() as patch:
        patch.setattr(log.os, "fsync", full_disk)
        with pytest.raises(EmotionOmniError, match="No space left on device") as caught:
            opened.write(lambda transaction: join(transaction, "lost"))
        assert caught.value.code == "disk"
    assert names(opened) == ["before"]
    opened.write(lambda transaction: join(transaction, "later"))
    assert names(opened) == ["before", "later"]
    assert [event["name"] for event in opened.log.read()] == ["before", "later"]


def test_a_disk_that_fills_between_two_segments_leaves_nothing_in_the_first(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT", 3)
    opened.write(lambda transaction: (join(transaction, "one"), join(transaction, "two")))
    write, calls = opened.log._append_to, []

    def second_fails(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 2:
            full_disk()
        write(path, data)

    opened.log._append_to = second_fails
    with pytest.raises(EmotionOmniError, match="cannot be written"):
        opened.write(lambda transaction: (join(transaction, "lost"), join(transaction, "lost too")))
    opened.write(lambda transaction: join(transaction, "three"))
    assert names(opened) == ["one", "three", "two"]
    assert [event["sequence"] for event in opened.log.read()] == [1, 2, 3]


def test_a_commit_that_fails_takes_its_events_out_of_the_log(opened: Store) -> None:
    opened.write(lambda transaction: join(transaction, "before"))

    @sa.event.listens_for(opened.writer.engine, "commit")
    def refuse(connection: sa.Connection) -> None:
        sa.event.remove(opened.writer.engine, "commit", refuse)
        raise OSError(errno.EIO, "the database is gone")

    with pytest.raises(OSError, match="the database is gone"):
        opened.write(lambda transaction: join(transaction, "lost"))
    opened.write(lambda transaction: join(transaction, "later"))
    assert [event["name"] for event in opened.log.read()] == names(opened) == ["before", "later"]


def test_a_commit_whose_response_is_lost_counts_as_done(opened: Store) -> None:
    commit = opened.writer.engine.dialect.do_commit

    def answer_lost(connection: Any) -> None:
        opened.writer.engine.dialect.do_commit = commit
        commit(connection)
        raise OSError(errno.ECONNRESET, "Connection reset by peer")

    opened.writer.engine.dialect.do_commit = answer_lost
    opened.write(lambda transaction: join(transaction, "there"))
    opened.write(lambda transaction: join(transaction, "later"))
    assert [event["name"] for event in opened.log.read()] == ["there", "later"]
    assert names(opened) == ["later", "there"]


def test_an_operation_that_breaks_does_not_harm_others_of_its_batch(opened: Store) -> None:
    def breaks(transaction: Transaction) -> None:
        join(transaction, "half done")
        raise ZeroDivisionError("unexpected")

    def refused(transaction: Transaction) -> None:
        join(transaction, "half done as well")
        raise EmotionOmniError("Refused late.", "refused")

    good = [lambda transaction, name=name: join(transaction, name) for name in ("one", "two", "three")]
    one, broken, two, refusal, three = in_one_batch(opened, [good[0], breaks, good[1], refused, good[2]])
    assert isinstance(broken.exception(10), ZeroDivisionError)
    assert refusal.exception(10).code == "refused"
    assert all(future.result(10) for future in (one, two, three))
    assert names(opened) == ["one", "three", "two"]
    assert [event["sequence"] for event in opened.log.read()] == [1, 2, 3]


def test_what_cannot_be_written_as_json_is_refused_alone(opened: Store) -> None:
    good, bad = in_one_batch(opened, [join, lambda transaction: join(transaction, "half a pair: \ud800")])
    assert good.result(10)
    assert isinstance(bad.exception(10), UnicodeError)
    opened.write(join)
    assert [event["sequence"] for event in opened.log.read()] == [1, 2]
