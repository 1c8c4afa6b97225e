"""Everything that can be wrong with the files of a checkpoint → one :class:`EmotionOmniError` (code ``checkpoint``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from emotion_omni.types import EmotionOmniError


def broken(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "checkpoint")


@contextmanager
def as_checkpoint_error(what: str = "") -> Iterator[None]:
    """``what``: the file being read. RecursionError comes from deeply nested brackets."""
    start = f"{what}: " if what else ""
    try:
        yield
    except EmotionOmniError as error:
        raise broken(f"{start}{str(error)[:500]}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise broken(
            f"{start}it makes no sense ({type(error).__name__}: {str(error)[:200]}). Save or fetch it again."
        ) from error
