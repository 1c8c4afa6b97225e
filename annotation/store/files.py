"""Files that are written whole or not at all, and that survive a loss of power."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Two processes may write the same file at once."""
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    with new.open("wb") as file:
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
