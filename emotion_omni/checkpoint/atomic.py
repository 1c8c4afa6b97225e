"""Folders that are replaced as a whole: killed at any point, a writer leaves the old folder or the new one."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emotion_omni import weights
from emotion_omni.checkpoint.errors import broken
from emotion_omni.checkpoint.layout import ABOUT

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write into; at the end it is flushed to the disk and replaces ``folder`` in one step.

    Removes what a killed process has left. One process at a time.
    """
    new, old = _aside(folder)
    with weights.locked(folder.with_name(f".{folder.name}")):
        if not folder.exists() and old.exists():
            old.rename(folder)
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        if folder.exists() and not (folder / ABOUT).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise broken(f"{str(folder)!r} is no checkpoint and would be lost. Choose an empty or a new folder.")
        new.mkdir()
        try:
            yield new
            for path in (*new.iterdir(), new):
                _flush(path)
            _put(new, folder, old)
        finally:
            shutil.rmtree(new, ignore_errors=True)  # after an exchange it holds the old content


def _put(new: Path, folder: Path, old: Path) -> None:
    if not folder.exists():
        new.rename(folder)
    elif not exchange(new, folder):
        folder.rename(old)  # until the next line readers find it there
        new.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _aside(folder: Path) -> tuple[Path, Path]:
    """Where the new folder is written, and where the old one is between two renames."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def current(folder: Path) -> Path:
    """The folder; or the old one beside it, while or after a save by two renames was interrupted."""
    if not folder.name or folder.exists():
        return folder
    old = _aside(folder)[1]
    return old if old.exists() else folder


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step → whether the system can: Linux, on most of its file systems."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, TypeError, AttributeError):  # Windows has no CDLL(None), macOS no renameat2
        return False
    return rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
