"""Samples of unequal length in one batch: the mask of their valid rows, and the mean over those.

The valid rows of a sample come first, its padding after them; padding may hold any value, NaN included.

Axes: B batch, T rows (frames, positions or tokens), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """lengths [B] → mask [B, ``size``], true on valid rows."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def masked_mean(values: Tensor, lengths: Tensor) -> Tensor:
    """values [B, T, D], lengths [B] → the mean over each sample's valid rows [B, D]."""
    kept = values.masked_fill(~length_mask(lengths, values.shape[1])[..., None], 0)
    return kept.sum(1) / lengths.clamp_min(1)[:, None].to(values.dtype)
