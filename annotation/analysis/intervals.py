"""Means and differences of ratings with 95 % intervals clustered on raters and items.

Input is a long table, one row a rating. Raters and items are treated as samples; a study is judged on both. What
cannot be estimated is ``None`` with a reason, never NaN. Does not exclude raters, weight them, or correct for
multiple comparisons. Knows nothing of storage, screens or models. How often the intervals contain the truth:
``python -m annotation coverage --table``, and the README beside this file.

Axes: ``N`` ratings; leading axes (``...``) are simulated studies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from annotation.analysis.crossed import CrossedDesign, Estimate
from annotation.analysis.ratings import coded, group_as_item, require_columns, table_of, values_and_clusters
from emotion_omni.types import EmotionOmniError

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
LEAST_EFFECTIVE = 4.0  # raters and items; with fewer, simulated intervals contained the truth in as little as 83 %
FEW_EFFECTIVE = 8.0  # with fewer, up to 98 %
LEAST_RATINGS = 24  # with fewer, 92 to 98.5 %
FEW_RATINGS = 40


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval. ``low``, ``high`` and ``se`` are ``None`` where ``reason`` says why.

    ``se``: standard error in the unit of the ratings. ``n``: ratings used. ``items`` counts groups where items come
    in groups. ``note``: a caution about an interval that is given; where only one bound is ``None``, that side is open
    and ``note`` says why.
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
    note: str = ""


@dataclass(frozen=True, eq=False)
class _Sample:
    """Values [N] and the codes of their raters [N] and items [N], from 0."""

    values: np.ndarray
    raters: np.ndarray
    items: np.ndarray
    method: str

    def naive(self) -> Interval:
        values = self.values
        if len(values) < 2:
            few = "only 1 rating; at least 2 are needed" if len(values) else "no ratings yet"
            return self.undefined(float(values.mean()) if len(values) else None, few)
        variance = np.asarray(values.var(ddof=1) / len(values))
        return self._interval(Estimate(np.asarray(values.mean()), variance, np.asarray(len(values) - 1.0)), "")

    def clustered(self, is_first: np.ndarray | None = None) -> Interval:
        if not len(self.values):
            return self.undefined(None, "no ratings yet")
        design = CrossedDesign(self.raters, self.items, is_first)
        if few := too_few(*self.counts[1:]):
            return self.undefined(float(design.value_and_influence(self.values)[0]), few)
        share = is_first is None and is_binary(self.values)
        found = self._interval(estimate(design, self.values, share), caution(design), share)
        few = too_few_effective(design)
        return self.undefined(found.mean, few) if few and not found.reason else found

    def _interval(self, found: Estimate, note: str, share: bool = False) -> Interval:
        mean, se = float(found.value), math.sqrt(found.variance)
        if se <= 1e-9 * np.abs(self.values).max():  # only rounding: a width of zero would claim certainty
            return self.undefined(mean, "no spread between raters or items to estimate it from")
        low, high = map(float, bounds(found, share))
        return Interval(mean, low, high, se, *self.counts, self.method, note=note)

    def undefined(self, mean: float | None, reason: str) -> Interval:
        return Interval(mean, None, None, None, *self.counts, self.method, reason)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Ratings, raters, items."""
        return len(self.values), count_codes(self.raters), count_codes(self.items)


def naive_mean(ratings: pd.DataFrame) -> Interval:
    """Mean of ``value`` as if all ratings were independent (t interval), to show beside the clustered one.

    ``ratings``: columns ``item``, ``rater``, ``value``. Raises :class:`EmotionOmniError` (codes ``columns``,
    ``missing-values``, ``not-numbers``).
    """
    return _Sample(*values_and_clusters(ratings), "naive").naive()


def clustered_mean(ratings: pd.DataFrame) -> Interval:
    """Mean of ``value``, clustered on rater and item (:class:`CrossedDesign`); Wilson's interval where all are 0 or 1.

    Columns and errors as in :func:`naive_mean`.
    """
    return _Sample(*values_and_clusters(ratings), "clustered").clustered()


