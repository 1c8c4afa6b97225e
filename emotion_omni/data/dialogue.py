"""A written dialogue: what a person says in which tone, and what is answered in which; its form, checked.

Knows no model and no sound.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from emotion_omni import emotion
from emotion_omni.emotion import NAMES, NEWS
from emotion_omni.train.exchanges import STRATEGIES
from emotion_omni.types import EmotionOmniError

TEXT_WORDS = (1, 60)  # fewest and most
REPLY_WORDS = (3, 60)


@dataclass(frozen=True, slots=True)
class WrittenTurn:
    """``emotion`` and ``intensity`` (1 as designed): how ``text`` is said; ``reply_emotion``: how ``reply`` is."""

    text: str
    emotion: str
    intensity: float
    reply: str
    reply_emotion: str
    strategy: tuple[str, ...] = ()
    news: str = "neutral"


@dataclass(frozen=True, slots=True)
class WrittenDialogue:
    """``source``: what wrote it; ``domain``: what it is about, where that is not the scenario's."""

    turns: tuple[WrittenTurn, ...]
    source: str
    domain: str = ""
    group: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.as_json().encode()).hexdigest()


class NoText(EmotionOmniError):
    """No valid dialogue could be written for a scenario. The dialogue is rejected; the run goes on."""

    def __init__(self, message: str, code: str = "no-text") -> None:
        super().__init__(message, code)


def turn_of(mapping: Any, where: str) -> WrittenTurn:
    """A decoded JSON object → a turn. Raises :class:`NoText` (code ``bad-form``) with what is wrong."""
    if not isinstance(mapping, dict):
        raise _wrong(where, "is no object")
    words = {name: _words(mapping, name, limits, where) for name, limits in LIMITS.items()}
    labels = {name: _label(mapping, name, where) for name in ("emotion", "reply_emotion")}
    strategy = mapping.get("strategy") or []
    strategy = [strategy] if isinstance(strategy, str) else strategy
    if not isinstance(strategy, list) or any(one not in STRATEGIES for one in strategy):
        raise _wrong(where, f"has strategy {strategy!r}; allowed: {', '.join(STRATEGIES)}")
    news = mapping.get("news", "neutral")
    if news not in NEWS:
        raise _wrong(where, f"has news {news!r}; allowed: {', '.join(NEWS)}")
    intensity = mapping.get("intensity", 1.0)
    if isinstance(intensity, bool) or not isinstance(intensity, int | float) or not 0 <= intensity <= 2:
        raise _wrong(where, f"has intensity {intensity!r}; it must be from 0 to 2")
    return WrittenTurn(
        words["text"],
        labels["emotion"],
        float(intensity),
        words["reply"],
        labels["reply_emotion"],
        tuple(strategy),
        news,
    )


LIMITS = {"text": TEXT_WORDS, "reply": REPLY_WORDS}


def _words(mapping: dict[str, Any], name: str, limits: tuple[int, int], where: str) -> str:
    value = mapping.get(name)
    if not isinstance(value, str):
        raise _wrong(where, f"has no {name}")
    value = " ".join(value.split())
    fewest, most = limits
    if not fewest <= len(value.split()) <= most:
        raise _wrong(where, f"has a {name} of {len(value.split())} words; allowed are {fewest} to {most}")
    return value


def _label(mapping: dict[str, Any], name: str, where: str) -> str:
    value = mapping.get(name)
    if not emotion.is_known(value):
        raise _wrong(where, f"has {name} {value!r}; allowed: {', '.join(NAMES)}")
    return emotion.find(str(value)).name


def _wrong(where: str, what: str) -> NoText:
    return NoText(f"{where} {what}.", "bad-form")
