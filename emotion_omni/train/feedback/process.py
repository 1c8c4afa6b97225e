"""Runs in processes of their own, for a page: start, look, cancel, resume, remove. Imports no torch.

Everything is on disk, under ``runs`` in the home folder: a page that is closed, or an app that is started again, finds
every run as it is. A process has one thread a network and the lowest priority, so that people who rate do not wait.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from emotion_omni.home import home_folder
from emotion_omni.train.feedback import status
from emotion_omni.train.feedback.settings import FeedbackSettings
from emotion_omni.train.feedback.status import Status
from emotion_omni.types import EmotionOmniError

DEFAULT = FeedbackSettings()
OUTPUT = "output.txt"  # of the process: what it said, and a fault that nobody foresaw
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}


def home() -> Path:
    return home_folder() / "runs"


def listed() -> list[tuple[str, Status]]:
    """Name and state of every run, the newest first."""
    found = []
    for folder in home().iterdir() if home().is_dir() else ():
        if (folder / status.STATUS).is_file():
            found.append((folder.name, status.read(folder)))
    return sorted(found, key=lambda one: -one[1].started)


def folder_of(name: str) -> Path:
    """Raises :class:`EmotionOmniError` (code ``bad-name``) for what is no plain name."""
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name.startswith("."):
        raise EmotionOmniError(f"{name[:40]!r} cannot name a run. Use letters, digits, '-', '_' and '.'.", "bad-name")
    return home() / name


def start(
    name: str,
    ratings: str | Path,
    parent: str,
    method: str,
    settings: FeedbackSettings = DEFAULT,
    also_heard: bool = False,
) -> Status:
    """A new run of this name. What can be refused at once is refused here, as by :func:`run.prepare`.

    Raises :class:`EmotionOmniError`: those of :func:`run.prepare`, ``bad-name``, ``exists``.
    """
    folder = folder_of(name)
    if (folder / status.STATUS).exists():
        raise EmotionOmniError(f"There is a run {name!r} already. Choose another name, or resume it.", "exists")
    request = {"ratings": str(Path(ratings).resolve()), "parent": parent, "method": method, "also_heard": also_heard}
    _check(request, settings)
    folder.mkdir(parents=True, exist_ok=True)
    status.write_json(folder / status.REQUEST, request | {"settings": dataclasses.asdict(settings)})
    return _launch(folder)


def _check(request: dict[str, Any], settings: FeedbackSettings) -> None:
    from emotion_omni.train.feedback import run  # it imports torch

    run.prepare(run.Request(**request), settings)


def resume(name: str) -> Status:
    """Go on with a run that was cancelled, killed or failed.

    Raises :class:`EmotionOmniError` (codes ``no-run``, ``running``, ``exists``).
    """
    folder = folder_of(name)
    found = status.read(folder)
    if found.is_active:
        raise EmotionOmniError(f"The run {name!r} is running already. Wait for it, or cancel it.", "running")
    if found.state == "done":
        raise EmotionOmniError(f"The run {name!r} is done. Start a new one, with it as the parent.", "exists")
    return _launch(folder)


def cancel(name: str) -> Status:
    """Ask a run to stop after its step; it can be resumed. Raises :class:`EmotionOmniError` (code ``no-run``)."""
    folder = folder_of(name)
    found = status.read(folder)
    if found.is_active:
        (folder / status.CANCEL).touch()
    return found


def remove(name: str) -> None:
    """Delete a run that no process works on. Raises :class:`EmotionOmniError` (codes ``no-run``, ``running``)."""
    folder = folder_of(name)
    if status.read(folder).is_active:
        raise EmotionOmniError(f"The run {name!r} is running. Cancel it first.", "running")
    shutil.rmtree(folder)


def report(name: str) -> dict[str, Any] | None:
    """The report of a finished run."""
    found = status.read_json(folder_of(name) / status.REPORT)
    return found if isinstance(found, dict) else None


def command(folder: Path) -> list[str]:
    """What runs, or goes on with, the request of a folder."""
    request = status.read_json(folder / status.REQUEST)
    if not isinstance(request, dict):
        raise EmotionOmniError(f"The run {folder.name!r} has lost its request. Start a new one.", "no-run")
    words = [
        sys.executable,
        "-m",
        "emotion_omni",
        "train",
        "feedback",
        "--out",
        str(folder),
        "--resume",
        "--background",
    ]
    for name in ("ratings", "parent", "method"):
        words += [f"--{name}", str(request[name])]
    words += ["--also-heard"] if request.get("also_heard") else []
    for name, value in request["settings"].items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _launch(folder: Path) -> Status:
    words = command(folder)
    (folder / status.CANCEL).unlink(missing_ok=True)
    now = time.time()
    method = words[words.index("--method") + 1]
    status.put(folder, Status("starting", "starting", method, started=now))
    with (folder / OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | ENVIRONMENT,
            cwd=Path(__file__).parents[3],
            start_new_session=True,  # it outlives the app
        )
    _children[:] = [one for one in _children if one.poll() is None] + [process]
    return status.read(folder)


_children: list[subprocess.Popen] = []  # of this process; those that have ended are collected when another starts
