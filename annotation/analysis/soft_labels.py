"""Label aggregation: from several raters' categories to one distribution an item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from annotation.analysis.ratings import category_codes, count_values, rated
from emotion_omni.types import EmotionOmniError

ROUNDS = 20  # of expectation maximization; it changes little after five
PRIOR_RATINGS = 4.0  # right and as many wrong ones, in front of a rater's own


def soft_labels(
    ratings: pd.DataFrame, categories: Sequence, prior: float = 0.5, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Distributions for training with soft targets: items by categories, each row sums to 1, no share is zero.

    The posterior mean under a symmetric Dirichlet prior (additive smoothing):

        p_ik = (n_ik + a) / (n_i + a q)

    with ``prior`` a > 0; 0.5 is Jeffreys' prior. Every rater counts the same, or as ``weights`` say (by rater).
    """
    if not (math.isfinite(prior) and prior > 0):
        raise EmotionOmniError(
            f"The prior weight of a category is a positive number, not {prior}. Leave it at 0.5.", "prior"
        )
    items = sorted(rated(ratings)["item"].unique())
    if weights is None:
        counts = count_values(ratings, categories, numeric=False).counts.toarray() + prior
    else:
        table = rated(ratings)
        counts = np.full((len(items), len(categories)), prior)
        places = pd.Index(items).get_indexer(table["item"]), category_codes(table["value"], categories)
        np.add.at(counts, places, [weights[rater] for rater in table["rater"]])
    return pd.DataFrame(
        counts / counts.sum(axis=1, keepdims=True), index=pd.Index(items, name="item"), columns=list(categories)
    )


def rater_reliability(ratings: pd.DataFrame, categories: Sequence) -> dict[str, float]:
    """How far each rater's labels can be relied on: a weight, 0 where no better than chance, of mean 1 over ratings.

    The accuracy a_r of a model of one parameter a rater (Dawid & Skene 1979, with errors spread evenly), found by
    expectation maximization from a majority that smooths, and shrunk by :data:`PRIOR_RATINGS` towards the mean of all;
    less what chance gives: a_r - 1/K.
    """
    if ratings.empty:
        return {}
    table, size = rated(ratings), len(categories)
    item, items = pd.factorize(table["item"])
    rater, raters = pd.factorize(table["rater"])
    label = category_codes(table["value"], categories)
    accuracy = np.full(len(raters), 0.7)
    for _ in range(ROUNDS):
        evidence = np.log(accuracy) - np.log((1 - accuracy) / (size - 1))  # for the label given, against any other
        logits = np.zeros((len(items), size))
        np.add.at(logits, (item, label), evidence[rater])
        posterior = np.exp(logits - logits.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
        right, seen = np.bincount(rater, posterior[item, label]), np.bincount(rater)
        mean = right.sum() / seen.sum()
        accuracy = np.clip((right + PRIOR_RATINGS * mean) / (seen + PRIOR_RATINGS), 1 / size, 1 - 1e-3)
    weight = accuracy - 1 / size
    mean_weight = weight[rater].mean()
    weight = weight / mean_weight if mean_weight > 1e-9 else np.ones_like(weight)
    return {str(name): float(one) for name, one in zip(raters, weight, strict=True)}
