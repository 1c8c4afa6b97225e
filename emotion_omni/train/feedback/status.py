"""The state of a run on disk, as the page and other processes read it. Imports no torch.

A run's folder holds ``request.json`` (what was asked for), ``status.json`` (where it stands; replaced, never written
into), ``log.jsonl`` (the loss curve), ``state.safetensors`` (what it resumes from), in the end the child's weights and
``report.json``. A running process holds the lock ``.run.lock``: it is let go however the process ends.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock

from emotion_omni.types import EmotionOmniError

REQUEST, STATUS, REPORT, LOG, STATE, CANCEL = (
    "request.json",
    "status.json",
    "report.json",
    "log.jsonl",
    "state.safetensors",
    "cancel",
)
STATES = ("starting", "running", "done", "cancelled", "failed", "interrupted")
RESUMABLE = ("cancelled", "interrupted", "failed")
SECONDS_TO_START = 120.0  # in which a process that was started takes the lock


@dataclass(frozen=True)
class Status:
    """``state``: one of :data:`STATES`; ``interrupted`` is a run whose process has ended without a word.

    ``stage``: what it does in words. ``code``: of the error, where it failed. ``loss`` and ``validation``: the latest.
    Times are seconds since 1970.
    """

    state: str
    stage: str = ""
    method: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    validation: Mapping[str, float] = field(default_factory=dict)
    message: str = ""
    code: str = ""
    pid: int = 0
    started: float = 0.0
    updated: float = 0.0

    @property
    def is_active(self) -> bool:
        return self.state in ("starting", "running")

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; ``None`` before the first steps."""
        if self.state != "running" or not 0 < self.step < self.steps:
            return None
        return (self.updated - self.started) / self.step * (self.steps - self.step)


def write_json(path: Path, value: Any) -> None:
    """Replaced in one step: a reader finds the old content or the new one, whole."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_json(path: Path) -> Any:
    """``None`` where there is no such file, or no JSON in it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def put(folder: Path, status: Status) -> None:
    write_json(folder / STATUS, asdict(replace(status, updated=time.time())))


def read(folder: Path) -> Status:
    """Where a run stands. Raises :class:`EmotionOmniError` (code ``no-run``) if the folder holds none."""
    found = read_json(folder / STATUS)
    if not isinstance(found, dict):
        raise EmotionOmniError(f"{str(folder)!r} holds no run. Start one: train feedback --out FOLDER.", "no-run")
    status = Status(**found)
    if status.is_active and not is_locked(folder):
        fresh = read_json(folder / STATUS)  # it may have ended between the two looks
        status = Status(**fresh) if isinstance(fresh, dict) else status
        if status.state == "starting" and time.time() - status.updated < SECONDS_TO_START:
            return status
        if status.is_active:
            return replace(status, state="interrupted", message="Its process has ended. Resume it.")
    return status


def is_locked(folder: Path) -> bool:
    """Whether a process works on the run."""
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Hold the run's lock. Raises :class:`EmotionOmniError` (code ``running``) where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    try:
        lock.acquire(timeout=5)
    except filelock.Timeout as error:
        raise EmotionOmniError(
            f"The run {folder.name!r} is running already. Wait for it, or cancel it.", "running"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> filelock.FileLock:
    return filelock.FileLock(str(folder / ".run.lock"), is_singleton=False)


def curve(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log that are whole: losses of steps, and validations."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
