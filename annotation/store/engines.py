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

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=30000", "cache_size=-65536")


def create_engine(url: str, writes: bool) -> sa.Engine:
    """An engine for the one writer, or for the readers. A reader sees one moment on either database."""
    if url.startswith("sqlite"):
        return _sqlite(url, writes)
    isolation = "READ COMMITTED" if writes else "REPEATABLE READ"
    return sa.create_engine(
        url.replace("postgresql://", "postgresql+pg8000://", 1),
        pool_pre_ping=True,
        pool_size=1 if writes else 10,
        isolation_level=isolation,
    )


def _sqlite(url: str, writes: bool) -> sa.Engine:
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


def _make_private(url: str) -> None:
    """The database's file is made here, since its driver would let others read it. Its other files get its rights."""
    name = sa.engine.make_url(url).database
    if not name or name.startswith((":", "file:")):
        return
    if not Path(name).exists():  # closing a file that is open elsewhere in this process would give up its locks
        os.close(private(name, os.O_RDWR | os.O_CREAT))
    for end in ("", "-wal", "-shm"):
        restrict(Path(name + end))


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
