"""Samples of unequal length in one batch: which rows are filled, and what the filled ones average to.

A sample's rows come first, its padding after them, and padding may hold anything.

Axes: B batch, T rows (frames, positions or tokens), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def valid(lengths: Tensor, size: int) -> Tensor:
    """lengths [B] → mask [B, ``size``], true where there is something."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def mean_of(values: Tensor, lengths: Tensor) -> Tensor:
    """values [B, T, D], lengths [B] → the mean of each sample's valid rows [B, D]; padding counts for nothing."""
    kept = values.masked_fill(~valid(lengths, values.shape[1])[..., None], 0)
    return kept.sum(1) / lengths.clamp_min(1)[:, None].to(values.dtype)
