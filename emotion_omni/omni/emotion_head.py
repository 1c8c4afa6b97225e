"""The emotion head: the emotion of the reply, planned for each text token.

Paper, model section: a light Transformer and an MLP read the hidden states of the answer and give one
emotion vector per token. The Transformer is causal, because a reply is spoken before it is written to
its end: a plan that looked ahead would be trained on states that do not exist while streaming. Depth and
width are ours; the paper leaves them open. :mod:`emotion_targets` has what it is trained on.

Axes: B batch, N text tokens, K tokens attended to, D width, E width of an emotion vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.padding import masked_mean
from emotion_omni.omni.transformer import EPSILON, Block, KVCache, rotary_angles


class EmotionHead(nn.Module):
    """Hidden states → emotion vectors: one per token (paper) or one per utterance (its authors' code)."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__()
        self.config, self.mode = config.head, config.emotion_mode
        width = config.language_model.width
        if self.mode == "token":
            # a few features of a large model's hidden states are huge; the norm keeps them from drowning the rest
            self.enter = nn.Sequential(nn.RMSNorm(width, EPSILON), nn.Linear(width, self.config.width))
            sizes = (self.config.width, self.config.heads, self.config.feed_forward, self.config.dropout)
            self.blocks = nn.ModuleList(Block(*sizes) for _ in range(self.config.layers))
            self.norm = nn.RMSNorm(self.config.width, EPSILON)
        mlp_input = self.config.width if self.mode == "token" else width
        self.out = nn.Sequential(
            nn.Linear(mlp_input, self.config.hidden), nn.ReLU(), nn.Linear(self.config.hidden, config.emotion.width)
        )

    def new_cache(self, batch: int) -> KVCache:
        """An empty cache, for a plan that grows with the reply."""
        head_size = self.config.width // self.config.heads
        return KVCache(self.config.layers, batch, self.config.heads, head_size, self.norm.weight)

    def forward(self, hidden_states: Tensor, lengths: Tensor, kv_cache: KVCache | None = None) -> Tensor:
        """hidden_states [B, N, D], lengths [B] → emotions [B, N, E]; in the ``utterance`` mode [B, 1, E].

        ``token``: with a cache, the hidden states are those of the next N tokens. Padding comes last, so no
        valid token attends to it. ``utterance``: only the first ``first_tokens`` hidden states are read.
        """
        if self.mode == "utterance":
            first = hidden_states[:, : self.config.first_tokens]
            return self.out(masked_mean(first, lengths.clamp_max(first.shape[1])))[:, None]
        count = hidden_states.shape[1]
        if kv_cache is None:
            position_ids, extent = torch.arange(count, device=hidden_states.device), count
        else:
            kv_cache.allocate(count)
            position_ids, extent = kv_cache.cache_position, kv_cache.length
        mask = (torch.arange(extent, device=hidden_states.device) <= position_ids[:, None])[None, None]  # [1, 1, N, K]
        x, angles = self.enter(hidden_states), rotary_angles(position_ids[None], self.config.width // self.config.heads)
        for layer, block in enumerate(self.blocks):
            x = block(x, angles, mask, kv_cache, layer)
        return self.out(self.norm(x))
