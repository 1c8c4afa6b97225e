"""Engines: what the databases promise, beyond our own code."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from store_events import join

from annotation.store.store import Store

pytest_plugins = ("databases",)


def test_sqlite_syncs_every_commit_and_overwrites_what_is_deleted(home: Path) -> None:
    store = Store(home)
    with store.writer.engine.connect() as connection:
        found = {
            name: connection.execute(sa.text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    store.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}  # 2 is FULL


def test_a_reader_sees_one_moment_while_others_write(opened: Store) -> None:
    opened.write(join)
    with opened.read() as view:
        before = view.raters()
        opened.write(join)
        assert view.raters() == before
    with opened.read() as view:
        assert len(view.raters()) == 2


def test_a_connection_that_broke_is_not_used_again(opened: Store) -> None:
    with pytest.raises(ZeroDivisionError), opened.read() as view:
        first = view.connection.connection.dbapi_connection
        raise ZeroDivisionError
    with opened.read() as view:
        assert view.connection.connection.dbapi_connection is not first
