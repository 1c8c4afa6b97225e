"""The store of studies, raters and ratings: opens, migrates and catches up a database, then reads and writes it.

Every change is an *event*: it is checked, applied to the tables and appended to the event log in one step, so that the
log alone can rebuild the database. SQLite (WAL, synchronous=FULL) by default; PostgreSQL by URL.

It does not know scales, screens or people: its callers decide what may be done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from annotation.store.engines import DatabaseURL, create_engine, damage_named, sqlite_file
from annotation.store.erasure import Erased, delete_sounds, erase_lines, requested, whole_lines
from annotation.store.event_log import EventLog
from annotation.store.files import delete, make_private_folder, restrict_home
from annotation.store.migrations import drop_all, migrate
from annotation.store.queries import View
from annotation.store.reader import Reader
from annotation.store.transaction import Transaction
from annotation.store.write_ahead_log import WriteAheadLog
from annotation.store.writer import GroupCommitWriter

Result = TypeVar("Result")
PATIENCE = 2.0  # seconds that who withdraws waits for short readers, before the rest is done in the background


def database_url(home: Path, url: str | None = None, name: str = "studio.db") -> DatabaseURL:
    """``url``, or that of SQLite's file in ``home``, whatever characters its name has."""
    return url or sa.URL.create("sqlite", database=str((home / name).absolute()))


class Store:
    def __init__(self, home: Path, url: str | None = None) -> None:
        make_private_folder(home)
        restrict_home(home)
        self.home, self.url = home, database_url(home, url)
        self.log = EventLog(home / "log", shared=True)
        self._reader = Reader(self.url)
        with damage_named(self.url):
            self.writer = GroupCommitWriter(create_engine(self.url, writes=True), self.log)
        self._write_ahead_log, self._erasing = WriteAheadLog(self._reader.engine), threading.Lock()
        self._finish_erasure()
        self._write_ahead_log.empty()  # a crash may have left what had been erased

    @contextmanager
    def read(self) -> Iterator[View]:
        with self._reader.read() as view:
            yield view

    def write(self, operation: Callable[[Transaction], Result]) -> Result:
        """Run an operation; when this returns, its effect is on disk."""
        return self.enqueue(operation).result()

    def enqueue(self, operation: Callable[[Transaction], Result]) -> Future[Result]:
        return self.writer.enqueue(operation)

    def close(self) -> None:
        self.writer.close()
        self._write_ahead_log.close()
        self._reader.close()

    def rebuild(self) -> int:
        """Throw the database away and rebuild it from the event log → the number of events replayed."""
        with self.writer.engine.begin() as connection:
            drop_all(connection)
            migrate(connection)
            replayed = self.writer.catch_up(Transaction(connection, 0))
        self._finish_erasure()
        return replayed

    # -- withdrawals and deletions

    def withdraw_rater(self, rater: str, study: str | None = None) -> int:
        """Erase what a rater gave in one study, or everything and the rater too → the number of events erased."""
        self.write(lambda transaction: transaction.record("rater.withdrawn", rater=rater, study=study))
        return self._finish_erasure()

    def withdraw_contributor(self, contributor: str, items: Sequence[str]) -> int:
        """Erase a voice, the items made of it and their ratings → the number of events erased."""
        facts = {"contributor": contributor, "items": list(items)}
        self.write(lambda transaction: transaction.record("contributor.withdrawn", **facts))
        return self._finish_erasure()

    def delete_study(self, study: str) -> list[str]:
        """Erase a study with its items and ratings, and the guests who were in no other → those guests."""

        def delete(transaction: Transaction) -> list[str]:
            guests = transaction.guests_of(study)
            transaction.record("study.deleted", study=study, guests=guests)
            return guests

        guests = self.write(delete)
        self._finish_erasure()
        return guests

    def _finish_erasure(self) -> int:
        """Erase from the log and the sounds what was withdrawn or deleted → the number of events erased.

        Runs again at the next start if a crash cuts it short.
        """
        with self._erasing:
            with self.read() as view:
                last = view.erasing()
            if not last:
                return 0
            erased = requested(self.log, last)
            number = self._erase(erased)
            self.write(lambda transaction: transaction.finish_erasure(last))
            if number:
                self._delete_broken()
        self._write_ahead_log.empty(PATIENCE)
        return number

    def _delete_broken(self) -> None:
        """Databases that a rebuild has set aside still hold what was erased."""
        if path := sqlite_file(self.url):
            for aside in list(path.parent.iterdir()):
                if aside.name.startswith(f"{path.name}.broken-"):
                    delete(aside)

    def _erase(self, erased: Erased) -> int:
        """First the sounds, of which the log is the only list, then the log."""
        sounds: set[str] = set()
        for path in self.log.segments():
            sounds |= erase_lines(whole_lines(path), erased, path.name)[2]
        if sounds:
            with self.read() as view:
                sounds -= view.clips_in_use()
            delete_sounds(self.home / "audio", sounds)
        return sum(self._erase_segment(path, erased) for path in self.log.segments())

    def _erase_segment(self, path: Path, erased: Erased) -> int:
        while True:
            before = whole_lines(path)
            after, number, _ = erase_lines(before, erased, path.name)
            if number == 0 or self._exchange(path, b"".join(before), b"".join(after)):
                return number

    def _exchange(self, path: Path, before: bytes, after: bytes) -> bool:
        """An operation, so that nothing is appended meanwhile. What follows ``before`` by then is younger: it stays."""
        return self.write(lambda _: self.log.exchange(path, before, after))