def means_by(ratings: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each value of ``column``, by ``clustered_low`` in falling order; those without a bound come last.

    → columns ``column``, ``mean``, ``naive_low``, ``naive_high``, ``clustered_low``, ``clustered_high``, ``n``,
    ``raters``, ``items``, ``reason``. Bounds that cannot be estimated are ``None``.
    """
    checked = require_columns(ratings, (column, "item", "rater", "value"))
    samples = [(name, coded(part)) for name, part in checked.groupby(column, sort=True, observed=True)]
    groups = [(name, _Sample(*one, "naive").naive(), _Sample(*one, "clustered").clustered()) for name, one in samples]
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
    for name, arm in arms:
        few = too_few(np.unique(sample.raters[arm]).size, np.unique(sample.items[arm]).size)
        if few:  # the influence of a single rating on its own mean is 0: it would seem to add no uncertainty
            difference = sample.values[is_first].mean() - sample.values[~is_first].mean()
            return sample.undefined(float(difference), f"{name!r} has {few}")
    return sample.clustered(is_first)


def verdict(difference: Interval, smallest: float = 0.0) -> str:
    """ "better", "worse" or "not shown": whether the whole interval lies beyond ``smallest`` on one side."""
    if not smallest >= 0:
        raise EmotionOmniError(
            f"The smallest difference that matters is 0 or more, not {smallest}. Give its size.", "smallest"
        )
    if difference.low is not None and difference.low > smallest:
        return "better"
    return "worse" if difference.high is not None and difference.high < -smallest else "not shown"


# --- from an estimate to its interval ----------------------------------------------------------------------------


def estimate(design: CrossedDesign, values: np.ndarray, share: bool) -> Estimate:
    """``share``: the values are 0 or 1 and their mean is wanted, for Wilson's interval, which needs no floor."""
    return design.estimate(values, floor=1.0) if share else design.estimate(values)


def bounds(found: Estimate, share: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """→ low [...], high [...]: t intervals, or Wilson's (1927) for a ``share``.

    Wilson's uses the effective number of ratings n = p (1 - p) / variance, as surveys do (Korn & Graubard 1998), and
    t for the normal quantile. The t interval of a share ignores that its variance changes with it: in simulated
    studies of 6 to 60 raters it contained the truth in as little as 85 %.
    """
    t, mean = t_quantile(found.freedom), found.value
    if not share:
        half_width = t * np.sqrt(found.variance)
        return mean - half_width, mean + half_width
    with np.errstate(divide="ignore", invalid="ignore"):  # a share of 0 or 1 has no variance and no interval
        per_n = t**2 * found.variance / (mean * (1 - mean))  # t² / n
        center, half_width = mean + per_n / 2, np.sqrt(per_n * mean * (1 - mean) + per_n**2 / 4)
        return (center - half_width) / (1 + per_n), (center + half_width) / (1 + per_n)


def t_quantile(freedom: np.ndarray | float) -> np.ndarray:
    """Upper quantile of Student's t; the normal 1.96 is too small below about 40 clusters."""
    return stats.t.ppf(TAILS[1], freedom)


def is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def count_codes(codes: np.ndarray) -> int:
    return int(codes.max()) + 1 if len(codes) else 0


def too_few(raters: int, items: int) -> str:
    """ "" when there are two of each, else what is missing."""
    if min(raters, items) >= 2:
        return ""
    return f"{_plural(raters, 'rater')} and {_plural(items, 'item')}; at least 2 of each are needed"


def too_few_effective(design: CrossedDesign) -> str:
    """ "" when an interval can be relied on, else what there is too little of."""
    if design.size < LEAST_RATINGS:
        return f"too few ratings: {design.size}; at least {LEAST_RATINGS} are needed for an interval"
    for count, noun in zip(design.effective, ("raters", "items"), strict=True):
        if count < LEAST_EFFECTIVE - 1e-9:
            return (
                f"too few {noun}: as good as {count:.1f} {noun} with equal shares of the ratings; "
                f"at least {LEAST_EFFECTIVE:g} are needed for an interval"
            )
    return ""


def caution(design: CrossedDesign) -> str:
    """ "" where simulated intervals contain the truth in 93 to 97 %."""
    few = [
        f"{noun} (as good as {count:.1f})"
        for count, noun in zip(design.effective, ("raters", "items"), strict=True)
        if count < FEW_EFFECTIVE
    ]
    few += [f"ratings ({design.size})"] if design.size < FEW_RATINGS else []
    return f"few {' and '.join(few)}: the interval may be wider than it needs to be" if few else ""


def _plural(count: int, noun: str) -> str:
    return f"only 1 {noun}" if count == 1 else f"{count} {noun}s"


def by_lower_bound(low: float | None, mean: float | None) -> tuple[bool, float]:
    """A sort key, falling by the lower bound: the first system must be good and well measured."""
    return low is None, -(mean or 0.0) if low is None else -low
