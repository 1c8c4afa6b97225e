"""The store of studies, raters and ratings: opens, migrates and catches up a database, then reads and writes it.

Every change is an *event*: it is checked, applied to the tables and appended to the event log in one step, so that the
log alone can rebuild the database. SQLite (WAL, synchronous=FULL) by default; PostgreSQL by URL.

It does not know scales, screens or people: its callers decide what may be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from annotation.store.engines import create_engine, dropped_if_broken
from annotation.store.erasure import erase_withdrawn
from annotation.store.event_log import EventLog
from annotation.store.migrations import drop_all, migrate
from annotation.store.queries import View
from annotation.store.transaction import Transaction
from annotation.store.writer import Writer

Result = TypeVar("Result")


class Store:
    def __init__(self, home: Path, url: str | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.url = home, url or f"sqlite:///{home / 'studio.db'}"
        self.log = EventLog(home / "log", shared=True)
        self._reader = create_engine(self.url, writes=False)
        self.writer = Writer(create_engine(self.url, writes=True), self.log)
        self._finish_erasure()

    @contextmanager
    def read(self) -> Iterator[View]:
        with self._reader.connect() as connection, dropped_if_broken(connection):
            yield View(connection)

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation; when this returns, its effect is on disk."""
        return self.enqueue(operation).result()

    def enqueue(self, operation: Callable[[Transaction], Result]) -> Future[Result]:
        return self.writer.enqueue(operation)

    def close(self) -> None:
        self.writer.close()
        self._reader.dispose()

    def rebuild(self) -> int:
        """Throw the database away and rebuild it from the event log → the number of events replayed."""
        with self.writer.engine.begin() as connection:
            drop_all(connection)
            migrate(connection)
            replayed = self.writer.catch_up(Transaction(connection, 0))
        self._finish_erasure()
        return replayed

    # -- withdrawals

    def withdraw_rater(self, rater: str, study: str | None = None) -> int:
        """Erase what a rater gave in one study, or everything and the rater too → the number of events erased."""
        self.write(lambda transaction: transaction.record("rater.withdrawn", rater=rater, study=study))
        return self._finish_erasure()

    def withdraw_contributor(self, contributor: str, items: Sequence[str]) -> int:
        """Erase a voice, the items made of it and their ratings → the number of events erased."""
        facts = {"contributor": contributor, "items": list(items)}
        self.write(lambda transaction: transaction.record("contributor.withdrawn", **facts))
        return self._finish_erasure()

    def _finish_erasure(self) -> int:
        """Erase all who have withdrawn from the log. Runs again at the next start if a crash cuts it short."""
        with self.read() as view:
            if not view.is_erasing():
                return 0
        erased = self.write(self._erase)
        if self.url.startswith("sqlite"):  # the write-ahead log still holds the pages
            with closing(self._reader.raw_connection()) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return erased

    def _erase(self, transaction: Transaction) -> int:
        """An operation, so that nothing is appended meanwhile. Withdrawals of the same batch are not in the log yet."""
        erased = erase_withdrawn(self.log)
        transaction.finish_erasure(self.log.last)
        return erased
