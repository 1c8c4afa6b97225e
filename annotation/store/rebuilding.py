"""Rebuilding the database from the event log, above all where the database itself cannot be opened.

The new one is made beside the broken one and takes its place when it is complete. The broken one is kept under a dated
name, until somebody deletes it or the next withdrawal does.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from annotation.store.engines import DAMAGED, create_engine, sqlite_file
from annotation.store.event_log import EventLog
from annotation.store.files import delete, sync_folder
from annotation.store.migrations import version
from annotation.store.store import Store, database_url
from annotation.store.writer import GroupCommitWriter
from emotion_omni.types import EmotionOmniError

ENDS = ("", "-wal", "-shm")  # of the names of a database's files


@dataclass(frozen=True)
class Rebuilt:
    """``fault``: what was wrong with the database, "" where nothing; ``set_aside``: where its files are now."""

    events: int
    fault: str = ""
    set_aside: list[str] = field(default_factory=list)


def rebuild(home: Path, url: str | None = None) -> Rebuilt:
    """Build the database anew from the event log. Raises :class:`EmotionOmniError` where the log cannot give it."""
    path = sqlite_file(database_url(home, url))
    fault = fault_of(path) if path else ""
    if not fault:
        try:
            store = Store(home, url)
        except EmotionOmniError as error:
            if error.code != DAMAGED or not path:
                raise
            fault = str(error.__cause__)
        else:
            try:
                return Rebuilt(store.rebuild())
            finally:
                store.close()
    assert path is not None  # only files are found to have faults
    events, kept = _replace(home, path, fault)
    Store(home, url).close()  # finishes what was being erased
    return Rebuilt(events, fault, [name for name in kept if path.with_name(name).exists()])


def fault_of(path: Path) -> str:
    """What is wrong with the file of a database; "" where nothing is, or where there is none."""
    if path.is_dir():
        return "it is a folder"
    if not path.exists() or not path.stat().st_size:
        left = any(path.with_name(path.name + end).exists() for end in ENDS)
        return ("it is empty" if path.exists() else "it is missing, but not its other files") if left else ""
    if not os.access(path, os.R_OK | os.W_OK):
        raise EmotionOmniError(f"The database {path} cannot be opened: permission denied.", "disk")
    engine = create_engine(database_url(path.parent, None, path.name), writes=False)
    try:
        with engine.connect() as connection:
            told = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
            tables = set(sa.inspect(connection).get_table_names())
    except sa.exc.DatabaseError as error:
        return str(error.orig)
    finally:
        engine.dispose()
    if told == "ok" and tables and version.name not in tables:  # as where a write-ahead log of another is left
        return "it is the database of another program"
    return "" if told == "ok" else str(told)


def _replace(home: Path, path: Path, fault: str) -> tuple[int, list[str]]:
    """→ the number of events, and the new names of the broken files."""
    log, fresh = EventLog(home / "log", shared=True), path.with_name(f"{path.name}.fresh")
    if next(log.read(), None) is None and path.is_file() and path.stat().st_size:
        raise EmotionOmniError(
            f"The database {path} is broken ({fault}), and the event log in {log.folder} is empty: there is nothing to "
            "rebuild it from. Restore the folder 'log' from a backup. Nothing was changed.",
            "log-missing",
        )
    try:
        _delete_all(fresh)
        GroupCommitWriter(create_engine(database_url(path.parent, None, fresh.name), writes=True), log).close()
        kept = _set_aside(path)
        os.replace(fresh, path)
    finally:
        _delete_all(fresh)
    sync_folder(path.parent)
    return log.last, kept


def _set_aside(path: Path) -> list[str]:
    """Rename the files of a database → their new names."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside, number = f"{path.name}.broken-{stamp}", 1
    while any(path.with_name(aside + end).exists() for end in ENDS):
        number += 1
        aside = f"{path.name}.broken-{stamp}-{number}"
    moved = [end for end in ENDS if os.path.lexists(path.with_name(path.name + end))]
    for end in moved:
        os.replace(path.with_name(path.name + end), path.with_name(aside + end))
    return [aside + end for end in moved]


def _delete_all(path: Path) -> None:
    for end in ENDS:
        delete(path.with_name(path.name + end))
