"""Means of losses over many batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class LossAverages:
    """Each loss is averaged over the utterances that have it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.totals = torch.zeros(0)  # [names, 2]: sum and count
        self.tokens = 0

    def add(self, losses: Mapping[str, Tensor], count: int, tokens: int) -> None:
        """Losses [B] of a batch. ``count`` 0: a batch that stands in for an empty one, and is not counted."""
        if not self.names:
            self.names, self.totals = list(losses), torch.zeros(len(losses), 2, dtype=torch.float64)
        if not count:
            return
        values = torch.stack([losses[name].detach() for name in self.names]).double().cpu()  # [names, B]
        optional = torch.tensor([name != "loss" for name in self.names])[:, None]
        missing = values.isnan() & optional  # a NaN of the loss itself must show
        self.totals += torch.stack([values.masked_fill(missing, 0).sum(1), (~missing).sum(1).double()], 1)
        self.tokens += tokens

    def means(self, sum_over_processes: Callable[[Tensor], Tensor]) -> tuple[dict[str, float], int]:
        """→ means by name, and tokens, of all processes. A loss that no utterance has is left out."""
        tokens = torch.tensor([float(self.tokens)], dtype=torch.float64)
        everything = sum_over_processes(torch.cat([self.totals.flatten(), tokens]))
        means = {}
        for name, (total, count) in zip(self.names, everything[:-1].view(-1, 2), strict=True):
            if count:
                means[name] = (total / count).item()
        return means, int(everything[-1])
