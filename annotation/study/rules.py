"""The rules of a study: raters per item, blocks, checks, access, language. Defined once, refuses unknown settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from annotation.study.templates import TEMPLATES, Template
from annotation.study.translate import languages
from emotion_omni.types import EmotionOmniError

STATES = ("open", "paused", "closed")


@dataclass(frozen=True)
class Study:
    """The rules of a study. Times are minutes; shares lie in [0, 1]. Refuses what it does not know."""

    title: str
    template: str
    ratings_per_item: int = 5
    block_size: int = 10
    traps_per_block: int = 1
    gold_per_block: int = 1
    repeats_per_block: int = 1
    block_minutes: float = 30.0
    lease_minutes: float = 15.0
    guess_hidden_share: float = 0.3
    training_right: int = 2
    order: str = "balanced"  # or "disagreement": items that divide the raters come first
    most_per_rater: int = 0  # ratings; 0: no limit
    access: str = "open"  # or "invited": only raters with a link or an account of this study
    cohorts: tuple[str, ...] = ()  # raters of these cohorts only; empty: all
    split: str = "evaluation"  # or "training": only then may items enter a training file
    language: str = "en"
    instructions: tuple[str, ...] = ()
    consent: tuple[str, ...] = ()
    licence: str = "not stated"
    takes_turns: bool = False  # whether visitors may add turns of their own from the Talk tab

    def __post_init__(self) -> None:
        _require(
            isinstance(self.title, str) and 0 < len(self.title.strip()) <= 120,
            "title",
            self.title,
            "1 to 120 characters",
        )
        _one_of("template", self.template, tuple(TEMPLATES))
        _one_of("order", self.order, ("balanced", "disagreement"))
        _one_of("access", self.access, ("open", "invited"))
        _one_of("split", self.split, ("evaluation", "training"))
        _one_of("language", self.language, languages())
        for name, low, high in _RANGES:
            value = getattr(self, name)
            whole = isinstance(value, int) or name in _REAL and isinstance(value, float)
            _require(
                whole and not isinstance(value, bool) and low <= value <= high,
                name,
                value,
                f"a number from {low} to {high}",
            )
        for name in ("cohorts", "instructions", "consent"):
            good = isinstance(getattr(self, name), tuple) and all(isinstance(one, str) for one in getattr(self, name))
            _require(good, name, getattr(self, name), "a list of texts")

    @property
    def form(self) -> Template:
        return TEMPLATES[self.template]

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Study:
        """From a mapping, as YAML or a form gives it. An unknown key is refused, with the nearest known one."""
        known = {one.name for one in fields(cls)}
        for key in settings:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(known))}."
                raise EmotionOmniError(f"A study has no setting {str(key)[:60]!r}.{hint}", "unknown-setting")
        for key in ("title", "template"):
            if not settings.get(key):
                raise EmotionOmniError(f"A study needs a {key}.", "missing-setting")
        lists = {key: tuple(value) for key, value in settings.items() if isinstance(value, list)}
        return cls(**dict(settings) | lists)

    def settings(self) -> dict[str, Any]:
        return {
            one.name: list(value) if isinstance(value := getattr(self, one.name), tuple) else value
            for one in fields(self)
        }


_RANGES = (
    ("ratings_per_item", 1, 1000),
    ("block_size", 1, 200),
    ("traps_per_block", 0, 10),
    ("gold_per_block", 0, 10),
    ("repeats_per_block", 0, 10),
    ("block_minutes", 1, 240),
    ("lease_minutes", 0.01, 240),
    ("guess_hidden_share", 0, 1),
    ("training_right", 0, 10),
    ("most_per_rater", 0, 1_000_000),
)
_REAL = ("block_minutes", "lease_minutes", "guess_hidden_share")


def _require(good: bool, name: str, value: Any, allowed: str) -> None:
    if not good:
        raise EmotionOmniError(f"{name} = {str(value)[:60]!r} is not allowed: it must be {allowed}.", "bad-setting")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, name, value, f"one of {', '.join(allowed)}")
