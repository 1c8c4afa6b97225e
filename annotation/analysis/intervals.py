"""Means and differences of ratings with 95 % intervals clustered on raters and items.

Input is a long table, one row a rating. Raters and items are treated as samples; a study is judged on both. What
cannot be estimated is ``None`` with a reason, never NaN. Does not exclude raters, weight them, or correct for
multiple comparisons. Knows nothing of storage, screens or models.

Axes: ``N`` ratings; leading axes (``...``) are simulated studies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse, stats

from annotation.analysis.ratings import group_as_item, require_columns, table_of, values_and_clusters
from emotion_omni.types import EmotionOmniError

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval. ``low``, ``high`` and ``se`` are ``None`` where ``reason`` says why.

    ``se``: standard error in the unit of the ratings. ``n``: ratings used. ``items`` counts groups where items come
    in groups.
    """

    mean: float | None
    low: float | None
    high: float | None
    se: float | None
    n: int
    raters: int
    items: int
    method: str
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _Sample:
    """Values [N] and the codes of their raters [N] and items [N], from 0."""

    values: np.ndarray
    raters: np.ndarray
    items: np.ndarray
    method: str

    @property
    def clusters(self) -> int:
        """Of the scarcer of raters and items."""
        return min(count_codes(self.raters), count_codes(self.items))

    def interval(self, mean: float, variance: float, freedom: int) -> Interval:
        se = math.sqrt(variance)
        if se <= 1e-9 * np.abs(self.values).max():  # only rounding: a width of zero would claim certainty
            return self.undefined(mean, "no spread between raters or items to estimate it from")
        half_width = t_quantile(freedom) * se
        return self._result(mean, mean - half_width, mean + half_width, se, "")

    def clustered(self, estimate: np.ndarray, influence: np.ndarray) -> Interval:
        few = too_few(count_codes(self.raters), count_codes(self.items))
        if few:
            return self.undefined(float(estimate), few)
        variance = float(two_way_clustered_variance(influence, self.raters, self.items))
        return self.interval(float(estimate), variance, self.clusters - 1)

    def undefined(self, mean: float | None, reason: str) -> Interval:
        return self._result(mean, None, None, None, reason)

    def _result(
        self, mean: float | None, low: float | None, high: float | None, se: float | None, reason: str
    ) -> Interval:
        counts = (len(self.values), count_codes(self.raters), count_codes(self.items))
        return Interval(mean, low, high, se, *counts, self.method, reason)


def naive_mean(ratings: pd.DataFrame) -> Interval:
    """Mean of ``value`` as if all ratings were independent (t interval), to show beside the clustered one.

    ``ratings``: columns ``item``, ``rater``, ``value``. Raises :class:`EmotionOmniError` (codes ``columns``,
    ``missing-values``, ``not-numbers``).
    """
    sample = _Sample(*values_and_clusters(ratings), "naive")
    values = sample.values
    if not len(values):
        return sample.undefined(None, "no ratings yet")
    if len(values) < 2:
        return sample.undefined(float(values.mean()), "only 1 rating; at least 2 are needed")
    return sample.interval(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values) - 1)


def clustered_mean(ratings: pd.DataFrame) -> Interval:
    """Mean of ``value``, clustered on rater and item (Cameron, Gelbach & Miller 2011); t with min(raters, items) - 1.

    Columns and errors as in :func:`naive_mean`.
    """
    sample = _Sample(*values_and_clusters(ratings), "clustered")
    if not len(sample.values):
        return sample.undefined(None, "no ratings yet")
    return sample.clustered(*mean_and_influence(sample.values))


