"""Adaptive layer normalization: an emotion vector sets scale and shift (paper, model section).

Initialized as in the authors' code: weight 0, bias 1 for the scale and 0 for the shift.

Axes: B batch, N text tokens, D width, E width of an emotion vector.
Source: FiLM, Perez et al. 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Modulation(nn.Linear):
    """Emotions [B, N, E] → scale and shift, concatenated [B, N, 2 D]. Initially 1 and 0 for every emotion."""

    def __init__(self, emotion_width: int, width: int) -> None:
        super().__init__(emotion_width, 2 * width)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        with torch.no_grad():
            self.bias.copy_(torch.arange(self.out_features) < self.out_features // 2)


class AdaLN(nn.Module):
    """scale(v) · norm(x) + shift(v) for an emotion vector v."""

    def __init__(self, emotion_width: int, width: int) -> None:
        super().__init__()
        self.modulation = Modulation(emotion_width, width)

    def forward(self, x: Tensor, emotion: Tensor) -> Tensor:
        """x [B, N, D], emotion [B, N, E] → [B, N, D]."""
        scale, shift = self.modulation(emotion).chunk(2, -1)
        return F.layer_norm(x, x.shape[-1:]) * scale + shift
