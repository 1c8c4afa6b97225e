"""Where dialogues are finished: processes of this machine. :mod:`emotion_omni.data.ray_pool` is the same on a cluster.

A worker that dies takes the dialogues in hand with it. Each of them is tried again, alone in a process; one that kills
that too is quarantined, and only that one, so a poisonous dialogue stops nothing and costs no other.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from emotion_omni.data import worker
from emotion_omni.data.plan import CorpusPlan
from emotion_omni.data.worker import Finished, Task, rows_of
from emotion_omni.types import EmotionOmniError

AHEAD = 2  # dialogues that wait for each worker: more would only be more to repeat after a kill


class Pool(Protocol):
    """``room``: whether another task may be given; back-pressure for the writing."""

    workers: int

    @property
    def has_room(self) -> bool: ...

    @property
    def in_hand(self) -> int: ...

    def give(self, task: Task) -> None: ...

    def take(self, seconds: float) -> Iterator[Finished]:
        """What is finished by now; waits so long for the first one."""

    def close(self) -> None: ...


class LocalPool:
    """``start``: what each process does first."""

    start = staticmethod(worker.start)

    def __init__(self, plan: CorpusPlan, workers: int, threads: int = 1) -> None:
        self.workers, self._plan, self._threads = workers, plan, threads
        self._tasks: dict[Future[Finished], Task] = {}
        self._pool = self._new(workers)

    def _new(self, workers: int) -> ProcessPoolExecutor:
        """Spawned, not forked: a fork would copy the locks of threads that it does not copy."""
        return ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), self.start, (self._plan, self._threads)
        )

    @property
    def in_hand(self) -> int:
        return len(self._tasks)

    @property
    def has_room(self) -> bool:
        return self.in_hand < self.workers * (1 + AHEAD)

    def give(self, task: Task) -> None:
        try:
            self._tasks[self._pool.submit(worker.finish, task)] = task
        except BrokenProcessPool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._new(self.workers)
            self._tasks[self._pool.submit(worker.finish, task)] = task

    def take(self, seconds: float) -> Iterator[Finished]:
        done, _ = wait(self._tasks, seconds, FIRST_COMPLETED)
        for future in done:
            task = self._tasks.pop(future)
            try:
                found = future.result()
            except BrokenProcessPool:
                yield self._alone(task)
            except EmotionOmniError:
                raise  # weights are missing: it would be so for every dialogue
            except Exception as error:  # a fault of ours must not cost the other dialogues
                yield quarantined(task, self._plan, f"{type(error).__name__}: {error}")
            else:
                yield found

    def _alone(self, task: Task) -> Finished:
        with self._new(1) as pool:
            try:
                return pool.submit(worker.finish, task).result()
            except BrokenProcessPool:
                return quarantined(task, self._plan, "its worker died twice")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            process.terminate()


def quarantined(task: Task, plan: CorpusPlan, why: str) -> Finished:
    """A dialogue that failed for a reason of ours: kept apart by its reason, and the run goes on."""
    return Finished(task.scenario.index, rows_of(task.scenario, task.dialogue, plan), {}, [f"quarantined: {why}"])
