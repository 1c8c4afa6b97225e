"""Inter-rater agreement: Krippendorff's alpha, Fleiss' kappa, Gwet's AC1 and AC2, with bootstrap intervals.

Input is a long table with the columns ``item``, ``rater``, ``value``; an item a rater did not rate has no row.
What is not defined is ``None`` with a reason in words, never NaN and never 1.0 by default. Knows nothing of
storage, screens or models.

Axes: ``B`` resamples (bootstrap weights), ``items``, ``values`` (or ``q`` categories).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from annotation.analysis.ratings import Rated, ValueCounts, all_numbers, as_ranks, check_level, count_values

# Weights of the items [B, items] → coefficient [B], NaN where it is not defined.
Statistic = Callable[[np.ndarray], np.ndarray]

MINIMUM_ITEMS = 5  # resamples of fewer items are nearly all alike: the interval would be far too narrow
DEFINED_SHARE = 0.95  # of the resamples; with fewer, the percentiles describe a biased selection
BLOCK = 4_000_000  # weights sampled at a time (32 MB), so that large studies resample in bounded memory
FEW_VALUES = 12
VANISHING = 1e-12  # a variance over the squared range below this is rounding, not disagreement


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement with its 95 % interval and the size of its data.

    ``value`` is ``None`` where the coefficient is not defined; ``reason`` then says why. With a value, ``reason``
    says why the interval is missing, or is empty. ``items``: rated at least once; ``pairable``: ratings of items
    that have two or more.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    raters: int
    items: int
    pairable: int
    reason: str


class Resamples:
    """How often each item is sampled, in each of many bootstrap samples.

    The latest two are kept in the process: the coefficients of a table, and the questions of a study, share the items
    that are rated and those that are rated twice.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, int], np.ndarray] = {}

    def blocks(self, items: int, bootstrap: int, seed: int) -> Iterator[np.ndarray]:
        """→ weights [B, items], ``bootstrap`` rows in all."""
        key = (items, bootstrap, seed)
        if key in self._kept:
            yield self._kept[key]
            return
        random, rows = np.random.default_rng(seed), max(BLOCK // items, 1)
        for done in range(0, bootstrap, rows):
            size = min(rows, bootstrap - done)
            sampled = _resampled(random, size, items)
            if size == bootstrap:  # one block is all there is
                latest = list(self._kept.items())[-1:]
                self._kept = dict([*latest, (key, sampled)])
            yield sampled


def _resampled(random: np.random.Generator, size: int, items: int) -> np.ndarray:
    """→ counts [size, items]: each row samples ``items`` items with replacement."""
    sampled, chances = np.empty((size, items)), np.full(items, 1 / items)
    for rows in np.array_split(sampled, -(-size // 16)):  # views; whole numbers of all rows at once would not be cached
        rows[:] = random.multinomial(items, chances, size=len(rows))
    return sampled


RESAMPLES = Resamples()


def krippendorff_alpha(ratings: pd.DataFrame | Rated, level: str, bootstrap: int = 500, seed: int = 0) -> Agreement:
    """Krippendorff's alpha for any number of raters and missing ratings; 0 is chance, 1 full agreement.

        alpha = 1 - D_o / D_e
        D_o = 1/n sum_u sum_{i != j in u} d(v_i, v_j) / (m_u - 1)
        D_e = 1/(n (n - 1)) sum_c sum_k n_c n_k d(c, k)

    with m_u ratings of unit u, n pairable ratings, n_c of them with value c, and the squared difference function d
    of the level (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"). Ordinal and interval levels need
    numbers. Not defined where all pairable ratings are the same value. The interval resamples items ``bootstrap``
    times; 0: no interval.
    """
    check_level(level)
    data = count_values(ratings, None, numeric=level != "nominal")
    counts = data.pairable
    if level == "nominal":
        statistic = _nominal_alpha(counts)
    elif level == "ordinal":
        statistic = _distance_alpha(counts, _mid_ranks)
    else:
        statistic = _distance_alpha(counts, lambda totals: data.positions[None, :])
    return _agreement(f"Krippendorff's alpha ({level})", data, statistic, counts.shape[0], bootstrap, seed)


def fleiss_kappa(ratings: pd.DataFrame | Rated, bootstrap: int = 500, seed: int = 0) -> Agreement:
    """Fleiss' kappa over the items with two ratings or more; the order of values is ignored.

        kappa = (mean_i P_i - P_e) / (1 - P_e)
        P_i = sum_j n_ij (n_ij - 1) / (n_i (n_i - 1)),   P_e = sum_j p_j^2

    Fleiss (1971) assumes equal numbers of ratings an item. For unequal numbers this is the usual generalization:
    p_j is the mean over items of the share of value j (Gwet 2014, ch. 2); with equal numbers it is Fleiss' own.
    Interval as in :func:`krippendorff_alpha`.
    """
    data = count_values(ratings, None, numeric=False)
    counts = data.pairable
    return _agreement("Fleiss' kappa", data, _fleiss(counts), counts.shape[0], bootstrap, seed)


def gwet_ac(
    ratings: pd.DataFrame | Rated,
    categories: Sequence,
    level: str,
    bootstrap: int = 500,
    seed: int = 0,
) -> Agreement:
    """Gwet's AC1 (nominal) or AC2 (ordinal or interval): its chance agreement stays low for skewed categories.

        AC = (P_a - P_e) / (1 - P_e),   P_e = T_w / (q (q - 1)) sum_k pi_k (1 - pi_k)

    with weights w, T_w their sum, and pi_k the mean share of category k. ``categories``: the whole scale in order,
    used or not. Ordinal takes Gwet's ordinal weights; interval the quadratic ones over the categories' numbers, or
    over their indices where they are words. Missing ratings are allowed: P_a is over items with two ratings or
    more, pi_k over all items (Gwet 2008; Gwet 2014, ch. 4). If all ratings are the same value the result is 1.0, as
    the formula gives, with a warning in ``reason``. Raises :class:`EmotionOmniError` (code ``unknown-category``).
    """
    check_level(level)
    names = {
        "nominal": "Gwet's AC1",
        "ordinal": "Gwet's AC2 (ordinal weights)",
        "interval": "Gwet's AC2 (quadratic weights)",
    }
    data = count_values(ratings, categories, numeric=False)
    if len(categories) < 2:
        return _undefined(names[level], data, "not defined because the scale has fewer than two categories")
    statistic = _gwet(data.counts.toarray(), agreement_weights(categories, level))
    return _agreement(names[level], data, statistic, data.counts.shape[0], bootstrap, seed)


def agreement_table(
    ratings: pd.DataFrame,
    level: str,
    categories: Sequence,
    bootstrap: int = 500,
    seed: int = 0,
) -> list[Agreement]:
    """Every coefficient that applies to the scale, alpha first. Words on an ordered scale count by their rank.

    ``categories`` may be empty for a continuous scale: then only alpha applies. Fleiss' kappa is left out for
    intervals, where near and far misses must not count alike.
    """
    check_level(level)
    if level != "nominal" and not all_numbers(categories):
        ratings, categories = as_ranks(ratings, categories), range(1, len(categories) + 1)
    table = Rated.read(ratings)
    found = [krippendorff_alpha(table, level, bootstrap, seed)]
    if len(categories):
        found.append(gwet_ac(table, categories, level, bootstrap, seed))
    if level != "interval":
        found.append(fleiss_kappa(table, bootstrap, seed))
    return found


def agreement_weights(categories: Sequence, level: str) -> np.ndarray:
    """Partial credit for each pair of categories, [q, q] in [0, 1] with ones on the diagonal (Gwet 2014, ch. 3).

    Nominal: identity. Ordinal: 1 - C(|k - l| + 1, 2) / C(q, 2). Interval: 1 - (x_k - x_l)^2 / (x_max - x_min)^2.
    """
    q = len(categories)
    if level == "nominal":
        return np.eye(q)
    if level == "ordinal":
        gap = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
        return 1 - gap * (gap + 1) / (q * (q - 1))
    positions = np.asarray(categories if all_numbers(categories) else range(q), dtype=float)
    return 1 - np.subtract.outer(positions, positions) ** 2 / np.ptp(positions) ** 2


# --- the statistics, as functions of item weights -----------------------------------------------------------------


def _nominal_alpha(counts: sparse.csr_array) -> Statistic:
    per_item = counts.sum(axis=1)
    within = (per_item**2 - counts.multiply(counts).sum(axis=1)) / (per_item - 1)
    dense = _dense(counts)

    def statistic(weights: np.ndarray) -> np.ndarray:
        totals = weights @ dense
        n = totals.sum(axis=1)
        return _alpha(n, weights @ within, n**2 - (totals**2).sum(axis=1))

    return statistic


def _distance_alpha(counts: sparse.csr_array, positions: Callable[[np.ndarray], np.ndarray]) -> Statistic:
    """Alpha for squared distances between ``positions`` (totals [B, values] → [B or 1, values] in [0, 1]).

    Over all ordered pairs of m values, the sum of (v - w)^2 is 2 (m sum v^2 - (sum v)^2), so no table of pairs is
    needed. The 2 cancels in D_o / D_e.
    """
    per_item, width = counts.sum(axis=1)[:, None], counts.shape[1]
    dense = _dense(counts)

    def statistic(weights: np.ndarray) -> np.ndarray:
        totals = weights @ dense
        n, at = totals.sum(axis=1), positions(totals)
        if len(at) > 1 and width <= FEW_VALUES:
            observed = _observed_by_pairs(weights, counts, at)
        else:
            within = (per_item * (counts @ at.T**2) - (counts @ at.T) ** 2) / (per_item - 1)
            observed = (weights * within.T).sum(axis=1)
        expected = n * (totals * at**2).sum(axis=1) - (totals * at).sum(axis=1) ** 2
        return _alpha(n, observed, expected)

    return statistic


def _observed_by_pairs(weights: np.ndarray, counts: sparse.csr_array, at: np.ndarray) -> np.ndarray:
    """The sum over items of weight (m sum v^2 - (sum v)^2) / (m - 1), from the weighted counts of pairs of values.

    Positions ``at`` [B, values] differ between resamples. For few values this takes a table of pairs per resample
    instead of a table of items.
    """
    dense, per_item = counts.toarray(), counts.sum(axis=1)[:, None]
    width = dense.shape[1]
    pairs = (dense[:, :, None] * dense[:, None, :] / (per_item - 1)[:, :, None]).reshape(len(dense), -1)
    squares = weights @ (dense * per_item / (per_item - 1))
    crossed = (weights @ pairs).reshape(-1, width, width)
    return (squares * at**2).sum(axis=1) - np.einsum("bk,bkl,bl->b", at, crossed, at)


def _dense(counts: sparse.csr_array) -> np.ndarray | sparse.csr_array:
    """Small tables are multiplied faster as arrays; sums of whole numbers are exact either way."""
    return counts.toarray() if counts.shape[0] * counts.shape[1] <= BLOCK else counts


def _mid_ranks(totals: np.ndarray) -> np.ndarray:
    """Krippendorff's ordinal metric, (n_c + ... + n_k - (n_c + n_k) / 2)^2, is the squared difference of mid-ranks."""
    return (np.cumsum(totals, axis=1) - totals / 2) / np.maximum(totals.sum(axis=1, keepdims=True), 1)


def _alpha(n: np.ndarray, observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """1 - (n - 1) observed / expected, both summed over pairs; all [B]."""
    return np.minimum(1 - _ratio((n - 1) * observed, expected, VANISHING * n**2), 1)


def _fleiss(counts: sparse.csr_array) -> Statistic:
    per_item = counts.sum(axis=1)
    agreed = (counts.multiply(counts).sum(axis=1) - per_item) / (per_item * (per_item - 1))
    shares = _dense(sparse.diags_array(1 / per_item) @ counts)

    def statistic(weights: np.ndarray) -> np.ndarray:
        n = weights.sum(axis=1)
        by_chance = (((weights @ shares) / n[:, None]) ** 2).sum(axis=1)
        return _ratio(weights @ agreed / n - by_chance, 1 - by_chance, VANISHING)

    return statistic


def _gwet(counts: np.ndarray, weights_of_pairs: np.ndarray) -> Statistic:
    """``counts`` [items, q], each item rated at least once; ``weights_of_pairs`` [q, q], 1 on the diagonal."""
    per_item, q = counts.sum(axis=1), len(weights_of_pairs)
    pairable = (per_item >= 2).astype(float)
    # The sum is 0 for an item rated once: its rating is compared with itself alone.
    agreed = (counts * (counts @ weights_of_pairs - 1)).sum(axis=1) / np.maximum(per_item * (per_item - 1), 1)
    shares = counts / per_item[:, None]

    def statistic(weights: np.ndarray) -> np.ndarray:
        prevalence = (weights @ shares) / weights.sum(axis=1, keepdims=True)
        by_chance = weights_of_pairs.sum() / (q * (q - 1)) * (prevalence * (1 - prevalence)).sum(axis=1)
        return (_ratio(weights @ agreed, weights @ pairable, 0) - by_chance) / (1 - by_chance)

    return statistic


def _ratio(numerator: np.ndarray, denominator: np.ndarray, least: np.ndarray | float) -> np.ndarray:
    """``numerator / denominator``, NaN where the denominator is at most ``least``."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > least)


# --- value and interval ------------------------------------------------------------------------------------------


def _agreement(name: str, data: ValueCounts, statistic: Statistic, items: int, bootstrap: int, seed: int) -> Agreement:
    """The statistic over ``items`` rows, with its interval, or the reason why there is none."""
    if data.pairable.shape[0] == 0:
        return _undefined(name, data, "not defined because no item has two ratings")
    value = float(statistic(np.ones((1, items)))[0])
    if math.isnan(value):
        return _undefined(
            name, data, "not defined because every rating is the same value among items with two ratings or more"
        )
    if data.counts.shape[1] == 1 or np.count_nonzero(data.counts.sum(axis=0)) == 1:
        note = (
            "every rating is the same value: nothing shows that the raters would tell others apart, "
            "so no interval is given"
        )
        return _described(name, data, value, None, None, note)
    return _described(name, data, value, *_bootstrap_interval(statistic, items, bootstrap, seed))


def _described(
    name: str, data: ValueCounts, value: float | None, low: float | None, high: float | None, reason: str
) -> Agreement:
    pairable = int(data.pairable.sum())
    return Agreement(name, value, low, high, data.raters, data.counts.shape[0], pairable, reason)


def _undefined(name: str, data: ValueCounts, reason: str) -> Agreement:
    return _described(name, data, None, None, None, reason)


def _bootstrap_interval(
    statistic: Statistic, items: int, bootstrap: int, seed: int
) -> tuple[float | None, float | None, str]:
    """The 2.5th and 97.5th percentile over resamples of the items, and the reason if they are missing.

    Items are a sample of the material; raters are fixed. Resamples in which the coefficient is not defined are
    left out, if they are few.
    """
    if bootstrap == 0:
        return None, None, ""
    if items < MINIMUM_ITEMS:
        return None, None, f"no interval because {items} items are too few to resample; {MINIMUM_ITEMS} are needed"
    blocks = RESAMPLES.blocks(items, bootstrap, seed)
    values = np.concatenate([statistic(weights) for weights in blocks])
    values = values[~np.isnan(values)]
    if len(values) < DEFINED_SHARE * bootstrap:
        missing = 1 - len(values) / bootstrap
        return None, None, f"no interval because {missing:.0%} of the resamples hold too little to compare"
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high), ""
