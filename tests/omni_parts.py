"""Small configurations, modules and inputs of the parts of the end-to-end model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.speech_decoder import TextInputs

TINY = OmniConfig.preset("tiny")


CODES = 40  # a short vocabulary keeps the tests quick


DEPTHS = (("once", 0), ("per-block", 0), ("once", 2))


def spoken_config(**changes) -> OmniConfig:
    return replace(TINY, speech=replace(TINY.speech, codebook_size=CODES, **changes))


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """In eval mode, every parameter off its starting value, so that a scale of 1 or a weight of 0 hides nothing."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module.eval()


def some_text(lengths: list[int], config: OmniConfig = TINY, seed: int = 1) -> TextInputs:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    states, embeddings = torch.randn(2, *shape, config.speech.width, generator=generator)
    return TextInputs(
        states, embeddings, torch.randn(*shape, config.emotion.width, generator=generator), torch.tensor(lengths)
    )


def part(text: TextInputs, begin: int, end: int, samples: slice = slice(None)) -> TextInputs:
    lengths = (text.lengths[samples] - begin).clamp(0, end - begin)
    return TextInputs(
        text.hidden_states[samples, begin:end],
        text.token_embeddings[samples, begin:end],
        text.emotion[samples, begin:end],
        lengths,
    )
