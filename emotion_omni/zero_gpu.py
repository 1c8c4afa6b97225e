"""ZeroGPU, the Spaces of Hugging Face where a GPU is lent for one call at a time. Elsewhere nothing here does anything.

A call on loan runs in a forked process. Only what lay on ``cuda`` when the page was launched is carried over, moved
there by the thread that also launches it; threads of the parent do not live on in the child. So an engine for such a
Space is loaded in the main thread before the launch, and :func:`lent` wraps that part of a turn which wants the GPU.
Knows no engine; imports torch and ``spaces`` only where a GPU is lent.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from emotion_omni.types import EmotionOmniError

SECONDS = 45  # of a loan: a visitor with less quota left is turned away; unused time is not charged


def on_loan() -> bool:
    """Whether this is a ZeroGPU Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def begin() -> None:
    """Call it first on a ZeroGPU Space, in the main thread: before the first look at CUDA and before any model is loaded."""
    if not on_loan():
        return
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = (
        "1"  # transformers' loading threads would not see the GPU that is only announced
    )
    import spaces
    import torch

    torch.set_num_threads(1)  # helper threads would not survive the fork, and be waited for
    spaces.GPU(_nothing)  # such a Space must have a function that wants a GPU, though its engine may want none


def _nothing() -> None:
    pass


def lent(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A generator function, run with a GPU on loan where one is lent; else as it is.

    Between processes a raised error would lose its words, so an :class:`EmotionOmniError` crosses as the last item.
    """
    if not on_loan():
        return task
    import spaces

    @functools.wraps(task)
    def carried(*given: Any) -> Iterator[Any]:
        try:
            yield from task(*given)
        except EmotionOmniError as error:
            yield error

    borrowed = spaces.GPU(duration=SECONDS)(carried)

    @functools.wraps(task)
    def raised(*given: Any) -> Iterator[Any]:
        with closing(borrowed(*given)) as items:
            for item in items:
                if isinstance(item, EmotionOmniError):
                    raise item
                yield item

    return raised
