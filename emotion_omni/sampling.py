"""Logits of the next token → one token for each sample: text and speech tokens, batched, the same on every device.

The random numbers come from the caller, who draws them on the CPU: a token depends on its own number alone, neither on
the batch nor on the device.

Axes: B batch, V vocabulary. Source: nucleus sampling, Holtzman et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from emotion_omni.types import EmotionOmniError


class SamplingSettings(Protocol):
    """``temperature`` 0: greedy. Else one of the ``top_k`` likeliest tokens (0: all) within the nucleus ``top_p``."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...


@dataclass(frozen=True)
class SamplingParams:
    """The settings, where no configuration holds them. The defaults sample from the whole distribution."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


GREEDY = SamplingParams(temperature=0.0)


def sample(logits: Tensor, uniform: Tensor | None, settings: SamplingSettings, *, check: bool = True) -> Tensor:
    """logits [B, V], numbers in [0, 1) [B] → tokens [B], by inverse of the cumulative distribution.

    A logit of -inf excludes its token. Greedy decoding needs no ``uniform``. ``check`` raises
    :class:`EmotionOmniError` (code ``not-finite``) where logits overflowed; it waits for a GPU, so a loop that reads
    nothing back switches it off and calls :func:`check_finite` once at its end.
    """
    logits = logits.float()
    if check:
        check_finite(logits)
    if settings.temperature == 0:
        return logits.argmax(1)
    assert uniform is not None
    top_k = min(settings.top_k or logits.shape[1], logits.shape[1])
    probabilities, tokens = (logits / settings.temperature).softmax(1).topk(top_k, 1)
    kept = (probabilities.cumsum(1) - probabilities < settings.top_p) & (probabilities > 0)
    cumulative = (probabilities * kept).cumsum(1)
    index = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(1)
    last = (kept.sum(1) - 1).clamp_min(0)  # a row of NaN, unchecked, keeps none
    index = torch.minimum(index, last)  # where uniform is so near 1 that the product rounds up to the total
    return tokens.gather(1, index[:, None])[:, 0]


def sample_one(logits: Tensor, settings: SamplingSettings, generator: torch.Generator | None = None) -> int:
    """logits [V] → a token. ``generator``: on the CPU; greedy decoding leaves it as it is."""
    uniform = None if settings.temperature == 0 else torch.rand(1, generator=generator).to(logits.device)
    return int(sample(logits[None], uniform, settings)[0])


def check_finite(logits: Tensor) -> None:
    """logits [B, V]. Raises :class:`EmotionOmniError` (code ``not-finite``) if a row has NaN, +inf, or -inf alone."""
    if not bool(torch.isfinite(logits.amax(1)).all()):
        raise EmotionOmniError(
            "The logits of the next token are not finite: the model overflows in its precision. Set dtype of the "
            "responder (of the transcriber or of the synthesizer, if recognition or the voice fails) to bfloat16 or "
            "float32.",
            "not-finite",
        )
