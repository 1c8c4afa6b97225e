"""ZeroGPU: Spaces of Hugging Face where a GPU is lent for one call at a time. Elsewhere nothing here has any effect.

A call on loan runs in a forked process. Only what was on ``cuda`` when the page was launched is carried over, moved
there by the thread that also launches it; threads of the parent do not exist in the child. So an engine for such a
Space is loaded in the main thread before the launch, and :func:`lent` wraps the part of a turn that needs the GPU.
Knows no engine; imports torch and ``spaces`` only where a GPU is lent.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from emotion_omni.types import EmotionOmniError

Task = Callable[..., Generator[Any, None, None]]
SECONDS = 45  # of a loan: a visitor with less quota left is refused; unused time is not charged


def on_loan() -> bool:
    """Whether this is a ZeroGPU Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def begin() -> None:
    """Must run first on a ZeroGPU Space, in the main thread: before any use of CUDA and before any model is loaded."""
    if not on_loan():
        return
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # loading threads would not see a GPU that is only announced
    import spaces
    import torch

    torch.set_num_threads(1)  # helper threads do not survive the fork, and would be waited for
    spaces.GPU(_nothing)  # such a Space must have a function that uses a GPU, even if its engine uses none


def _nothing() -> None:
    pass


def lent(task: Task) -> Task:
    """A generator function, run with a GPU on loan where one is lent; elsewhere unchanged.

    An error raised between processes would lose its message, so an :class:`EmotionOmniError` crosses as the last item.
    """
    if not on_loan():
        return task
    import spaces

    @functools.wraps(task)
    def carried(*arguments: Any) -> Generator[Any, None, None]:
        try:
            yield from task(*arguments)
        except EmotionOmniError as error:
            yield error

    borrowed = spaces.GPU(duration=SECONDS)(carried)

    @functools.wraps(task)
    def raised(*arguments: Any) -> Generator[Any, None, None]:
        with closing(borrowed(*arguments)) as items:
            for item in items:
                if isinstance(item, EmotionOmniError):
                    raise item
                yield item

    return raised
