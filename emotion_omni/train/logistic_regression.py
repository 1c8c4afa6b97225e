"""Multinomial logistic regression; also on clips of several corpora, which do not all have the same emotions.

Axes: N examples, F features, C emotions.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni import emotion


def example_weights(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Sources weigh the same within an emotion, and emotions by the number of sources that have them; mean 1 [N]."""
    found = np.zeros(len(labels), np.float32)
    for label in np.unique(labels):
        having = np.unique(sources[labels == label])
        for source in having:
            chosen = (labels == label) & (sources == source)
            found[chosen] = 1 / (chosen.sum() * len(having))
    return found / found.mean()


def absent_emotions(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Which emotions the source of an example does not have, bool [N, C]."""
    names, place = np.unique(sources, return_inverse=True)
    absent = np.ones((len(names), len(emotion.NAMES)), bool)
    absent[place, labels] = False
    return absent[place]


def maximize_likelihood(
    classifier: nn.Linear,
    inputs: Tensor,
    labels: np.ndarray,
    sources: np.ndarray,
    *,
    decay: float,
    iterations: int,
    handicap: float = 1e4,
) -> None:
    """Fit the classifier to inputs [N, F] from zero, regularized, by L-BFGS; balanced as :func:`example_weights` says.

    ``decay``: weight of |W|²/2 beside the mean loss. ``handicap``: taken from the logits of emotions that the source of
    an example does not have; so much that they take no part, unless less is asked for.
    """
    weights = torch.from_numpy(example_weights(labels, sources))
    handicaps = handicap * torch.from_numpy(absent_emotions(labels, sources)).float()
    target = torch.from_numpy(labels)
    minimize_loss(classifier, inputs, target, weights, decay=decay, iterations=iterations, handicaps=handicaps)


def minimize_loss(
    classifier: nn.Linear,
    inputs: Tensor,
    target: Tensor,
    weights: Tensor,
    *,
    decay: float,
    iterations: int,
    handicaps: Tensor | float = 0.0,
) -> None:
    """Fit the classifier to inputs [N, F] and classes [N] from zero by L-BFGS: the weighted mean of the cross entropy
    plus ``decay`` · |W|²/2. ``handicaps``: taken from the logits [N, C]."""
    torch.nn.init.zeros_(classifier.weight)
    torch.nn.init.zeros_(classifier.bias)
    optimizer = torch.optim.LBFGS(
        classifier.parameters(), max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def step() -> Tensor:
        optimizer.zero_grad()
        losses = F.cross_entropy(classifier(inputs) - handicaps, target, reduction="none")
        loss = (losses * weights).sum() / weights.sum() + decay * classifier.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(step)
