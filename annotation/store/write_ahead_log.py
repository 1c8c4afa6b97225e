"""Empties SQLite's write-ahead log, which holds pages as they were before an erasure.

A reader in the middle of a long transaction needs them, so they can only go when it has ended. Nobody waits for that:
each try gives up at once if a reader or writer is in the way, and the next comes soon after, in the background.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing

import sqlalchemy as sa

SHORTEST_WAIT, LONGEST_WAIT = 0.02, 1.0  # seconds between two tries


class WriteAheadLog:
    def __init__(self, engine: sa.Engine) -> None:
        """``engine``: a reader's. Another database than SQLite has nothing to empty."""
        self._engine, self._exists = engine, engine.dialect.name == "sqlite"
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def empty(self, patience: float = 0.0) -> bool:
        """Try for ``patience`` seconds, and go on in the background if that was not enough → whether it is empty."""
        if not self._exists:
            return True
        end, wait = time.monotonic() + patience, SHORTEST_WAIT
        while not self._try():
            if time.monotonic() > end:
                self._go_on()
                return False
            time.sleep(wait)
        return True

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            thread = self._thread
        if thread:
            thread.join()

    def _try(self) -> bool:
        with closing(self._engine.raw_connection()) as connection:
            connection.execute("PRAGMA busy_timeout=0")  # or it would wait for readers while it holds up writers
            try:
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except self._engine.dialect.loaded_dbapi.OperationalError:  # locked
                return False
            finally:
                connection.execute("PRAGMA busy_timeout=30000")
        return not busy

    def _go_on(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, daemon=True, name="store-wal")
                self._thread.start()

    def _run(self) -> None:
        wait = SHORTEST_WAIT
        while True:
            if self._closing.wait(wait):  # the last connection to close empties it as well
                return
            wait = min(wait * 2, LONGEST_WAIT)
            with self._lock:
                if self._try():
                    self._thread = None
                    return
