"""The store and its event log: what was acknowledged is there, once, whatever happened in between."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import raters
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.store import event_log as log
from annotation.store.engines import create_engine
from annotation.store.event_log import EventLog
from annotation.store.migrations import MIGRATIONS, migrate
from annotation.store.store import Store
from annotation.store.tables import metadata
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)


@pytest.fixture
def opened(home: Path, store_url: str) -> Iterator[Store]:
    one = Store(home, store_url)
    yield one
    one.close()


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


def given_rating(one: Store, rater: str, item: str, note: str = "", study: str = "s1") -> str:
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


# --- nothing acknowledged is lost -------------------------------------------------------------------------------


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
    given_rating(one, one.write(join), "s1-0", "early")
    one.close()
    shutil.copy(home / "studio.db", tmp_path / "older.db")
    one = Store(home)
    given_rating(one, one.write(join), "s1-1", "late")
    newest = raters.tables_of(one)
    one.close()
    shutil.copy(tmp_path / "older.db", home / "studio.db")
    again = Store(home)
    assert raters.tables_of(again) == newest
    again.close()


def test_a_lost_database_is_made_anew_from_the_log(opened: Store, home: Path, store_url: str) -> None:
    opened.write(add_study)
    given_rating(opened, opened.write(join), "s1-0")
    before = raters.tables_of(opened)
    with opened.writer.engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE version"))
    opened.close()
    again = Store(home, store_url)
    assert raters.tables_of(again) == before
    again.close()


# --- the same from the log alone --------------------------------------------------------------------------------


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
        one.write(
            lambda transaction: (add_study(transaction, 4, "s1", "voice-1"), add_study(transaction, 3, "s2", "voice-2"))
        )
        self.do("join", 0, 0)

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


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_whatever_was_done_the_log_alone_gives_the_same_tables(tmp_path: Path, operations: list) -> None:
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
            for what in ("withdraw", "leave", "take-back"):
                play.do(what, number, number // 60)
    before = raters.tables_of(opened)
    assert len(before["assignments"]) > 5 and len(before["ratings"]) > 2  # or there was nothing to compare
    opened.rebuild()
    assert raters.tables_of(opened) == before


# --- versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_database_of_any_past_version_is_brought_up_to_date(home: Path, store_url: str, version: int) -> None:
    home.mkdir()
    engine = create_engine(store_url, writes=True)
    with engine.begin() as connection:
        assert migrate(connection, to=version) == version
        transaction = Transaction(connection, 0)
        join(transaction, "from long ago")
        add_study(transaction)
        EventLog(home / "log").append(transaction.events)
        transaction.set_applied()
    engine.dispose()
    one = Store(home, store_url)
    assert names(one) == ["from long ago"]
    one.write(
        lambda transaction: transaction.record(
            "decided", decision="d1", study="s1", subject="item", reason="r", by="me"
        )
    )
    with one.read() as view:
        assert len(view.items("s1")) == 3 and len(view.decisions("s1")) == 1
    before = raters.tables_of(one)
    one.rebuild()
    assert raters.tables_of(one) == before
    one.close()


def test_a_database_of_a_newer_program_is_refused(opened: Store, home: Path, store_url: str) -> None:
    with opened.writer.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE version SET number = {len(MIGRATIONS) + 1}"))
    opened.close()
    with pytest.raises(EmotionOmniError, match="Update the program") as caught:
        Store(home, store_url)
    assert caught.value.code == "too-new"


# --- damage -----------------------------------------------------------------------------------------------------


def damaged_log(home: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = home / "log" / "000000.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def test_damage_in_the_middle_of_the_log_is_named(opened: Store, home: Path) -> None:
    for name in ("one", "two", "three"):
        opened.write(lambda transaction, name=name: join(transaction, name))
    damaged_log(home, lambda lines: [lines[0], lines[1].replace(b"two", b"owt"), lines[2]])
    with pytest.raises(EmotionOmniError, match="000000.jsonl, line 2") as caught:
        opened.rebuild()
    assert caught.value.code == "log-damaged"
    assert names(opened) == ["one", "three", "two"]  # what was not rebuilt stays as it was


def test_a_line_missing_from_the_log_is_named(opened: Store, home: Path) -> None:
    for name in ("one", "two", "three"):
        opened.write(lambda transaction, name=name: join(transaction, name))
    damaged_log(home, lambda lines: [lines[0], lines[2]])
    with pytest.raises(EmotionOmniError, match="jumps from 1 to 3"):
        opened.rebuild()


def test_a_log_without_its_beginning_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SEGMENT", 2)
    one = Store(tmp_path)
    for name in ("one", "two", "three"):
        one.write(lambda transaction, name=name: join(transaction, name))
    (tmp_path / "log" / "000000.jsonl").unlink()
    with pytest.raises(EmotionOmniError, match="jumps from 0 to 3"):
        one.rebuild()
    one.close()


def test_a_database_whose_log_is_missing_is_refused(opened: Store, home: Path, store_url: str) -> None:
    opened.write(join)
    shutil.rmtree(home / "log")
    with pytest.raises(EmotionOmniError, match="Restore the folder 'log'") as caught:
        Store(home, store_url)
    assert caught.value.code == "log-missing"


def test_a_log_of_many_segments_reads_in_order_and_can_be_read_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT", 3)
    one = EventLog(tmp_path)
    one.append([{"sequence": number} for number in range(1, 9)])
    assert len(one.segments()) == 3
    for after in range(9):
        assert [event["sequence"] for event in one.read(after)] == list(range(after + 1, 9))


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


# --- what fails -------------------------------------------------------------------------------------------------


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_nothing_is_stored(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_commit_whose_answer_got_lost_counts_as_done(opened: Store) -> None:
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


def in_one_batch(one: Store, operations: list[Callable[[Transaction], Any]]) -> list[Any]:
    """Let operations wait behind a slow one, so that they share a commit → futures."""
    gate = threading.Event()
    one.enqueue(lambda _: gate.wait(10))
    futures = [one.enqueue(operation) for operation in operations]
    gate.set()
    return futures


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


# --- those who withdraw -----------------------------------------------------------------------------------------

SECRET = "Xylophonia-Quintessenz"


def bytes_of(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


def with_a_withdrawer(one: Store) -> str:
    """Two raters and many ratings; one of the two left her mark everywhere."""
    one.write(lambda transaction: add_study(transaction, 40))
    other = one.write(lambda transaction: join(transaction, "other"))
    rater = one.write(lambda transaction: join(transaction, SECRET))
    for number in range(40):
        given_rating(one, other, f"s1-{number}", "stays")
        given_rating(one, rater, f"s1-{number}", SECRET * 20)
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


def test_a_crash_before_the_log_was_erased_is_made_good_at_the_next_start(home: Path, store_url: str) -> None:
    def act(one: Store) -> None:
        rater = with_a_withdrawer(one)
        one.log.erase = die
        one.withdraw_rater(rater)

    dies(home, store_url, act)
    assert SECRET.encode() in b"".join(path.read_bytes() for path in (home / "log").iterdir())
    one = Store(home, store_url)
    assert SECRET.encode() not in bytes_of(home)
    before = raters.tables_of(one)
    one.rebuild()
    assert raters.tables_of(one) == before
    one.close()


def test_all_are_erased_who_withdraw_at_the_same_time(opened: Store, home: Path) -> None:
    opened.write(lambda transaction: add_study(transaction, 8))
    people = [opened.write(lambda transaction: join(transaction, SECRET)) for _ in range(8)]
    for number, rater in enumerate(people):
        given_rating(opened, rater, f"s1-{number}", SECRET)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rater: opened.withdraw_rater(rater), people))
    assert SECRET.encode() not in bytes_of(home)


def test_a_withdrawal_during_the_erasing_of_another_is_erased_as_well(opened: Store, home: Path) -> None:
    first, second = (opened.write(lambda transaction: join(transaction, SECRET)) for _ in range(2))
    erase = opened.log.erase
    during = []

    def slowly(replacement: Any) -> int:
        erased = erase(replacement)
        if not during:  # the second withdraws when the log has been gone through
            during.append(
                opened.enqueue(lambda transaction: transaction.record("rater.withdrawn", rater=second, study=None))
            )
        return erased

    opened.log.erase = slowly
    opened.withdraw_rater(first)
    during[0].result(10)
    opened._finish_erasure()
    assert SECRET.encode() not in bytes_of(home)


def test_withdrawing_from_one_study_keeps_the_others(opened: Store, home: Path) -> None:
    opened.write(lambda transaction: (add_study(transaction, 2, "s1"), add_study(transaction, 2, "s2")))
    rater = opened.write(lambda transaction: join(transaction, "Ann"))
    given_rating(opened, rater, "s1-0", SECRET, "s1")
    given_rating(opened, rater, "s2-0", "kept", "s2")
    opened.withdraw_rater(rater, "s1")
    assert SECRET.encode() not in bytes_of(home)
    with opened.read() as view:
        assert view.rater(rater)["name"] == "Ann"
        assert view.ratings("s1") == [] and view.enrolment("s1", rater) is None
        assert [row["answers"]["note"] for row in view.ratings("s2")] == ["kept"]
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before


def test_who_joins_again_after_withdrawing_starts_anew(opened: Store) -> None:
    opened.write(add_study)
    rater = opened.write(lambda transaction: join(transaction, SECRET))
    given_rating(opened, rater, "s1-0", SECRET)
    opened.withdraw_rater(rater)
    opened.write(lambda transaction: join(transaction, "again", rater))
    given_rating(opened, rater, "s1-0", "new")
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
    given_rating(opened, rater, "s1-0", SECRET)
    given_rating(opened, rater, "s1-1", "stays")
    opened.withdraw_contributor("code-1", ["s1-0"])
    assert SECRET.encode() not in bytes_of(home)
    with opened.read() as view:
        assert view.contributed("code-1") == [] and view.item("s1-0") is None
        assert [row["answers"]["note"] for row in view.ratings("s1")] == ["stays"]
        assert view.enrolment("s1", rater)["done"] == 2
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before
