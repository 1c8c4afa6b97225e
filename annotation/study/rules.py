"""The rules of a study: raters per item, blocks, checks, access, language. Defined once, refuses unknown settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from annotation.study.templates import TEMPLATES, Template
from annotation.study.translate import languages
from emotion_omni import json_lines
from emotion_omni.types import EmotionOmniError

LONGEST_TITLE = 120  # characters
STATES = ("open", "paused", "closed")


@dataclass(frozen=True)
class Study:
    """The rules of a study, as in ``study.yaml``. Refuses values that are not allowed, and unknown settings."""

    title: str
    template: str
    ratings_per_item: int = 5  # k: so many different raters rate each item
    block_size: int = 10  # ordinary items
    traps_per_block: int = 1
    gold_per_block: int = 1
    repeats_per_block: int = 1
    block_minutes: float = 30.0  # then a break is proposed
    break_seconds: int = 30  # after a block, at least
    lease_minutes: float = 15.0  # for which an item is kept for the rater who has it
    guess_hidden_share: float = 0.3  # of the items that have a model's guess, from 0 to 1
    training_right: int = 2  # right answers in one round; 0: no training
    order: str = "balanced"  # or "disagreement": items that divide the raters come first
    most_per_rater: int = 0  # ratings; 0: no limit
    least_per_rater: int = 1  # ratings for a completion code; a rater with fewer waits for items that others hold
    access: str = "open"  # or "invited": only raters with a link or an account of this study
    cohorts: tuple[str, ...] = ()  # raters of these cohorts only; empty: all
    split: str = "evaluation"  # or "training": only then may items enter a training file
    language: str = "en"
    instructions: tuple[str, ...] = ()
    consent: tuple[str, ...] = ()
    licence: str = "not stated"
    modes: tuple[str, ...] = ()  # of answers: "words" are read, "voice" is heard; empty: heard
    takes_turns: bool = False  # whether visitors may add turns of their own from the Talk tab

    def __post_init__(self) -> None:
        _require(isinstance(self.title, str), "title", self.title, "a text; put it in quotation marks")
        good = 0 < len(self.title.strip()) <= LONGEST_TITLE
        _require(good, "title", self.title, f"1 to {LONGEST_TITLE} characters")
        _require(isinstance(self.licence, str) and bool(self.licence.strip()), "licence", self.licence, "a text")
        _require(isinstance(self.takes_turns, bool), "takes_turns", self.takes_turns, "true or false")
        _one_of("template", self.template, tuple(TEMPLATES))
        _one_of("order", self.order, ("balanced", "disagreement"))
        _one_of("access", self.access, ("open", "invited"))
        _one_of("split", self.split, ("evaluation", "training"))
        _one_of("language", self.language, languages())
        for name, low, high in _RANGES:
            _check_number(name, getattr(self, name), low, high)
        for name in ("cohorts", "instructions", "consent", "modes"):
            texts = getattr(self, name)
            good = isinstance(texts, tuple) and all(isinstance(text, str) for text in texts)
            _require(good, name, texts, "a list of texts")
        allowed = ("words", "voice") if "query" in self.form.clips else ()
        what = f"none, or of {', '.join(allowed)}" if allowed else "left out: this template has its own"
        _require(set(self.modes) <= set(allowed), "modes", list(self.modes), what)

    @property
    def form(self) -> Template:
        return TEMPLATES[self.template]

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Study:
        """From a mapping, as YAML or a form gives it. An unknown key is refused, with the nearest known one."""
        known = {field.name for field in fields(cls)}
        unknown = [key for key in settings if key not in known]
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]), known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(known))}."
            raise EmotionOmniError(f"A study has no setting {str(unknown[0])[:60]!r}.{hint}", "unknown-setting")
        for key in ("title", "template"):
            if not settings.get(key):
                raise EmotionOmniError(f"A study needs a {key}.", "missing-setting")
        settings = _repaired(settings)
        lists = {key: tuple(value) for key, value in settings.items() if isinstance(value, list)}
        return cls(**dict(settings) | lists)

    @classmethod
    def check_setting(cls, name: str, value: Any) -> None:
        """Refuse one setting of a file. :meth:`read` repairs what old studies hold; new ones have to be right."""
        if value is None:
            raise EmotionOmniError(f"{name} is empty. Give it a value, or leave the line out.", "bad-setting")
        if fault := json_lines.fault_in(value):
            raise EmotionOmniError(f"{name}: {fault}", "bad-setting")
        if name == "takes_turns":
            _require(isinstance(value, bool), name, value, "true or false, without quotation marks")
        if name == "licence":
            _require(isinstance(value, str) and bool(value.strip()), name, value, "a text")
        cls.read({"title": "t", "template": "empathy"} | {name: value})

    def settings(self) -> dict[str, Any]:
        """As a mapping that JSON can hold; :meth:`read` reads it back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _repaired(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as studies were once stored: empty ones are left out, and a text stands for true or false."""
    given = {name: value for name, value in settings.items() if value is not None}
    if "licence" in given:
        given["licence"] = str(given["licence"]).strip() or "not stated"
    if "takes_turns" in given:
        value = given["takes_turns"]
        given["takes_turns"] = _TRUTHS.get(value.strip().lower(), True) if isinstance(value, str) else bool(value)
    return given


_TRUTHS = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
    "": False,
}
_RANGES = (
    ("ratings_per_item", 1, 1000),
    ("block_size", 1, 200),
    ("traps_per_block", 0, 10),
    ("gold_per_block", 0, 10),
    ("repeats_per_block", 0, 10),
    ("block_minutes", 1, 240),
    ("break_seconds", 0, 3600),
    ("lease_minutes", 0.01, 240),
    ("guess_hidden_share", 0, 1),
    ("training_right", 0, 10),
    ("most_per_rater", 0, 1_000_000),
    ("least_per_rater", 1, 1_000_000),
)
_FRACTIONS_ALLOWED = ("block_minutes", "lease_minutes", "guess_hidden_share")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int) or (name in _FRACTIONS_ALLOWED and isinstance(value, float))
    good = is_number and not isinstance(value, bool) and low <= value <= high
    _require(good, name, value, f"a number from {low} to {high}")


def _require(good: bool, name: str, value: Any, allowed: str) -> None:
    if not good:
        raise EmotionOmniError(f"{name} = {str(value)[:60]!r} is not allowed: it must be {allowed}.", "bad-setting")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, name, value, f"one of {', '.join(allowed)}")
