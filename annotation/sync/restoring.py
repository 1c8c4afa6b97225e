"""Fetching the whole copy into a folder aside, checking it, and putting it in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from annotation.store.erasure import delete_sounds
from annotation.store.event_log import decode
from annotation.store.files import make_private_folder, restrict_home
from annotation.sync import local_files
from annotation.sync.local_files import SEGMENT, SOUND, File, has_hash
from annotation.sync.repository import Repository
from emotion_omni.types import EmotionOmniError


class Damage(Exception):
    """What was fetched is not what was sent."""


def fetch_into(home: Path, repository: Repository, head: str, files: Mapping[str, File]) -> int:
    """→ the number of events. Nothing changes unless all is there and right."""
    aside = home / "restoring"
    make_private_folder(aside)
    wanted = {path: file for path, file in files.items() if SEGMENT.fullmatch(path) or SOUND.fullmatch(path)}
    repository.fetch_all(head, ["log/*", "audio/*"], aside)
    try:
        _check_hashes(aside, wanted)
        events = _count_events(aside, sorted(filter(SEGMENT.fullmatch, wanted)))
    except Damage as error:
        raise EmotionOmniError(
            f"The backup {repository.name} is damaged: {error}. Nothing was changed here. Go back to an earlier "
            "version of the repository, or set STUDIO_REPO to a new name.",
            "mirror-damaged",
        ) from None
    os.sync()
    for path in filter(SOUND.fullmatch, wanted):
        make_private_folder((home / path).parent.parent)
        make_private_folder((home / path).parent)
        os.replace(aside / path, home / path)
    delete_sounds(home / "audio", _sounds_held(home) - _sounds_held(aside))  # erased there
    if (home / "log").exists():
        os.replace(home / "log", home / "log.before")
    os.replace(aside / "log", home / "log")
    restrict_home(home)
    return events


def tidy(home: Path) -> None:
    """Remove what a restore leaves behind, a killed one too."""
    make_private_folder(home)
    shutil.rmtree(home / "restoring", ignore_errors=True)
    if not (home / "log").exists() and (home / "log.before").exists():
        os.replace(home / "log.before", home / "log")
    shutil.rmtree(home / "log.before", ignore_errors=True)


def _sounds_held(folder: Path) -> set[str]:
    return local_files.sounds_held(local_files.contents(local_files.segments(folder)))


def _check_hashes(aside: Path, wanted: Mapping[str, File]) -> None:
    """Whether all files are there, and are what their name or their hash says."""
    for path, (_, name) in wanted.items():
        sound = SOUND.fullmatch(path)
        if not (aside / path).is_file() or not has_hash((aside / path).read_bytes(), sound[2] if sound else name):
            raise Damage(f"{path} is not what its hash says")


def _count_events(aside: Path, segments: list[str]) -> int:
    """The number of events, each checked by its checksum and its number."""
    events = 0
    for position, path in enumerate(segments):
        if path != f"log/{position:06d}.jsonl":
            raise Damage(f"log/{position:06d}.jsonl is missing")
        for number, line in enumerate((aside / path).read_bytes().splitlines(), 1):
            events += 1
            place = f"{path}, line {number}"
            try:
                sequence = decode(line, place)["sequence"]
            except EmotionOmniError:
                raise Damage(f"the checksum of {place}, does not fit") from None
            if sequence != events:
                raise Damage(f"{place}, is not event {events}")
    return events
