"""The gate that fuses a token's hidden state with its embedding (paper, model section).

Axes: B batch, N text tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """g · h + (1 - g) · e with g = σ(W [h; e] + b), for hidden state h and embedding e of the same token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * width, width)

    def forward(self, hidden_states: Tensor, token_embeddings: Tensor) -> Tensor:
        """Both [B, N, D] → [B, N, D]."""
        gate = self.mix(torch.cat([hidden_states, token_embeddings], -1)).sigmoid()
        return gate * hidden_states + (1 - gate) * token_embeddings
