"""The causal Transformer blocks of the emotion head and the speech decoder, with their key-value cache.

Pre-norm blocks with rotary attention and SwiGLU. The attention mask is the caller's. Knows nothing of
text, speech or emotion.

Axes: B batch, R rows, K rows attended to, D width (in attention, of one head), H heads.
Sources: rotary position embedding, Su et al. 2021; SwiGLU, Shazeer 2020; RMSNorm, Zhang and Sennrich 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6  # of RMSNorm


class KVCache:
    """Keys and values of every layer in one buffer, its rows in order of arrival. The only state of attention.

    Each step first allocates its rows once, then every layer writes its own keys and values there. The
    buffer doubles when it is full.
    """

    def __init__(self, layers: int, batch: int, heads: int, head_size: int, like: Tensor, capacity: int = 256) -> None:
        """``like``: a tensor of the device and dtype of the buffer."""
        self.keys = like.new_zeros(layers, batch, heads, capacity, head_size)
        self.values = torch.zeros_like(self.keys)
        self.length = 0
        self.cache_position = torch.zeros(0, dtype=torch.long, device=like.device)  # rows of the current step [R]

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def allocate(self, rows: int) -> None:
        """Make room for the ``rows`` rows of the next step."""
        while self.length + rows > self.capacity:
            self.keys = torch.cat([self.keys, torch.zeros_like(self.keys)], 3)
            self.values = torch.cat([self.values, torch.zeros_like(self.values)], 3)
        self.cache_position = torch.arange(self.length, self.length + rows, device=self.keys.device)
        self.length += rows

    def update(self, layer: int, keys: Tensor, values: Tensor, extent: int) -> tuple[Tensor, Tensor]:
        """Write keys and values [B, H, R, D] to the allocated rows → the first ``extent`` rows of both."""
        self.keys[layer].index_copy_(2, self.cache_position, keys)
        self.values[layer].index_copy_(2, self.cache_position, values)
        return self.keys[layer, :, :, :extent], self.values[layer, :, :, :extent]


def rotary_angles(position_ids: Tensor, head_size: int, theta: float = 10_000.0) -> Tensor:
    """position_ids [B, R] → rotation angles [B, 1, R, ``head_size`` / 2]: position · theta^(-2i / head_size)."""
    exponents = -torch.arange(0, head_size, 2, device=position_ids.device, dtype=torch.float32) / head_size
    return (position_ids[..., None].float() * theta**exponents)[:, None]


def apply_rotary(x: Tensor, angles: Tensor) -> Tensor:
    """x [B, H, R, D] with each pair (i, i + D/2) rotated by its angle, so that q · k depends on distances only."""
    first, second = x.float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


class Block(nn.Module):
    """x + attention(norm(x)), then x + SwiGLU(norm(x)). No biases."""

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
        kv_cache: KVCache | None = None,
        layer: int = 0,
        modulation: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """x [B, R, D], angles [B, 1, R, D / 2H], mask [B, 1, R, K] → [B, R, D].

        With a cache, K counts its rows, the newly allocated ones included. ``modulation``: scale and shift
        [B, R, D] applied after the first norm.
        """
        y = self.attention_norm(x)
        if modulation is not None:
            scale, shift = modulation
            y = y * scale + shift
        x = x + self.dropout(self._attend(y, angles, mask, kv_cache, layer))
        gate, up = self.gate_and_up(self.feed_norm(x)).chunk(2, -1)
        return x + self.dropout(self.down(F.silu(gate) * up))

    def _attend(self, x: Tensor, angles: Tensor, mask: Tensor, kv_cache: KVCache | None, layer: int) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1)
        )
        q, k = apply_rotary(q, angles), apply_rotary(k, angles)
        if kv_cache is not None:
            k, v = kv_cache.update(layer, k, v, mask.shape[-1])
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.attention_out(attended.transpose(1, 2).flatten(2))
