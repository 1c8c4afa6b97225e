"""Scores of the next token → one token. The draws come from a generator on the CPU: the same on every device.

Axes: V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from emotion_omni.types import EmotionOmniError


def draw(
    logits: Tensor,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
) -> int:
    """logits [V] → a token by inverse of the cumulative distribution over the ``top_k`` likeliest within ``top_p``.

    ``top_k`` 0 is all; ``temperature`` 0 is the likeliest token, and wants no generator. A score of -inf bars its token.
    Raises :class:`EmotionOmniError` (code ``not-finite``).
    """
    scores = logits.float()
    if not math.isfinite(scores.max()):  # also where one of them is no number
        raise EmotionOmniError(
            "The scores of the next token are not finite: the model overflows in its precision. Set dtype of writer (of transcriber or "
            "speaker, if it is hearing or the voice that fails) to bfloat16 or float32.",
            "not-finite",
        )
    if temperature == 0:
        return int(scores.argmax())
    size = min(top_k or len(scores), len(scores))
    likely, tokens = (scores / temperature).softmax(0).topk(size)
    kept = (likely.cumsum(0) - likely < top_p) & (likely > 0)
    total = (likely * kept).cumsum(0)
    uniform = torch.rand(1, generator=generator).to(total.device)
    place = torch.minimum(
        (total <= uniform * total[-1]).sum(), kept.sum() - 1
    )  # a draw so near 1 that the product rounds up
    return int(tokens[place])
