"""How work that takes long reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # (done, wanted, what is being done)


def no_progress(done: int, wanted: int, what: str) -> None:
    """For callers that show no progress."""
