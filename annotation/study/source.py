"""Where the files of an import come from: a folder, a zip file, or uploads."""

from __future__ import annotations

import lzma
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from emotion_omni import audio
from emotion_omni.text_encoding import printable_name
from emotion_omni.types import EmotionOmniError

MOST_ITEMS = 50_000
LARGEST_UNPACKED = 4 * 2**30  # bytes of an uploaded archive
SYSTEM_FILES = ("__macosx", "thumbs.db", "desktop.ini")

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


def is_hidden(name: str) -> bool:
    """Whether a file belongs to a system or an editor: in a folder or of a name that begins with a dot."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in (".", "..", "/")]
    return any(part.startswith((".", "~$")) or part.lower() in SYSTEM_FILES for part in parts)


def key_of(name: str) -> str:
    """The form in which names are compared: composed letters, slashes, no spaces around the parts."""
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
    return "/".join(part.strip() for part in parts if part.strip() not in ("", "."))


@dataclass(frozen=True)
class Source:
    """The files of an import: their names, and how to read one."""

    names: tuple[str, ...]
    read: Callable[[str], bytes]
    hidden: tuple[str, ...] = ()  # left out
    doubles: tuple[str, ...] = ()  # names that an archive holds more than once

    @classmethod
    def of(cls, names: Sequence[str], read: Callable[[str], bytes]) -> Source:
        counts = Counter(names)
        return cls(
            tuple(sorted(name for name in counts if not is_hidden(name))),
            read,
            tuple(sorted(name for name in counts if is_hidden(name))),
            tuple(sorted(name for name, count in counts.items() if count > 1 and not is_hidden(name))),
        )

    @classmethod
    def folder(cls, path: Path) -> Source:
        files = {printable_name(file.relative_to(path).as_posix()): file for file in path.rglob("*") if file.is_file()}
        return cls.of(list(files), lambda name: files[name].read_bytes())

    @classmethod
    def archive(cls, path: Path) -> Source:
        """A zip file. Nothing of it is written to disk, so a name in it cannot point anywhere."""
        try:
            file = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise EmotionOmniError(
                "This is not a zip file, or it is cut off. Pack the recordings and a manifest again.", "bad-archive"
            ) from error
        entries = [entry for entry in file.infolist() if not entry.is_dir()]
        if sum(entry.file_size for entry in entries) > LARGEST_UNPACKED or len(entries) > 2 * MOST_ITEMS:
            raise EmotionOmniError(
                f"The archive unpacks to more than {LARGEST_UNPACKED // 2**30} GB. Split it.", "too-large"
            )
        by_name = {_entry_name(entry): entry for entry in entries}

        def read(name: str) -> bytes:
            try:
                with file.open(by_name[name]) as entry:
                    return entry.read(audio.LARGEST_BYTES + 1)
            except _BROKEN as error:
                raise EmotionOmniError(
                    f"{name[:80]!r} cannot be unpacked ({error}). Pack it again, without a password.", "bad-archive"
                ) from error

        return cls.of([_entry_name(entry) for entry in entries], read)

    @classmethod
    def uploads(cls, files: Sequence[str | Path]) -> Source:
        """Uploaded files. Those of one name, and what is in a zip file, get a folder of their own."""
        paths = [Path(file) for file in files]
        if len(paths) == 1 and paths[0].suffix.lower() == ".zip":
            return cls.archive(paths[0])
        readers: dict[str, Callable[[], bytes]] = {}
        for number, path in enumerate(paths, 1):
            if path.suffix.lower() == ".zip":
                inner = cls.archive(path)
                prefix = path.stem if not any(name.startswith(path.stem + "/") for name in readers) else str(number)
                for name in inner.names:
                    readers[f"{prefix}/{name}"] = _reader(inner, name)
            else:
                readers[path.name if path.name not in readers else f"{number}/{path.name}"] = path.read_bytes
        return cls.of(list(readers), lambda name: readers[name]())

    @cached_property
    def _by_key(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(key_of(name), []).append(name)
        return found

    @cached_property
    def _by_folded_key(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(key_of(name).casefold(), []).append(name)
        return found

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self.names)

    def find(self, name: str, folder: str = "") -> str:
        """The listed file that a manifest names: relative to the manifest's folder, or to the top.

        A manifest cannot name files outside of the source.
        """
        for base in dict.fromkeys((folder, "")):
            full = f"{base}/{name}" if base else name
            if full in self._listed:
                return full
            outside = name.strip().startswith(("/", "\\"))
            for names, key in ((self._by_key, key_of(full)), (self._by_folded_key, key_of(full).casefold())):
                found = [] if outside else names.get(key, [])
                if len(found) == 1:
                    return found[0]
                if found:
                    raise EmotionOmniError(f"{name[:80]!r} may be any of {', '.join(found[:4])}.", "ambiguous")
        last = key_of(name).rpartition("/")[2]
        elsewhere = [one for one in self.names if last and key_of(one).rpartition("/")[2] == last]
        hint = f" A file of that name is {elsewhere[0]!r}." if elsewhere else ""
        raise EmotionOmniError(f"The manifest names {name[:80]!r}, which is not there.{hint}", "missing")

    def get(self, name: str) -> bytes:
        return self.read(self.find(name))


def _reader(source: Source, name: str) -> Callable[[], bytes]:
    return lambda: source.read(name)


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry. Many programs write UTF-8 without saying so; Python then reads it as code page 437."""
    if entry.flag_bits & 0x800 or entry.filename.isascii():
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename
