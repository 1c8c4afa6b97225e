"""The queue in front of the engines: one visitor is answered at a time, and only so many may wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from emotion_omni.types import EmotionOmniError

CAPACITY = 12  # visitors being answered or waiting; the next one is asked to come back


class AnswerQueue:
    """Mutual exclusion with a bounded number of waiters. A full queue is reported at once."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._places, self._served = threading.BoundedSemaphore(capacity), threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for the engines. Raises :class:`EmotionOmniError` (``full``) if too many already wait."""
        if not self._places.acquire(blocking=False):
            raise EmotionOmniError(
                f"Many people are talking to me right now ({self.capacity} are in line). Your recording is kept: "
                "please send it again in a minute.",
                "full",
            )
        try:
            with self._served:
                yield
        finally:
            self._places.release()
