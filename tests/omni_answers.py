"""A random end-to-end model that ends its answers soon, with queries and prompts for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_omni import BRIEF, BRIEFLY

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.generation import ReplyGenerator
from emotion_omni.omni.model import Omni, Query
from emotion_omni.omni.model_runner import ModelRunner

TINY = OmniConfig.preset("tiny")


SEEDS = (7, 11, 23)


LONG = "One after the other, words of a long reply are said while the rest of it is still being written down."


def built(mode: str = "token") -> Omni:
    """A random model whose adaptation does something and which is quick to end an answer."""
    model = Omni.build(replace(TINY, emotion_mode=mode))
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.language_model.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1, generator=draws)
    likes(model, {model.prompt_builder.eos_token_id: 2.0})
    return model


@torch.no_grad()
def likes(model: Omni, nats: dict[int, float], blind: bool = False, more: int = 0) -> None:
    """Give tokens a head start. ``blind``: it is all that counts. ``more``: rows of the head without a token."""
    own = model.causal_lm.get_output_embeddings().weight
    head = torch.nn.Linear(own.shape[1], len(own) + more)
    head.weight.zero_()
    head.bias.zero_()
    if not blind:
        head.weight[: len(own)] = own
    for token, start in nats.items():
        head.bias[token] = start
    model.causal_lm.lm_head = head


def query(*frames: int) -> Query:
    """Frames of as many queries; what lies beyond a length is noise that nothing may read."""
    draws, lengths = torch.Generator().manual_seed(0), torch.tensor(frames)
    semantic, emotion = (torch.randn(len(frames), max(frames), width, generator=draws) for width in (24, 16))
    return Query(semantic, lengths, emotion, lengths)


def only(asked: Query, index: int) -> Query:
    length = int(asked.semantic_lengths[index])
    return Query(
        asked.semantic[index : index + 1, :length],
        asked.semantic_lengths[index : index + 1],
        asked.emotion[index : index + 1, :length],
        asked.emotion_lengths[index : index + 1],
    )


def prompts(model: Omni, count: int = 3):
    return [model.prompt_builder.prompt((), words, None) for words in (None, "She was called Luna.", "Oh")[:count]]


def generator(model: Omni, **runner) -> ReplyGenerator:
    return ReplyGenerator(model, BRIEF, BRIEFLY, runner=ModelRunner(model, **runner))


def told(replies):
    return [(reply.ids, reply.text, reply.speech) for reply in replies]
