"""How ratings are learned from: every setting, with its default for each method. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from emotion_omni.strict import Strict, refuse
from emotion_omni.train.settings import setting


@dataclass(frozen=True)
class FeedbackSettings(Strict):
    """Where a default is 0, it is that of the method (:data:`DEFAULTS`)."""

    learning_rate: float = setting(0.0, "peak learning rate; 0: that of the method")
    max_steps: int = setting(0, "steps; 0: those of the method")
    batch_size: int = setting(0, "rows of a step; 0: that of the method")
    anchor: float = setting(-1.0, "how strongly the child is held to its parent; negative: that of the method")
    beta: float = setting(0.1, "of dpo and kto: how far the answers' odds may leave the parent's, inversely")
    offset: float = setting(0.25, "of reward and dpo: share of the margin that the better answer must win by")
    words_weight: float = setting(0.1, "of dpo: weight of the plain loss of the better answer")
    validation_ratio: float = setting(0.2, "share of the items whose ratings only judge the result")
    eval_steps: int = setting(0, "steps between two validations; 0: a tenth of the run")
    seed: int = setting(0, "of order and dropout")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("beta", "validation_ratio")
        self._share("validation_ratio", "offset", "words_weight")
        for name in ("learning_rate", "max_steps", "batch_size", "eval_steps"):
            self._require(getattr(self, name) >= 0, name, "0 or more")

    def of(self, method: str) -> FeedbackSettings:
        """With the method's own values where none were given."""
        given = {name: value for name, value in DEFAULTS[method].items() if getattr(self, name) in (0, 0.0, -1.0)}
        found = dataclasses.replace(self, **given)
        if not found.eval_steps:
            found = dataclasses.replace(found, eval_steps=max(1, found.max_steps // 10))
        return found


DEFAULTS: dict[str, dict[str, Any]] = {
    "reward": {"learning_rate": 2e-2, "max_steps": 100, "batch_size": 64, "anchor": 6.0},
    "recognizer": {"learning_rate": 2e-3, "max_steps": 200, "batch_size": 256, "anchor": 1.0},
    "dpo": {"learning_rate": 2e-4, "max_steps": 60, "batch_size": 8, "anchor": 0.0},
    "kto": {"learning_rate": 2e-4, "max_steps": 60, "batch_size": 8, "anchor": 0.0},
    "sft": {"learning_rate": 2e-4, "max_steps": 60, "batch_size": 8, "anchor": 0.5},
}


def of_method(settings: FeedbackSettings, method: str) -> FeedbackSettings:
    if method not in DEFAULTS:
        raise refuse(f"No method is called {method!r}. Choose one of: {', '.join(DEFAULTS)}.")
    return settings.of(method)
