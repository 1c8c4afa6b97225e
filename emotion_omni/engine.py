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

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from emotion_omni import zero_gpu
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


NAMES = ("embedded", "hub", "omni", "fake")
CHECKPOINT = "EMOTION_OMNI_CHECKPOINT"  # environment: the checkpoint of an "omni" without one; omni is then the engine to begin with
HUB = "EMOTION_OMNI_HUB"  # environment: the models of "hub"; it is then the engine to begin with


def load(name: str = "embedded", checkpoint: str | None = None) -> Engine:
    """A ready engine by name. The embedded one fetches its weights once (about 440 MB).

    ``omni`` needs a checkpoint: a folder, the name of one of ours or a hub id, given here, as ``omni:CHECKPOINT`` or in
    ``EMOTION_OMNI_CHECKPOINT``. Raises :class:`EmotionOmniError` (codes ``unknown-engine``, ``checkpoint`` and
    those of the engine).
    """
    kind, _, named = name.partition(":")
    if kind not in NAMES or (named and kind != "omni"):
        raise EmotionOmniError(f"No engine is called {name!r}. Choose one of: {', '.join(NAMES)}.", "unknown-engine")
    if checkpoint and (named or kind != "omni"):
        raise EmotionOmniError(
            f"The engine {name!r} takes no other checkpoint. Leave it out, or choose the engine omni.", "checkpoint"
        )
    return _omni(checkpoint or named or os.environ.get(CHECKPOINT, "")) if kind == "omni" else _MAKERS[kind]()


def default() -> str:
    """The engine to begin with: ``omni`` or ``hub`` where the environment says which, else ``embedded``."""
    if named := os.environ.get(CHECKPOINT):
        return (
            "omni" if Path(named).exists() else f"omni:{named}"
        )  # visitors see the name, and where folders lie is not theirs to know
    return "hub" if os.environ.get(HUB) else "embedded"


def offered() -> list[str]:
    """What a menu can offer here: every engine that has what it needs, each checkpoint by its own name."""
    from emotion_omni import checkpoint

    names = [default(), "embedded"]
    if not zero_gpu.on_loan():  # there only the engine that the page began with can use the GPU
        names += [f"omni:{one.name}" for one in checkpoint.listed()]
        names += ["hub"] if shutil.which("nvidia-smi") else []  # torch would know better, and takes seconds to ask
    return list(dict.fromkeys([*names, "fake"]))


def _omni(source: str) -> Engine:
    if not source:
        from emotion_omni import checkpoint

        ours = ", ".join(one.name for one in checkpoint.listed())
        raise EmotionOmniError(
            f"The engine omni needs a checkpoint: --checkpoint, or {CHECKPOINT}, with a folder or a hub id such as user/repo. "
            + (
                f"Here there are: {ours}."
                if ours
                else "Here there are none yet: python -m emotion_omni train makes one."
            ),
            "checkpoint",
        )
    from emotion_omni.omni.engine import OmniEngine

    return OmniEngine.load(source)


def _embedded() -> Engine:
    from emotion_omni.cascade.engine import EmbeddedEngine

    return EmbeddedEngine.load()


def _hub() -> Engine:
    from emotion_omni.cascade.hub_engine import HubEngine

    return HubEngine.load()


def _fake() -> Engine:
    from emotion_omni.fake import FakeEngine

    return FakeEngine()


_MAKERS: dict[str, Callable[[], Engine]] = {"embedded": _embedded, "hub": _hub, "fake": _fake}
