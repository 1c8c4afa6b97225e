"""One interface, whole engines behind it: all that a screen, a test or a benchmark knows of a model.

The contract, checked for every engine by ``tests/engine_contract.py``:

- events come in the order Heard, Plan, then Text and Speech in any order, then one Done;
- speech is finite mono float32 in [-1, 1] at ``hz``; the text is not empty at the end;
- probabilities sum to 1, times rise, the same turn with the same seed gives the same bytes;
- what cannot be answered (silence, noise, too short, too long) raises ``EmotionOmniError`` before
  the first event, and the next turn works;
- closing the iterator stops the work and frees its state (this is barge-in); turns never leak into
  each other: an engine keeps nothing between calls, the conversation travels in the turn.

Names of engines, the same for the command line, the page, ``produce`` and stored ratings::

    embedded              embedded:CHECKPOINT    (a promoted name, or a folder with weights of single parts)
    embedded-small        (with a language model of 135 million parameters)
    hub                   hub:light
    cascade               cascade:FILE           (a YAML or JSON file that chooses the parts)
    llm                   llm:MODEL              (of the server that EMOTION_OMNI_LLM_URL names)
    omni                  omni:CHECKPOINT        (a folder, a listed name or a hub id)
    fake
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from emotion_omni import zero_gpu
from emotion_omni.strict import nearest
from emotion_omni.types import Audio, Delivery, EmotionOmniError, Event, Turn


@runtime_checkable
class Engine(Protocol):
    """Answers one spoken turn."""

    name: str  # shown in the model menu and stored with every rating
    hz: int  # sample rate of the speech it yields

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]: ...


@runtime_checkable
class SpeaksText(Protocol):
    """An engine that also speaks given words. ``voices``: those that a delivery may name, the menu of a page."""

    hz: int
    voices: tuple[str, ...]

    def speak(self, text: str, delivery: Delivery) -> Iterator[Audio]: ...


NAMES = ("embedded", "embedded-small", "hub", "cascade", "llm", "omni", "fake")
GRAMMAR = (
    "embedded, embedded:CHECKPOINT, embedded-small, hub, hub:light, cascade:FILE, llm:MODEL, omni:CHECKPOINT or fake"
)
CHECKPOINT = "EMOTION_OMNI_CHECKPOINT"  # environment: of "omni" without one, which is then the default engine
CASCADE = "EMOTION_OMNI_CASCADE"  # environment: file or preset of "cascade", which is then the default engine
HUB = "EMOTION_OMNI_HUB"  # environment, of the last release: the models of "hub", which is then the default engine
LLM_URL = "EMOTION_OMNI_LLM_URL"  # environment: server of "llm", which with a model is then the default engine
LLM_MODEL = "EMOTION_OMNI_LLM_MODEL"  # environment: model of "llm" without one
STAND_INS = {"embedded": "embedded-small"}  # what answers until large weights are prepared
_NO_SOURCE = {"fake": (), "embedded-small": (), "hub": ("light",)}  # what may follow the colon, where it is not free

_sources: dict[str, str] = {}  # public name → path, of engines named by a path in this process


@dataclass(frozen=True)
class EngineName:
    """``source``: the checkpoint, file or preset after the colon; empty for the default one."""

    kind: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.source}" if self.source else self.kind

    @property
    def public(self) -> str:
        """Without the folders of a path, which other people need not see."""
        if self.kind == "cascade" and self.source:
            return f"{self.kind}:{Path(self.source).stem}"
        is_path = self.source and (self.kind == "embedded" or Path(self.source).exists())
        return f"{self.kind}:{Path(self.source).resolve().name}" if is_path else str(self)


def parse(name: str, checkpoint: str | None = None) -> EngineName:
    """A name of the grammar, or a public name that :func:`public` gave. ``checkpoint``: instead of one in the name.

    Raises :class:`EmotionOmniError` (codes ``unknown-engine``, ``checkpoint``).
    """
    kind, colon, source = _sources.get(name, name).partition(":")
    if kind not in NAMES or (colon and not source):
        hint = nearest(kind, NAMES) if kind not in NAMES else ""
        raise EmotionOmniError(f"No engine is called {name!r}. Choose one of: {GRAMMAR}.{hint}", "unknown-engine")
    if checkpoint and (source or kind not in ("omni", "embedded")):
        raise EmotionOmniError(
            f"The engine {name!r} takes no other checkpoint. Leave it out, or choose the engine omni or embedded.",
            "checkpoint",
        )
    if source and kind in _NO_SOURCE and source not in _NO_SOURCE[kind]:
        raise EmotionOmniError(f"No engine is called {name!r}. Choose one of: {GRAMMAR}.", "unknown-engine")
    return EngineName(kind, source or checkpoint or "")


def public(name: str) -> str:
    """The name under which menus and ratings show an engine; :func:`load` accepts it in this process, too."""
    parsed = parse(name)
    if parsed.public != str(parsed):
        _sources[parsed.public] = str(parsed)
    return parsed.public


def load(name: str = "embedded", checkpoint: str | None = None) -> Engine:
    """A ready engine by name. The embedded one fetches its weights once (about 1.6 GB).

    ``omni`` needs a checkpoint and ``cascade`` a file: here, in the name or in the environment. Raises
    :class:`EmotionOmniError` (codes ``unknown-engine``, ``checkpoint`` and those of the engine).
    """
    parsed = parse(name, checkpoint)
    if parsed.kind == "fake":
        from emotion_omni.fake import FakeEngine

        return FakeEngine()
    return _omni(parsed.source) if parsed.kind == "omni" else _cascade(parsed)


def default() -> str:
    """The engine to begin with: what the environment names, else ``embedded``. Never a path."""
    if checkpoint := os.environ.get(CHECKPOINT):
        return "omni" if Path(checkpoint).exists() else f"omni:{checkpoint}"
    if cascade := os.environ.get(CASCADE):
        return cascade if cascade.partition(":")[0] in ("embedded", "hub") else "cascade"
    return "hub" if os.environ.get(HUB) else _llm() or "embedded"


def _llm() -> str:
    """The engine of the language model server that the environment names, empty if it names none."""
    model = os.environ.get(LLM_MODEL, "")
    if not (model and os.environ.get(LLM_URL)):
        return ""
    return "llm" if Path(model).exists() else f"llm:{model}"


def stand_in(name: str) -> str:
    """A smaller engine that can answer until the large weights of this one are prepared; empty where none is needed."""
    if name not in STAND_INS:
        return ""
    from emotion_omni.response.qwen2_responder import is_prepared

    return "" if is_prepared() else STAND_INS[name]


def offered() -> list[str]:
    """What a menu can offer here: every engine that has what it needs, each checkpoint by its own name."""
    from emotion_omni import checkpoint
    from emotion_omni.checkpoint import promotion

    names = [default(), *filter(None, [_llm()]), "embedded", "embedded-small"]
    names += [f"embedded:{one.name}" for one in promotion.listed()]
    if not zero_gpu.on_loan():  # there only the engine that the page began with can use the GPU
        names += [f"omni:{one.name}" for one in checkpoint.listed()]
        names += ["hub"] if shutil.which("nvidia-smi") else []  # torch would be more exact, and takes seconds to ask
    return list(dict.fromkeys([*names, "fake"]))


def version(name: str) -> str:
    """What a promoted name means now; empty for other engines. A page loads an engine again when it changes."""
    from emotion_omni.checkpoint import promotion

    parsed = parse(name)
    found = promotion.find(parsed.source) if parsed.kind == "embedded" and parsed.source else None
    return found[0] if found else ""


def rated_as(name: str, loaded: Engine) -> str:
    """What a rating keeps of an engine from a menu: its name, with the version that a promoted name means now, or the
    name of the one that stands in for it."""
    return loaded.name if loaded.name.startswith(f"{name}@") or loaded.name == STAND_INS.get(name) else name


def offered_voices() -> list[tuple[str, str]]:
    """(label, name) of the voices that a menu shows; an engine's ``voices`` may hold more. "" is the engine's own."""
    from emotion_omni.synthesis.config import VOICE_MENU

    return [("The engine's own", ""), *((label, name) for name, label in VOICE_MENU.items())]


def _omni(source: str) -> Engine:
    source = source or os.environ.get(CHECKPOINT, "")
    if not source:
        from emotion_omni import checkpoint

        ours = ", ".join(one.name for one in checkpoint.listed())
        here = f"Here there are: {ours}." if ours else "There is none here yet: python -m emotion_omni train makes one."
        raise EmotionOmniError(
            f"The engine omni needs a checkpoint: --checkpoint, or {CHECKPOINT}, with a folder or a hub id such as "
            f"user/repo. {here}",
            "checkpoint",
        )
    from emotion_omni.omni.engine import OmniEngine

    return OmniEngine.load(source)


def _cascade(name: EngineName) -> Engine:
    from emotion_omni.cascade.engine import CascadeEngine
    from emotion_omni.cascade.resolve import resolve

    shown, config = resolve(name.kind, name.source)
    return CascadeEngine.load(config, shown)
