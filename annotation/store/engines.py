"""SQLAlchemy engines for SQLite (the default) and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from annotation.store.files import private, restrict
from emotion_omni.types import EmotionOmniError

DatabaseURL = str | sa.URL
DAMAGED = "database-damaged"  # the code of an error that `python -m annotation rebuild` repairs
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=30000", "cache_size=-65536")


def create_engine(url: DatabaseURL, writes: bool) -> sa.Engine:
    """An engine for the one writer, or for the readers. A reader sees one moment on either database."""
    url = sa.make_url(url)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writes)
    isolation = "READ COMMITTED" if writes else "REPEATABLE READ"
    return sa.create_engine(
        url.set(drivername="postgresql+pg8000") if url.drivername == "postgresql" else url,
        pool_pre_ping=True,
        pool_size=1 if writes else 10,
        isolation_level=isolation,
    )


def _sqlite(url: sa.URL, writes: bool) -> sa.Engine:
    """The driver's own transactions are turned off, so that the writer locks when its transaction begins."""
    _make_private(url)
    options = {"check_same_thread": False, "timeout": 30}
    engine = sa.create_engine(url, connect_args=options, pool_size=1 if writes else 48)

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def sqlite_file(url: DatabaseURL) -> Path | None:
    """The file of a database; None where it has none of its own."""
    url = sa.make_url(url)
    name = url.database if url.get_backend_name() == "sqlite" else None
    return Path(name) if name and not name.startswith((":", "file:")) else None


def _make_private(url: sa.URL) -> None:
    """The database's file is made here, since its driver would let others read it. Its other files get its rights."""
    path = sqlite_file(url)
    if path is None:
        return
    if not path.exists():  # closing a file that is open elsewhere in this process would give up its locks
        os.close(private(str(path), os.O_RDWR | os.O_CREAT))
    for end in ("", "-wal", "-shm"):
        restrict(path.with_name(path.name + end))


@contextmanager
def damage_named(url: DatabaseURL) -> Iterator[None]:
    """Say what repairs a file that is no database (any more), instead of what its driver says."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        path = sqlite_file(url)
        if path is None or "locked" in str(error.orig):
            raise
        raise EmotionOmniError(
            f"The database {path} cannot be used ({error.orig}). The event log holds everything: stop the app and "
            "run 'python -m annotation rebuild', which keeps the broken file under another name.",
            DAMAGED,
        ) from error.orig


@contextmanager
def dropped_if_broken(connection: Connection) -> Iterator[None]:
    """Close a connection after an unexpected error: its driver may hold half an answer, meant for this statement."""
    try:
        yield
    except EmotionOmniError:
        raise
    except Exception:
        connection.invalidate()
        raise
