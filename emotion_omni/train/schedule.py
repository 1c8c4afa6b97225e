"""The order of utterances, how a batch is divided among processes, and the learning rate of each step.

All of it depends on numbers alone: (seed, epoch) or the step. Sources: cosine schedule, Loshchilov and Hutter 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

POOL = 50  # batches among which utterances are sorted by length: little padding, yet another order in each epoch


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of an epoch in batches: every utterance once, similar lengths together, random by (seed, epoch)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(shuffled), POOL * batch_size):
        pool = sorted(shuffled[start : start + POOL * batch_size], key=lambda index: lengths[index])
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def micro_batches(batch: Sequence[int], processes: int, accumulation_steps: int) -> list[list[list[int]]]:
    """A batch → the micro-batches of each process. All processes get equally many; some may be empty."""
    per_process = [list(batch[process::processes]) for process in range(processes)]
    longest = max(len(share) for share in per_process)
    size = -(-longest // min(accumulation_steps, longest))
    return [[share[at : at + size] for at in range(0, longest, size)] for share in per_process]


def learning_rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """Share of the peak learning rate in step 0 … steps - 1: a linear rise, then a cosine to 0."""
    warmup_steps = max(1, round(warmup_ratio * steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps + 1) / (steps - warmup_steps + 1)))
