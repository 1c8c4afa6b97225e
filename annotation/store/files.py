"""Files that are written whole or not at all, that survive a loss of power, and that only their owner can read."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from pathlib import Path

from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
OWN_FOLDERS = ("log", "audio", "log.before", "restoring")  # below the home folder, which may hold other things too
OWN_FILES = ("studio.db*", "secret*", "mirror.json*", "server.txt")


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Two processes may write the same file at once."""
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    with open(new, "wb", opener=private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A new file name survives a loss of power only after its folder is synced, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def delete(path: Path) -> None:
    """A file, or a folder with all that is in it; nothing where there is neither."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --- permissions ------------------------------------------------------------------------------------------------


def private(path: str, flags: int) -> int:
    """An opener for ``open``: a file that it creates can be read by its owner alone."""
    return os.open(path, flags, PRIVATE_FILE)


def make_private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise EmotionOmniError(f"The folder {folder} cannot be made: {error.strerror}.", "disk") from error


def restrict_home(home: Path) -> None:
    """Take from others the right to read what an earlier release or a copy has left open."""
    restrict(home)
    for pattern in OWN_FILES:
        for path in home.glob(pattern):
            restrict(path)
    for name in OWN_FOLDERS:
        for folder, _, files in os.walk(home / name):
            restrict(Path(folder))
            for file in files:
                restrict(Path(folder, file))


def restrict(path: Path) -> None:
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)
    except FileNotFoundError:  # deleted meanwhile
        pass
    except OSError as error:
        log.warning("Others on this machine may be able to read %s: %s.", path, error.strerror)
