"""How far the raters of each item differ, to choose what to adjudicate first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from annotation.analysis.ratings import all_numbers, as_ranks, category_codes, check_level, numbers, rated


def disagreement(ratings: pd.DataFrame, level: str, categories: Sequence = ()) -> pd.DataFrame:
    """How far the raters of each item differ, from 0 to 1, the most divided first: ``item, disagreement, n``.

    Nominal: normalized entropy, H(shares) / log min(n, q), the most that n ratings of q categories can have.
    Ordinal and interval: the population standard deviation over half the range, its largest possible value. q and
    the range are those of the ``categories`` where given, else of the values that occur. Items with one rating are
    left out.
    """
    check_level(level)
    if len(categories) and level != "nominal" and not all_numbers(categories):
        ratings, categories = as_ranks(ratings, categories), range(1, len(categories) + 1)
    table = rated(ratings)
    if len(categories):
        category_codes(table["value"], categories)  # refuses values off the scale
    found = _entropy(table, len(categories)) if level == "nominal" else _deviation(table, categories)
    found = found[found["n"] >= 2]
    return found.sort_values(["disagreement", "n", "item"], ascending=[False, False, True]).reset_index(drop=True)


def _entropy(table: pd.DataFrame, categories: int) -> pd.DataFrame:
    counts = table.groupby(["item", table["value"].astype(object)]).size()
    n = counts.groupby("item").sum()
    shares = counts / n.reindex(counts.index.get_level_values("item")).to_numpy()
    entropy = -(shares * np.log(shares)).groupby("item").sum()
    most = np.log(np.minimum(n, max(categories or table["value"].nunique(), 2)))
    normalized = (entropy / most.where(most > 0, 1)).clip(0, 1)
    return pd.DataFrame({"item": n.index, "disagreement": normalized.to_numpy(dtype=float), "n": n.to_numpy()})


def _deviation(table: pd.DataFrame, categories: Sequence) -> pd.DataFrame:
    values = numbers(table["value"])
    scale = np.asarray(categories, dtype=float) if len(categories) else values
    half_range = np.ptp(scale) / 2 if len(scale) and np.ptp(scale) > 0 else 1.0
    grouped = pd.Series(values).groupby(table["item"])
    deviation, n = grouped.std(ddof=0), grouped.size()
    share = (deviation / half_range).to_numpy(dtype=float)
    return pd.DataFrame({"item": n.index, "disagreement": share, "n": n.to_numpy()})
