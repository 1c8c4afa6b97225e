"""Label aggregation: from several raters' categories to one distribution an item."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from annotation.analysis.ratings import count_values, rated
from emotion_omni.types import EmotionOmniError


def soft_labels(ratings: pd.DataFrame, categories: Sequence, prior: float = 0.5) -> pd.DataFrame:
    """Distributions for training with soft targets: items by categories, each row sums to 1, no share is zero.

    The posterior mean under a symmetric Dirichlet prior (additive smoothing):

        p_ik = (n_ik + a) / (n_i + a q)

    with ``prior`` a > 0; 0.5 is Jeffreys' prior. Every rater counts the same.
    """
    if not (math.isfinite(prior) and prior > 0):
        raise EmotionOmniError(
            f"The prior weight of a category is a positive number, not {prior}. Leave it at 0.5.", "prior"
        )
    counts = count_values(ratings, categories, numeric=False).counts.toarray() + prior
    items = sorted(rated(ratings)["item"].unique())
    return pd.DataFrame(
        counts / counts.sum(axis=1, keepdims=True), index=pd.Index(items, name="item"), columns=list(categories)
    )
