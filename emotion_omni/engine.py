"""One interface, whole engines behind it: what a screen, a test or a benchmark may know of a model.

The contract, checked for every engine by ``tests/test_contract.py``:

- events come in the order Heard, Plan, then Text and Speech in any order, then one Done;
- speech is finite mono float32 in [-1, 1] at ``hz``; the text is not empty at the end;
- probabilities sum to 1, times rise, the same turn with the same seed gives the same bytes;
- what cannot be answered (silence, noise, too short, too long) raises ``EmotionOmniError`` before
  the first event, and the next turn works;
- closing the iterator stops the work and frees its state (this is barge-in); turns never leak into
  each other: an engine keeps nothing between calls, the conversation travels inside the turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from emotion_omni.types import Audio, EmotionOmniError, Event, Turn


@runtime_checkable
class Engine(Protocol):
    """Answers one spoken turn."""

    name: str  # shown in the model menu and stored with every rating
    hz: int  # sample rate of the speech it yields

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]: ...


@runtime_checkable
class Reader(Protocol):
    """An engine that can also speak words it is given."""

    hz: int

    def speak(self, text: str, emotion: str) -> Iterator[Audio]: ...


NAMES = ("embedded", "fake")


def load(name: str = "embedded") -> Engine:
    """A ready engine by name. The embedded one fetches its weights once (about 440 MB)."""
    if name == "embedded":
        from emotion_omni.embedded.engine import EmbeddedEngine

        return EmbeddedEngine.load()
    if name == "fake":
        from emotion_omni.fake import FakeEngine

        return FakeEngine()
    raise EmotionOmniError(f"No engine is called {name!r}. Choose one of: {', '.join(NAMES)}.", "unknown-engine")
