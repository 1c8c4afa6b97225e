"""Databases of past and of newer versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import raters
import sqlalchemy as sa
from store_events import add_study, join, names

from annotation.store.engines import create_engine
from annotation.store.event_log import EventLog
from annotation.store.migrations import MIGRATIONS, migrate
from annotation.store.store import Store
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)


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
