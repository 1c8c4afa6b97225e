"""Names that a menu shows for checkpoints of parts, and the versions behind them.

``parts/NAME`` of the home folder holds a folder for each version that was ever promoted, never changed again, and
``current.json``, which says which of them the name means. It is replaced in one step, so an engine that is loaded at
any moment gets one version, whole; a reply that has begun keeps the one it began with. Imports no torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emotion_omni import weights
from emotion_omni.checkpoint import lineage as lineages
from emotion_omni.checkpoint.errors import broken
from emotion_omni.checkpoint.lineage import Lineage
from emotion_omni.checkpoint.part_files import PART_FILES
from emotion_omni.home import home_folder
from emotion_omni.strict import nearest

CURRENT = "current.json"
DIGITS = 12  # of an identity, as a version
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")


@dataclass(frozen=True)
class Version:
    """``parent``: the version that it was compared with, or an engine. ``promoted``: when."""

    version: str
    promoted: str
    parent: str


@dataclass(frozen=True)
class Named:
    """A name with its versions in the order of promotion; ``trail``: those it has meant, the last one is current."""

    name: str
    versions: tuple[Version, ...]
    trail: tuple[str, ...] = field(default=())

    @property
    def current(self) -> str:
        return self.trail[-1]

    @property
    def folder(self) -> Path:
        return home() / self.name / self.current


def home() -> Path:
    return home_folder() / "parts"


def listed() -> list[Named]:
    """All names, in order."""
    folders = sorted(home().iterdir()) if home().is_dir() else []
    return [found for folder in folders if (found := _read(folder.name)) is not None]


def find(source: str) -> tuple[str, Path] | None:
    """``NAME`` or ``NAME@VERSION`` → ``NAME@VERSION`` and its folder; ``None`` if no such name was promoted.

    Raises :class:`EmotionOmniError` (code ``checkpoint``) for a version that the name never had.
    """
    name, _, version = source.partition("@")
    named = _read(name) if NAME.fullmatch(name) else None
    if named is None:
        return None
    known = [one.version for one in named.versions]
    if version and version not in known:
        raise broken(f"{name!r} has no version {version!r}. It has: {', '.join(known)}.{nearest(version, known)}")
    version = version or named.current
    return f"{name}@{version}", home() / name / version


def put(folder: Path, name: str, parent: str, scores: Mapping[str, float] | None = None) -> Named:
    """Copy the checkpoint of ``folder`` to a version of its own and let ``name`` mean it from now on.

    Whether it may is the business of the gate. Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    if not NAME.fullmatch(name):
        raise broken(f"{name!r} is no name: small letters, digits, dots, dashes and underscores, 41 at most.")
    lineage = lineages.with_scores(lineages.read(folder), scores or {})
    version = lineage.identity[:DIGITS]
    with weights.locked(_lock(name)):
        target = home() / name / version
        if not target.exists():
            _copy(folder, target, lineage)
        named = _read(name) or Named(name, ())
        others = tuple(one for one in named.versions if one.version != version)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = Named(name, (*others, Version(version, now, parent)), (*named.trail, version))
        _write(found)
    return found


def roll_back(name: str) -> Named:
    """Let the name mean what it meant before. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    with weights.locked(_lock(name)):
        named = get(name)
        if len(named.trail) < 2:
            raise broken(f"{name!r} has meant one version only, {named.current}: there is none to go back to.")
        found = Named(name, named.versions, named.trail[:-1])
        _write(found)
    return found


def get(name: str) -> Named:
    """Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    named = _read(name) if NAME.fullmatch(name) else None
    if named is None:
        names = [one.name for one in listed()]
        known = f"There are: {', '.join(names)}." if names else "There is none yet."
        raise broken(f"No checkpoint was promoted as {name!r}. {known}{nearest(name, names)}")
    return named


def lineage_of(named: Named, version: str) -> Lineage:
    return lineages.read(home() / named.name / version)


# --- files --------------------------------------------------------------------------------------------------------


def _lock(name: str) -> Path:
    home().mkdir(parents=True, exist_ok=True)
    return home() / f".{name}"


def _copy(folder: Path, target: Path, lineage: Lineage) -> None:
    """Whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as new:
        inside = Path(new) / target.name
        inside.mkdir()
        for name in PART_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, inside / name)
                _flush(inside / name)
        lineages.write(inside, lineage)
        inside.rename(target)
    _flush(target.parent)


def _write(named: Named) -> None:
    row: dict[str, Any] = {"versions": [asdict(one) for one in named.versions], "trail": list(named.trail)}
    path = home() / named.name / CURRENT
    part = path.with_name(f".{CURRENT}.part")
    part.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    _flush(part)
    part.replace(path)
    _flush(path.parent)


def _read(name: str) -> Named | None:
    try:
        row = json.loads((home() / name / CURRENT).read_text(encoding="utf-8"))
        return Named(name, tuple(Version(**one) for one in row["versions"]), tuple(row["trail"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
