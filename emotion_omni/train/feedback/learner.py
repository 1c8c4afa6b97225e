"""What every method of learning from ratings is: a module whose parameters learn, and how it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emotion_omni.train.feedback.settings import FeedbackSettings


@dataclass(frozen=True)
class Estimate:
    """Roughly, on two virtual cores: what a run takes."""

    seconds: float
    megabytes: float


class Learner(ABC):
    """``module``: holds the trained parameters. ``steps``: how many a run has. What is random about a step depends on
    the seed and the step's number alone, so that a resumed run is the same run."""

    module: nn.Module
    steps: int
    learning_rate: float
    weight_decay = 0.0

    @abstractmethod
    def losses(self, step: int) -> dict[str, Tensor]:
        """Of one step, scalars by name; ``loss`` is to fall."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """On ratings of items that nothing is learned from; ``loss`` is the lower the better."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the trained part under the name that the engine ``embedded:FOLDER`` knows."""

    def is_better(self, first: dict[str, float], best: dict[str, float]) -> bool:
        """Whether the ratings show that the best state is better than the parent; else the child is its parent.

        ``first``, ``best``: what :meth:`evaluate` said of both."""
        return best["loss"] < first["loss"]

    @abstractmethod
    def reset(self) -> None:
        """Make the module the parent's again."""

    def details(self) -> dict[str, Any]:
        """What else a report should hold, of the module as it is."""
        return {}

    def parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)


def generator_of(settings: FeedbackSettings, step: int) -> torch.Generator:
    """Of one step."""
    return torch.Generator().manual_seed(settings.seed * 1_000_003 + step)


def chosen_rows(count: int, settings: FeedbackSettings, step: int) -> list[int]:
    """Which of ``count`` rows a step learns from: each once an epoch, in another order every time."""
    size = min(settings.batch_size, count)
    each = -(-count // size)  # steps an epoch
    order = torch.randperm(count, generator=generator_of(settings, -1 - step // each)).tolist()
    place = step % each * size
    return order[place : place + size]
