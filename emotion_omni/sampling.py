"""Scores of the next token → one token for each sample, of words and of speech alike. Nothing is read back from a GPU.

Axes: B batch, V vocabulary. Source: nucleus sampling, Holtzman et al. 2020.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, minimum


class Manner(Protocol):
    """``temperature`` 0 takes the likeliest token; else one of the ``top_k`` likeliest within ``top_p``."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...


def draw(logits: Tensor, uniform: Tensor, manner: Manner) -> Tensor:
    """logits [B, V], a number in [0, 1) per sample [B] → a token each [B]: inverse of the cumulative distribution.

    Each sample's token hangs on its own number alone.
    """
    scores = logits.float()
    if manner.temperature == 0:
        return scores.argmax(1)
    likely, ids = (scores / manner.temperature).softmax(1).topk(min(manner.top_k, scores.shape[1]), 1)
    kept = (likely.cumsum(1) - likely < manner.top_p) & (likely > 0)
    total = (likely * kept).cumsum(1)
    drawn = (total <= uniform[:, None] * total[:, -1:]).sum(1)
    drawn = minimum(drawn, kept.sum(1) - 1)  # a number so near 1 that the product rounds up to the whole
    return ids.gather(1, drawn[:, None])[:, 0]
