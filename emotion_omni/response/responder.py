"""The protocol of a responder."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol, runtime_checkable

from emotion_omni.types import Exchange, Heard, Plan


@runtime_checkable
class Responder(Protocol):
    """The words of a reply, in pieces that join to it, each yielded while the rest is still being written.

    The first piece is a clause, so that its speech can start early; the pieces are never all blank. Words of people
    never act as control tokens, and self-harm is answered with a fixed reply. The same input with the same seed gives
    the same pieces. Closing the iterator stops the work and frees its state. ``openers``: whether a reply may begin
    with one of :mod:`emotion_omni.response.openers`, as a piece of its own.
    """

    openers: bool

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]: ...