def means_by(ratings: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each value of ``column``, by ``clustered_low`` in falling order; those without a bound come last.

    → columns ``column``, ``mean``, ``naive_low``, ``naive_high``, ``clustered_low``, ``clustered_high``, ``n``,
    ``raters``, ``items``, ``reason``. Bounds that cannot be estimated are ``None``.
    """
    checked = require_columns(ratings, (column, "item", "rater", "value"))
    groups = [
        (name, naive_mean(part), clustered_mean(part))
        for name, part in checked.groupby(column, sort=True, observed=True)
    ]
    groups.sort(key=lambda group: by_lower_bound(group[2].low, group[2].mean))
    rows = [
        (name, mean.mean, naive.low, naive.high, mean.low, mean.high, mean.n, mean.raters, mean.items, mean.reason)
        for name, naive, mean in groups
    ]
    bounds = ["naive_low", "naive_high", "clustered_low", "clustered_high"]
    return table_of(rows, [column, "mean", *bounds, "n", "raters", "items", "reason"], bounds)


def paired_difference(ratings: pd.DataFrame, column: str, first: object, second: object) -> Interval:
    """Mean ``value`` of ``first`` minus that of ``second`` (two values of ``column``), clustered on rater and item.

    A column ``group`` (for example the prompt that both answer) replaces the item, so that what the two share
    cancels. What a rater does to both cancels likewise. Errors as in :func:`naive_mean`, and code ``same`` when
    the two are the same.
    """
    if first == second:
        raise EmotionOmniError(
            f"Cannot compare {first!r} with itself. Choose two different values of {column!r}.", "same"
        )
    checked = require_columns(group_as_item(ratings), (column, "item", "rater", "value"))
    two = checked[checked[column].isin([first, second])]
    sample = _Sample(*values_and_clusters(two), "clustered difference")
    is_first = (two[column] == first).to_numpy()
    arms = ((first, is_first), (second, ~is_first))
    for name, arm in arms:
        if not arm.any():
            return sample.undefined(None, f"no ratings of {name!r} yet")
    difference, influence = difference_and_influence(sample.values, is_first)
    for name, arm in arms:
        few = too_few(np.unique(sample.raters[arm]).size, np.unique(sample.items[arm]).size)
        if few:  # the influence of a single rating on its own mean is 0: it would seem to add no uncertainty
            return sample.undefined(float(difference), f"{name!r} has {few}")
    return sample.clustered(difference, influence)


def verdict(difference: Interval, smallest: float = 0.0) -> str:
    """ "better", "worse" or "not shown": whether the whole interval lies beyond ``smallest`` on one side."""
    if not smallest >= 0:
        raise EmotionOmniError(
            f"The smallest difference that matters is 0 or more, not {smallest}. Give its size.", "smallest"
        )
    if difference.low is None or difference.high is None:
        return "not shown"
    if difference.low > smallest:
        return "better"
    return "worse" if difference.high < -smallest else "not shown"


# --- estimators --------------------------------------------------------------------------------------------------


def mean_and_influence(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [..., N] → the mean [...] and each rating's influence on it [..., N], (x_i - mean) / N."""
    mean = values.mean(axis=-1)
    return mean, (values - mean[..., None]) / values.shape[-1]


def difference_and_influence(values: np.ndarray, is_first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [..., N] in two arms → difference of their means [...] and each rating's influence on it [..., N]."""
    first, first_influence = mean_and_influence(values[..., is_first])
    second, second_influence = mean_and_influence(values[..., ~is_first])
    influence = np.empty_like(values)
    influence[..., is_first], influence[..., ~is_first] = first_influence, -second_influence
    return first - second, influence


def two_way_clustered_variance(influence: np.ndarray, raters: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Influence [..., N], codes [N] → variance [...] of the estimate: V(rater) + V(item) - V(rater and item).

    Cameron, Gelbach & Miller (2011), "Robust inference with multiway clustering", each part with its own
    G / (G - 1). In small studies the sum can be negative by chance; then the larger one-way variance is used, since
    the truth cannot be less.

    Chosen over the crossed bootstrap (Owen 2007), which counts the noise up to three times: in 3000 simulated
    studies of 10 to 40 raters these intervals contained the truth in 93.5 to 95.8 %, from strong rater effects to
    none at all. Taking the larger part always, not only below zero, gave up to 98 %.
    """
    by_rater, by_item = clustered_variance(influence, raters), clustered_variance(influence, items)
    cells = np.unique(raters * (items.max() + 1) + items, return_inverse=True)[1]
    both = by_rater + by_item - clustered_variance(influence, cells)
    return np.where(both <= 0, np.maximum(by_rater, by_item), both)


def clustered_variance(influence: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """One-way: G / (G - 1) times the sum over clusters g of (sum of the influence in g)^2."""
    clusters = int(codes.max()) + 1
    membership = sparse.csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)))
    return np.square(influence @ membership).sum(axis=-1) * clusters / (clusters - 1)


def t_quantile(freedom: int) -> float:
    """Upper quantile of Student's t; the normal 1.96 is too small below about 40 clusters."""
    return float(stats.t.ppf(TAILS[1], freedom))


def count_codes(codes: np.ndarray) -> int:
    return int(codes.max()) + 1 if len(codes) else 0


def too_few(raters: int, items: int) -> str:
    """ "" when there are two of each, else what is missing."""
    if min(raters, items) >= 2:
        return ""
    return f"{_plural(raters, 'rater')} and {_plural(items, 'item')}; at least 2 of each are needed"


def _plural(count: int, noun: str) -> str:
    return f"only 1 {noun}" if count == 1 else f"{count} {noun}s"


def by_lower_bound(low: float | None, mean: float | None) -> tuple[bool, float]:
    """A sort key, falling by the lower bound: the first system must be good and well measured."""
    return low is None, -(mean or 0.0) if low is None else -low
