"""The causal Transformer that the emotion head and the speech decoder are both built of.

Rotary attention and SwiGLU in pre-norm blocks, and one key-value cache for replies that grow. Who
sees whom is the caller's mask; knows nothing of text, speech or emotion.

Axes: B batch, R rows, K rows attended to, D width (in attention, of one head), H heads.
Sources: rotary attention, Su et al. 2021; SwiGLU, Shazeer 2020; RMSNorm, Zhang and Sennrich 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6  # of RMSNorm


class Cache:
    """Keys and values of every layer in one buffer, its rows in order of arrival. The only state of attention.

    Rows are claimed once for a step, then each layer writes its own. The buffer doubles when it is full.
    """

    def __init__(self, layers: int, batch: int, heads: int, size: int, like: Tensor, capacity: int = 256) -> None:
        """``size``: of one head. ``like``: a tensor of the wanted device and dtype."""
        self.keys = like.new_zeros(layers, batch, heads, capacity, size)
        self.values = torch.zeros_like(self.keys)
        self.used = 0
        self.at = torch.zeros(0, dtype=torch.long, device=like.device)  # the claimed rows [R]

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def claim(self, rows: int) -> None:
        """Take the next ``rows`` rows for the step to come."""
        while self.used + rows > self.capacity:
            self.keys = torch.cat([self.keys, torch.zeros_like(self.keys)], 3)
            self.values = torch.cat([self.values, torch.zeros_like(self.values)], 3)
        self.at = torch.arange(self.used, self.used + rows, device=self.keys.device)
        self.used += rows

    def extend(self, layer: int, keys: Tensor, values: Tensor, extent: int) -> tuple[Tensor, Tensor]:
        """Write keys and values [B, H, R, D] to the claimed rows → the first ``extent`` rows of both."""
        self.keys[layer].index_copy_(2, self.at, keys)
        self.values[layer].index_copy_(2, self.at, values)
        return self.keys[layer, :, :, :extent], self.values[layer, :, :, :extent]


def angles(places: Tensor, size: int, base: float = 10_000.0) -> Tensor:
    """places [B, R] → the angles [B, 1, R, ``size`` / 2] by which a head's pairs turn: place · base^(-2i / size)."""
    rates = base ** (-torch.arange(0, size, 2, device=places.device, dtype=torch.float32) / size)
    return (places[..., None].float() * rates)[:, None]


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """x [B, H, R, D] with the pairs (i, i + D/2) turned by ``angles``, so that products see distances only."""
    one, other = x.float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([one * cos - other * sin, other * cos + one * sin], -1).to(x.dtype)


class Block(nn.Module):
    """x + attention(norm x), then x + SwiGLU(norm x). No biases."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.RMSNorm(width, EPSILON)
        self.gate_and_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        mask: Tensor,
        cache: Cache | None = None,
        layer: int = 0,
        modulation: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """x [B, R, D], angles [B, 1, R, D / 2H], mask [B, 1, R, K] → [B, R, D].

        With a cache, K reaches over its rows, the claimed ones included. ``modulation``: the scale and
        shift [B, R, D] put on the first norm.
        """
        y = self.attention_norm(x)
        if modulation is not None:
            y = y * modulation[0] + modulation[1]
        x = x + self.dropout(self._attend(y, angles, mask, cache, layer))
        gate, up = self.gate_and_up(self.feed_norm(x)).chunk(2, -1)
        return x + self.dropout(self.down(F.silu(gate) * up))

    def _attend(self, x: Tensor, angles: Tensor, mask: Tensor, cache: Cache | None, layer: int) -> Tensor:
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1)
        )
        queries, keys = turn(queries, angles), turn(keys, angles)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values, mask.shape[-1])
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.attention_out(seen.transpose(1, 2).flatten(2))
