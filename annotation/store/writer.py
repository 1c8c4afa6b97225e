"""The one thread that writes: it runs the waiting operations in batches.

A batch is one database transaction: its operations run, their events are appended to the log with one fsync, then the
transaction commits. An operation is done only when both are on disk. If a crash falls between the two, the next start
replays what the database lacks; if the commit fails, the events leave the log again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from itertools import takewhile
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, select

from annotation.store.effects import recall_reasons
from annotation.store.engines import dropped_if_broken
from annotation.store.event_log import UNKNOWN, EventLog
from annotation.store.migrations import migrate
from annotation.store.tables import meta
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

Result = TypeVar("Result")
Operation = Callable[[Transaction], Any]
Waiting = tuple[Operation, Future]  # an operation and where its outcome goes
BATCH = 256  # operations at most that share one commit


class GroupCommitWriter:
    def __init__(self, engine: sa.Engine, log: EventLog) -> None:
        """Migrate the database, and replay what the log has and the database lacks."""
        self.engine, self._log = engine, log
        self._closed = False
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True, name="store-writer")
        with engine.begin() as connection:
            had_reasons = sa.inspect(connection).has_table("skips")
            migrate(connection)
            if not had_reasons and (applied := self._lock(connection)):
                log.repair()
                recall_reasons(connection, takewhile(lambda event: event["sequence"] <= applied, log.read()))
        self._commit([])
        self._thread.start()

    def enqueue(self, operation: Callable[[Transaction], Result]) -> Future[Result]:
        if self._closed:
            raise EmotionOmniError(
                "The studio is shutting down. Try again in a moment; nothing that was saved is lost.", "closed"
            )
        done: Future[Result] = Future()
        self._queue.put((operation, done))
        return done

    def close(self) -> None:
        """Run what is waiting, then stop."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self.engine.dispose()

    def catch_up(self, transaction: Transaction) -> int:
        """Replay what the log has and the database lacks → the number of events."""
        self._log.last = self._log.repair()
        if self._log.last < transaction.sequence:
            raise EmotionOmniError(
                f"The event log ends at {self._log.last}, but the database has applied {transaction.sequence}: "
                "part of the log is missing. Restore the folder 'log' from a backup.",
                "log-missing",
            )
        replayed = 0
        for event in self._log.read(after=transaction.sequence):
            transaction.replay(event)
            replayed += 1
        transaction.set_applied()
        return replayed

    # -- the thread

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < BATCH and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                batch.append(following)
            self._serve([waiting for waiting in batch if waiting[1].set_running_or_notify_cancel()])

    def _serve(self, batch: list[Waiting]) -> None:
        """All in one commit; if one operation breaks it, each in its own, so that only the broken one fails."""
        try:
            outcomes = self._commit([operation for operation, _ in batch])
        except Exception as error:  # passed on to the caller who waits for it
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                for waiting in batch:
                    self._serve([waiting])
            return
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, EmotionOmniError):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

    # -- a batch

    def _commit(self, operations: Iterable[Operation]) -> list[Any]:
        """Run operations → their results, or the errors of those that were refused before they changed anything."""
        appended = False
        try:
            with self.engine.begin() as connection, dropped_if_broken(connection):
                transaction = Transaction(connection, self._lock(connection))
                if self._log.last != transaction.sequence:
                    self.catch_up(transaction)
                before = transaction.sequence
                outcomes = [_outcome(transaction, operation) for operation in operations]
                if transaction.events:
                    transaction.set_applied()
                    self._log.append(transaction.events)
                    appended = True
        except Exception:  # whatever made the commit fail
            if not appended or not self._has_committed(before):
                raise
        return outcomes

    def _lock(self, connection: Connection) -> int:
        """One writer at a time, also among processes → the last event applied. SQLite is locked by BEGIN IMMEDIATE."""
        applied = select(meta.c.value).where(meta.c.name == "applied").with_for_update()
        return connection.execute(applied).scalar_one()

    def _has_committed(self, before: int) -> bool:
        """Whether a commit that raised reached the database all the same. If not, its events leave the log."""
        self._log.last = UNKNOWN
        with self.engine.begin() as connection:
            if self._lock(connection) > before:
                return True
            self._log.cut_back(before)
        return False


def _outcome(transaction: Transaction, operation: Operation) -> Any:
    """An operation's result, or the error that refused it. Its events but the last get ``more``."""
    before, first = transaction.sequence, len(transaction.events)
    try:
        result = operation(transaction)
    except EmotionOmniError as error:
        if transaction.sequence != before:  # half of it has been applied: nothing of this batch may stay
            raise
        return error
    for event in transaction.events[first:-1]:
        event["more"] = 1
    return result
