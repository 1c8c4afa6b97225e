"""Fine-tunes the upper layers of the sentence encoder together with a classifier on its vectors.

Axes: B texts, D width 384, K classes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni import streams
from emotion_omni.response.sentence_encoder import SentenceEncoder


class Example(NamedTuple):
    text: str
    label: int
    weight: float = 1.0


@dataclass(frozen=True)
class TuningSettings:
    epochs: int
    first: int = 3  # the layers from here on are tuned: 5.3 M parameters from 3
    batch_size: int = 32
    learning_rate: float = 6e-5
    head_learning_rate: float = 1e-3
    label_smoothing: float = 0.05
    bf16: bool = False  # mixed precision: twice as fast on processors with bfloat16 instructions
    seed: int = 0


def tune(
    head: nn.Module,
    encoder: SentenceEncoder,
    examples: Sequence[Example],
    settings: TuningSettings,
    *,
    vary: Callable[[str, random.Random], str] = lambda text, rng: text,
) -> dict[str, Tensor]:
    """Fit the head, vectors [B, D] → logits [B, K], and the layers → the tensors of these layers.

    ``vary``: changes a text anew in each epoch. Texts of about the same length share a batch.
    """
    rng, size = random.Random(settings.seed), settings.batch_size
    tuned = {name: tensor.clone().requires_grad_() for name, tensor in encoder.layers(settings.first).items()}
    tunable = encoder.with_layers(tuned)
    rates = [settings.learning_rate, settings.head_learning_rate]
    groups = [
        {"params": parameters, "lr": rate}
        for parameters, rate in zip((list(tuned.values()), list(head.parameters())), rates, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = settings.epochs * (len(examples) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.1)
    head.train()
    for epoch in range(settings.epochs):
        order = sorted(examples, key=lambda example: len(example.text) + rng.random() * 30)
        batches = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
        rng.shuffle(batches)
        total = 0.0
        for batch in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.bf16):
                vectors = tunable.vectors([vary(example.text, rng) for example in batch])
            logits = head(vectors.float())
            labels = torch.tensor([example.label for example in batch])
            weights = torch.tensor([example.weight for example in batch])
            losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=settings.label_smoothing)
            loss = (losses * weights).sum() / weights.sum()
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.item()
        streams.note(f"epoch {epoch + 1} of {settings.epochs}: loss {total / len(batches):.3f}")
    head.eval()
    return {name: tensor.detach() for name, tensor in tuned.items()}
