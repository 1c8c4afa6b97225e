"""Small corpora for tests: rehearsed with tones, in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emotion_omni.data import worker
from emotion_omni.data.build import build
from emotion_omni.data.plan import CorpusPlan, Filters, Speech
from emotion_omni.data.pools import LocalPool
from emotion_omni.data.shards import Corpus
from emotion_omni.data.worker import Finished, Task, Worker

REHEARSAL = {"speech": Speech(synthesizer="fake"), "filters": Filters(recognizer="none")}


def small_plan(**settings: Any) -> CorpusPlan:
    return CorpusPlan(**{"dialogues": 24, "shard": 10, "name": "small"} | REHEARSAL | settings)


class InlinePool:
    """A pool that works in this process. ``dies_after``: as a kill would, with what is in hand lost."""

    workers = 1

    def __init__(self, plan: CorpusPlan, dies_after: int = 0) -> None:
        self._worker, self._waiting, self._dies_after = Worker(plan), [], dies_after
        self.given: list[int] = []

    @property
    def in_hand(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        return self.in_hand < 3

    def give(self, task: Task) -> None:
        self.given.append(task.scenario.index)
        if len(self.given) == self._dies_after:
            raise KeyboardInterrupt
        self._waiting.append(task)

    def take(self, seconds: float) -> Iterator[Finished]:
        if self._waiting and (seconds or not self.has_room):
            yield self._worker.finish(self._waiting.pop())  # the last first: order must not matter

    def close(self) -> None:
        self._waiting.clear()


def start_poisoned(plan: CorpusPlan, threads: int) -> None:
    """A worker that dialogue 3 kills."""
    worker.start(plan, threads)
    finish = Worker.finish

    def die_or_finish(self: Worker, task: Task) -> Finished:
        if task.scenario.index == 3:
            os._exit(9)
        return finish(self, task)

    Worker.finish = die_or_finish


class PoisonedPool(LocalPool):
    start = staticmethod(start_poisoned)


def built(plan: CorpusPlan, folder: Path) -> Corpus:
    return build(plan, folder, lambda: InlinePool(plan), lambda line: None)[0]


def contents(folder: Path) -> dict[str, bytes]:
    """All files that belong to a corpus, by name; not what is cached or timed."""
    own = ("data", "rejected", "ledger")
    paths = [path for name in own for path in (folder / name).iterdir()]
    paths += [folder / name for name in ("plan.json", "manifest.json", "README.md") if (folder / name).exists()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
