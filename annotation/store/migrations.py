"""Ordered migrations. Each one brings a database one version up, once.

A migration is never edited after a release: a change is a new migration, and the form that a table had before the
change is written out in the migrations before it.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Integer, MetaData, Table, select

from annotation.store import tables
from emotion_omni.types import EmotionOmniError

MIGRATION_LOCK = 0x0E0_57D10  # PostgreSQL advisory lock: only one process at a time migrates


def m001_first(connection: Connection) -> None:
    first = [
        tables.meta,
        tables.studies,
        tables.items,
        tables.raters,
        tables.enrolments,
        tables.assignments,
        tables.ratings,
    ]
    tables.metadata.create_all(connection, tables=first)
    connection.execute(tables.meta.insert(), [{"name": "applied", "value": 0}, {"name": "erasing", "value": 0}])


def m002_decisions(connection: Connection) -> None:
    """Adjudications and verdicts of a researcher."""
    tables.decisions.create(connection)


def m003_logins(connection: Connection) -> None:
    """Invites with a number of uses, and signed-in browsers. Earlier ones were known by their signature alone."""
    tables.invites.create(connection)
    tables.logins.create(connection)


def m004_skips(connection: Connection) -> None:
    """Why items were skipped, which only the log knew. What was in deleted studies is erased from the log as well."""
    tables.skips.create(connection)
    applied = select(tables.meta.c.value).where(tables.meta.c.name == "applied").scalar_subquery()
    connection.execute(tables.meta.update().where(tables.meta.c.name == "erasing").values(value=applied))


def m005_locks(connection: Connection) -> None:
    """What evaluation studies have locked out of training, which stays when they are deleted."""
    tables.locks.create(connection, checkfirst=True)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    m001_first,
    m002_decisions,
    m003_logins,
    m004_skips,
    m005_locks,
)
version = Table("version", MetaData(), Column("number", Integer, nullable=False))


def migrate(connection: Connection, to: int | None = None) -> int:
    """Bring a database to a version (default: the newest) and return that version."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
    version.create(connection, checkfirst=True)
    current = connection.execute(select(version.c.number)).scalar()
    if current is None:
        connection.execute(version.insert().values(number=0))
        current = 0
    if current > len(MIGRATIONS):
        raise EmotionOmniError(
            f"This database has version {current}; this program knows versions up to {len(MIGRATIONS)}. "
            "Update the program.",
            "too-new",
        )
    for number in range(current, len(MIGRATIONS) if to is None else to):
        MIGRATIONS[number](connection)
        connection.execute(version.update().values(number=number + 1))
    return connection.execute(select(version.c.number)).scalar_one()


def drop_all(connection: Connection) -> None:
    """Drop every table, the version included, so that :func:`migrate` starts from nothing."""
    tables.metadata.drop_all(connection)
    version.drop(connection, checkfirst=True)
