"""Where the files of an import come from: a folder, or a zip file."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from emotion_omni import audio
from emotion_omni.types import EmotionOmniError

MOST_ITEMS = 50_000
LARGEST_UNPACKED = 4 * 2**30  # bytes of an uploaded archive

# All errors of Python's zip reader for an archive that is damaged, locked or of a rare kind.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Source:
    """The files of an import: their names, and how to read one."""

    names: tuple[str, ...]
    read: Callable[[str], bytes]

    @classmethod
    def folder(cls, path: Path) -> Source:
        names = tuple(sorted(str(file.relative_to(path).as_posix()) for file in path.rglob("*") if file.is_file()))
        return cls(names, lambda name: (path / name).read_bytes())

    @classmethod
    def archive(cls, path: Path) -> Source:
        """A zip file. Nothing of it is written to disk, so a name in it cannot point anywhere."""
        try:
            file = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise EmotionOmniError(
                "This is not a zip file, or it is cut off. Pack the recordings and a manifest again.", "bad-archive"
            ) from error
        entries = [
            entry for entry in file.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX")
        ]
        if sum(entry.file_size for entry in entries) > LARGEST_UNPACKED or len(entries) > 2 * MOST_ITEMS:
            raise EmotionOmniError(
                f"The archive unpacks to more than {LARGEST_UNPACKED // 2**30} GB. Split it.", "too-large"
            )

        def read(name: str) -> bytes:
            try:
                with file.open(name) as entry:
                    return entry.read(audio.LARGEST_BYTES + 1)
            except _BROKEN as error:
                raise EmotionOmniError(
                    f"{name[:80]!r} cannot be unpacked ({error}). Pack it again, without a password.", "bad-archive"
                ) from error

        return cls(tuple(sorted(entry.filename for entry in entries)), read)

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self.names)

    def get(self, name: str) -> bytes:
        """A file that the source lists: a manifest cannot name files outside of it."""
        listed = str(PurePosixPath(name))
        if listed not in self._listed:
            raise EmotionOmniError(f"The manifest names {name[:80]!r}, which is not there.", "missing")
        return self.read(listed)
