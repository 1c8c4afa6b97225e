"""What stays of the speech that the shipped emotion head was trained on, so that later training can rehearse it.

A user has none of those corpora. A mean for each emotion of each corpus, and the directions in which clips differ
around it, are half a megabyte, hold no recording, and give examples that are like that speech to a linear classifier.
Written by ``python -m emotion_omni train recognizer``; of licensed corpora only.

Axes: N clips, M groups (an emotion of a corpus), F features, K directions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SHIPPED = Path(__file__).with_name("emotion_rehearsal.safetensors")
DIRECTIONS = 48


class Rehearsal:
    """Speech that the shipped head was trained on, as Gaussians: a mean for each emotion of each corpus [M, F] and
    directions that they share [K, F], in its standardized features."""

    def __init__(self, means: Tensor, directions: Tensor, residual: Tensor) -> None:
        self.means, self.directions, self.residual = means, directions, residual

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Rehearsal:
        tensors = {name: value.float() for name, value in load_file(path).items()}
        return cls(tensors["means"], tensors["directions"], tensors["residual"])

    @classmethod
    def of(cls, features: np.ndarray, groups: np.ndarray, directions: int = DIRECTIONS) -> Rehearsal:
        """From features [N, F] and the group of each [N]."""
        names, place = np.unique(groups, return_inverse=True)
        means = np.stack([features[place == group].mean(0) for group in range(len(names))])
        rest = features - means[place]
        _, spread, axes = np.linalg.svd(rest, full_matrices=False)
        scaled = axes[:directions] * spread[:directions, None] / np.sqrt(len(rest) - len(names))
        residual = np.sqrt((rest.var(0) - (scaled**2).sum(0)).clip(0))
        return cls(*(torch.from_numpy(one.astype(np.float32)) for one in (means, scaled, residual)))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Features [count, F]."""
        group = torch.randint(len(self.means), (count,), generator=generator)
        along = torch.randn(count, len(self.directions), generator=generator) @ self.directions
        return self.means[group] + along + torch.randn(count, len(self.residual), generator=generator) * self.residual

    def save(self, path: Path) -> None:
        save_file({name: value.half().contiguous() for name, value in vars(self).items()}, path)
