"""How far raters agree, how far each can be relied on, and whose ratings to look at again.

Everything takes a long table, a pandas frame with one row a rating: ``item``, ``rater``, ``value``;
what was not rated has no row. Knows nothing of where ratings are stored, of screens or of models.
What is not defined is ``None`` with a reason in words, never NaN and never a 1.0 nobody earned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy import sparse, stats
from scipy.sparse import csgraph

from emotion_omni.types import EmotionOmniError

Level = Literal["nominal", "ordinal", "interval"]
Outcome = Literal["kept", "flagged", "could-not-check"]
Statistic = Callable[
    [np.ndarray], np.ndarray
]  # how often each item counts [B, items] → coefficient [B], NaN where undefined

FEWEST_ITEMS = 5  # a resample of fewer is nearly always the same few items: the interval would be far too narrow
DEFINED_SHARE = 0.95  # of the resamples; with fewer, their percentiles describe the lucky ones only
BLOCK = 4_000_000  # weights drawn at a time (32 MB), so that large studies resample in bounded memory
VANISHING = 1e-12  # a variance over the squared range below this is rounding, not disagreement

ALARM_RISE = 0.20  # of the flagged share: less than this is no reason to stop a study
ALARM_CHANCE = 0.01  # the looks at a study are many, so one in twenty would cry wolf
ALARM_RATERS = 3  # flagged without exception


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement with its 95 % interval, and what it rests on.

    ``value`` is ``None`` where the coefficient is not defined; ``reason`` then says why. Beside a
    value, ``reason`` says why the interval is missing, or is empty. ``items``: rated at least once;
    ``pairable``: ratings of items that have two or more.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    raters: int
    items: int
    pairable: int
    reason: str


@dataclass(frozen=True, eq=False)
class _Tally:
    """``counts`` [items, values]: ratings of an item by value. ``places`` [values], where the values are numbers."""

    counts: sparse.csr_array
    places: np.ndarray
    raters: int

    @property
    def per_item(self) -> np.ndarray:
        return self.counts.sum(axis=1)

    @property
    def comparable(self) -> sparse.csr_array:
        """The rows of the items with two ratings or more."""
        return self.counts[self.per_item >= 2]


# --- agreement ---------------------------------------------------------------------------------------------------------


def krippendorff(ratings: pd.DataFrame, level: Level, bootstrap: int = 500, seed: int = 0) -> Agreement:
    """Krippendorff's alpha for any number of raters and missing ratings; 0 is chance, 1 agreement.

    alpha = 1 - D_o / D_e over the coincidences of values within items (Krippendorff 2011, "Computing
    Krippendorff's alpha-reliability"). Ordinal and interval want numbers. Not defined where every
    comparable rating is the same value. The interval resamples items ``bootstrap`` times; 0: none.
    """
    _check_level(level)
    tally = _tally(ratings, None, numeric=level != "nominal")
    counts = tally.comparable
    if level == "nominal":
        statistic = _nominal_alpha(counts)
    elif level == "ordinal":
        statistic = _distance_alpha(counts, _middle_ranks)
    else:
        statistic = _distance_alpha(counts, lambda totals: tally.places[None, :])
    return _agreement(f"Krippendorff's alpha ({level})", tally, statistic, counts.shape[0], bootstrap, seed)


def fleiss(ratings: pd.DataFrame, bootstrap: int = 500, seed: int = 0) -> Agreement:
    """Fleiss' kappa over the items with two ratings or more (Fleiss 1971); the order of values is ignored.

    Fleiss wants equally many ratings an item. For unequal counts this is the usual general form:
    P_i from each item's own pairs, p_j the mean over items of the share of value j (Gwet 2014,
    ch. 2); with equal counts it is Fleiss' own. Interval as in :func:`krippendorff`.
    """
    tally = _tally(ratings, None, numeric=False)
    counts = tally.comparable
    return _agreement("Fleiss' kappa", tally, _fleiss(counts), counts.shape[0], bootstrap, seed)


def gwet(ratings: pd.DataFrame, categories: Sequence, level: Level, bootstrap: int = 500, seed: int = 0) -> Agreement:
    """Gwet's AC1 (nominal) or AC2 (ordinal or interval): chance agreement that skewed classes do not blow up.

    ``categories`` is the whole scale in order, used or not. Ordinal takes Gwet's ordinal weights,
    interval the quadratic ones over the categories' numbers, or their places where they are words.
    Missing ratings are allowed: agreement is over items with two ratings or more, the shares of the
    categories over all (Gwet 2008; Gwet 2014, ch. 4). Ratings all alike give 1.0, as the formula has
    it, with a warning in ``reason``. Raises :class:`EmotionOmniError` (code ``unknown-category``).
    """
    _check_level(level)
    names = {
        "nominal": "Gwet's AC1",
        "ordinal": "Gwet's AC2 (ordinal weights)",
        "interval": "Gwet's AC2 (quadratic weights)",
    }
    tally = _tally(ratings, categories, numeric=False)
    if len(categories) < 2:
        return _undefined(names[level], tally, "not defined because the scale has fewer than two categories")
    statistic = _gwet(tally.counts.toarray(), _credit(categories, level))
    return _agreement(names[level], tally, statistic, tally.counts.shape[0], bootstrap, seed)


def agreement_table(
    ratings: pd.DataFrame, scale_kind: Level, categories: Sequence, bootstrap: int = 500, seed: int = 0
) -> list[Agreement]:
    """Every coefficient that applies to the scale, alpha first. Words on an ordered scale count by their place.

    ``categories`` may be empty for a continuous scale: then only alpha applies. Fleiss' kappa is left
    out for intervals, where near and far misses must not count alike.
    """
    _check_level(scale_kind)
    if scale_kind != "nominal" and not _all_numbers(categories):
        ratings, categories = _by_place(ratings, categories), range(1, len(categories) + 1)
    table = [krippendorff(ratings, scale_kind, bootstrap, seed)]
    if len(categories):
        table.append(gwet(ratings, categories, scale_kind, bootstrap, seed))
    if scale_kind != "interval":
        table.append(fleiss(ratings, bootstrap, seed))
    return table


def _nominal_alpha(counts: sparse.csr_array) -> Statistic:
    per_item = counts.sum(axis=1)
    within = (per_item**2 - counts.multiply(counts).sum(axis=1)) / (per_item - 1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        totals = weights @ counts
        n = totals.sum(axis=1)
        return _alpha(n, weights @ within, n**2 - (totals**2).sum(axis=1))

    return statistic


def _distance_alpha(counts: sparse.csr_array, places: Callable[[np.ndarray], np.ndarray]) -> Statistic:
    """Alpha for a squared distance between ``places`` (totals [B, values] → places [B or 1, values] in [0, 1]).

    Over all ordered pairs of m values, the sum of (v - w)^2 is 2 (m sum v^2 - (sum v)^2): no table of
    pairs is needed. The 2 falls out of D_o / D_e.
    """
    per_item = counts.sum(axis=1)[:, None]

    def statistic(weights: np.ndarray) -> np.ndarray:
        totals = weights @ counts
        n, at = totals.sum(axis=1), places(totals)
        within = (per_item * (counts @ at.T**2) - (counts @ at.T) ** 2) / (per_item - 1)
        expected = n * (totals * at**2).sum(axis=1) - (totals * at).sum(axis=1) ** 2
        return _alpha(n, (weights * within.T).sum(axis=1), expected)

    return statistic


def _middle_ranks(totals: np.ndarray) -> np.ndarray:
    """Krippendorff's ordinal metric, (n_c + ... + n_k - (n_c + n_k) / 2)^2, is the squared gap of middle ranks."""
    return (np.cumsum(totals, axis=1) - totals / 2) / np.maximum(totals.sum(axis=1, keepdims=True), 1)


def _alpha(n: np.ndarray, observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """1 - (n - 1) observed / expected, both sums over pairs; all [B]."""
    return np.minimum(1 - _ratio((n - 1) * observed, expected, VANISHING * n**2), 1)


def _fleiss(counts: sparse.csr_array) -> Statistic:
    per_item = counts.sum(axis=1)
    agreed = (counts.multiply(counts).sum(axis=1) - per_item) / (per_item * (per_item - 1))
    shares = sparse.diags_array(1 / per_item) @ counts

    def statistic(weights: np.ndarray) -> np.ndarray:
        n = weights.sum(axis=1)
        by_chance = (((weights @ shares) / n[:, None]) ** 2).sum(axis=1)
        return _ratio(weights @ agreed / n - by_chance, 1 - by_chance, VANISHING)

    return statistic


def _gwet(counts: np.ndarray, credit: np.ndarray) -> Statistic:
    """``counts`` [items, q], each item rated at least once; ``credit`` [q, q], 1 on the diagonal."""
    per_item, q = counts.sum(axis=1), len(credit)
    paired = (per_item >= 2).astype(float)
    # Of an item rated once the sum is 0: its rating is credited with itself alone.
    agreed = (counts * (counts @ credit - 1)).sum(axis=1) / np.maximum(per_item * (per_item - 1), 1)
    shares = counts / per_item[:, None]

    def statistic(weights: np.ndarray) -> np.ndarray:
        prevalence = (weights @ shares) / weights.sum(axis=1, keepdims=True)
        by_chance = credit.sum() / (q * (q - 1)) * (prevalence * (1 - prevalence)).sum(axis=1)
        return (_ratio(weights @ agreed, weights @ paired, 0) - by_chance) / (1 - by_chance)

    return statistic


def _credit(categories: Sequence, level: Level) -> np.ndarray:
    """What a pair of categories is credited with, [q, q] in [0, 1] (Gwet 2014, ch. 3)."""
    q = len(categories)
    if level == "nominal":
        return np.eye(q)
    if level == "ordinal":
        gap = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
        return 1 - gap * (gap + 1) / (q * (q - 1))
    places = np.asarray(categories if _all_numbers(categories) else range(q), dtype=float)
    return 1 - np.subtract.outer(places, places) ** 2 / np.ptp(places) ** 2


def _ratio(top: np.ndarray, bottom: np.ndarray, least: np.ndarray | float) -> np.ndarray:
    """``top / bottom``, NaN where the bottom is no more than ``least``."""
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > least)


def _agreement(name: str, tally: _Tally, statistic: Statistic, items: int, bootstrap: int, seed: int) -> Agreement:
    """The statistic over ``items`` rows, with its interval, or the reason why there is none."""
    if tally.comparable.shape[0] == 0:
        return _undefined(name, tally, "not defined because no item has two ratings")
    value = float(statistic(np.ones((1, items)))[0])
    if math.isnan(value):
        return _undefined(
            name, tally, "not defined because every rating is the same value among items with two ratings or more"
        )
    if tally.counts.shape[1] == 1 or np.count_nonzero(tally.counts.sum(axis=0)) == 1:
        note = "every rating is the same value: nothing shows that the raters would tell others apart, so no interval is given"
        return _described(name, tally, value, None, None, note)
    return _described(name, tally, value, *_interval(statistic, items, bootstrap, seed))


def _described(
    name: str, tally: _Tally, value: float | None, low: float | None, high: float | None, reason: str
) -> Agreement:
    pairable = int(tally.comparable.sum())
    return Agreement(name, value, low, high, tally.raters, tally.counts.shape[0], pairable, reason)


def _undefined(name: str, tally: _Tally, reason: str) -> Agreement:
    return _described(name, tally, None, None, None, reason)


def _interval(statistic: Statistic, items: int, bootstrap: int, seed: int) -> tuple[float | None, float | None, str]:
    """The 2.5th and 97.5th percentile over resamples of the items, and why they are missing if they are.

    Items are what a study draws from its material; raters are held fixed. Resamples in which the
    coefficient is not defined are left out, if they are few.
    """
    if bootstrap == 0:
        return None, None, ""
    if items < FEWEST_ITEMS:
        return None, None, f"no interval because {items} items are too few to resample; {FEWEST_ITEMS} are needed"
    random, rows = np.random.default_rng(seed), max(BLOCK // items, 1)
    blocks = [min(rows, bootstrap - done) for done in range(0, bootstrap, rows)]
    drawn = [
        statistic(random.multinomial(items, np.full(items, 1 / items), size=size).astype(float)) for size in blocks
    ]
    values = np.concatenate(drawn)
    values = values[~np.isnan(values)]
    if len(values) < DEFINED_SHARE * bootstrap:
        return (
            None,
            None,
            f"no interval because {1 - len(values) / bootstrap:.0%} of the resamples hold too little to compare",
        )
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high), ""


# --- the table of ratings ----------------------------------------------------------------------------------------------


def _clean(ratings: pd.DataFrame, key: tuple[str, ...] = ("item", "rater")) -> pd.DataFrame:
    """The rated rows, names as text. Refuses missing columns or names, and one rater's second rating of an item."""
    lacking = [column for column in (*key, "value") if column not in ratings.columns]
    if lacking:
        raise EmotionOmniError(
            f"The ratings have no column {lacking[0]!r}; {', '.join((*key, 'value'))} are needed, one row a rating. "
            "Rename the columns or export the ratings again.",
            "columns",
        )
    rated = ratings.loc[ratings["value"].notna(), [*key, "value"]].reset_index(drop=True)
    if rated[list(key)].isna().to_numpy().any():
        raise EmotionOmniError(
            "A rating names no item or no rater; both are needed. Fill them in or drop the row.", "columns"
        )
    rated = rated.astype({"item": str, "rater": str})
    twice = rated[rated.duplicated(list(key))]
    if len(twice):
        item, rater = twice.iloc[0][["item", "rater"]]
        raise EmotionOmniError(
            f"Rater {rater!r} has rated item {item!r} more than once; one rating each is allowed, or a rater would agree with "
            "themselves. Keep the first, and compare hidden repeats by retest().",
            "rated-twice",
        )
    return rated


def _tally(ratings: pd.DataFrame, categories: Sequence | None, numeric: bool) -> _Tally:
    """Counts of values by item, items in order of their names so that the order of rows changes nothing.

    Columns are the ``categories`` where given, else the values that occur, rising if ``numeric``.
    Places are the values scaled to [0, 1], which changes no coefficient and makes rounding comparable.
    """
    rated = _clean(ratings)
    item, items = pd.factorize(rated["item"], sort=True)
    places = np.zeros(0)
    if categories is not None:
        code, width = _codes(rated["value"], categories), len(categories)
    elif numeric:
        levels, code = np.unique(_numbers(rated["value"]), return_inverse=True)
        width = len(levels)
        places = (levels - levels[:1]) / (np.ptp(levels) if width > 1 else 1)
    else:
        code, names = pd.factorize(rated["value"].astype(object))
        width = len(names)
    counts = sparse.coo_array((np.ones(len(rated)), (item, code)), shape=(len(items), width)).tocsr()
    return _Tally(counts, places, rated["rater"].nunique())


def _numbers(values: pd.Series) -> np.ndarray:
    """The values as finite numbers, text such as "4" included. Raises :class:`EmotionOmniError` (``not-a-number``)."""
    numbers = pd.to_numeric(values.astype(object), errors="coerce").to_numpy(dtype=float)
    wrong = values[~np.isfinite(numbers)]
    if len(wrong):
        raise EmotionOmniError(
            f"The rating {wrong.iloc[0]!r} is not a finite number, as an ordered scale needs. "
            "Replace words by their place on the scale, or treat the scale as nominal.",
            "not-a-number",
        )
    return numbers


def _codes(values: pd.Series, categories: Sequence) -> np.ndarray:
    """The place of each value in the categories, from 0. Raises :class:`EmotionOmniError` (``unknown-category``)."""
    index = pd.Index(list(categories), dtype=object)
    if not index.is_unique:
        raise EmotionOmniError(f"The scale {list(categories)} names a category twice. Name each once.", "categories")
    found = (
        values.astype(object)
        if not _all_numbers(categories)
        else pd.Series(_numbers(values), index=values.index, dtype=object)
    )
    code = index.get_indexer(pd.Index(found, dtype=object))
    if (code < 0).any():
        raise EmotionOmniError(
            f"The rating {values[code < 0].iloc[0]!r} is not on the scale. Use one of: {', '.join(map(str, categories))}.",
            "unknown-category",
        )
    return code


def _all_numbers(categories: Sequence) -> bool:
    return all(
        isinstance(category, int | float | np.number) and not isinstance(category, bool) for category in categories
    )


def _by_place(ratings: pd.DataFrame, categories: Sequence) -> pd.DataFrame:
    """The ratings with every value replaced by its place on the scale, from 1."""
    rated = _clean(ratings)
    return rated.assign(value=_codes(rated["value"], categories) + 1)


def _check_level(level: str) -> None:
    if level not in get_args(Level):
        raise EmotionOmniError(
            f"Unknown level of measurement {level!r}. Use one of: {', '.join(get_args(Level))}.", "unknown-level"
        )


def _column(values: Sequence[Any]) -> pd.Series:
    """A column that keeps ``None`` as it is, where pandas would write NaN."""
    return pd.Series(list(values), dtype=object)


# --- each rater --------------------------------------------------------------------------------------------------------


def retest(ratings_with_repeat: pd.DataFrame) -> pd.DataFrame:
    """How far each rater repeats themselves: ``item, rater, value, repeat`` (0 first, 1 or more a hidden repeat).

    → one row a rater: ``rater``, ``pairs`` (repeats that have a first), ``same`` (share given the same
    value) and ``mean_difference`` (absolute). The last two are ``None`` without pairs, and the very last
    where the values are no numbers.
    """
    rated = _clean(ratings_with_repeat, ("item", "rater", "repeat"))
    numbers = pd.to_numeric(rated["value"].astype(object), errors="coerce")
    numeric = bool(numbers.notna().all())
    rated["value"] = numbers if numeric else rated["value"].astype(str)
    first, again = rated[rated["repeat"] == 0], rated[rated["repeat"] != 0]
    pairs = again.merge(first, on=["item", "rater"], suffixes=("_again", "_first"))
    pairs["same"] = pairs["value_again"] == pairs["value_first"]
    pairs["gap"] = (pairs["value_again"] - pairs["value_first"]).abs() if numeric else math.nan
    raters = sorted(rated["rater"].unique())
    by_rater = pairs.groupby("rater")
    size, same, gap = by_rater.size(), by_rater["same"].mean(), by_rater["gap"].mean()
    return pd.DataFrame(
        {
            "rater": raters,
            "pairs": [int(size.get(rater, 0)) for rater in raters],
            "same": _column([float(same[rater]) if rater in same else None for rater in raters]),
            "mean_difference": _column([float(gap[rater]) if numeric and rater in gap else None for rater in raters]),
        }
    )


def severity(ratings: pd.DataFrame) -> pd.DataFrame:
    """How much higher or lower each rater rates than the others on the same items, in steps of the scale.

    Least squares for value = item + rater + error (the two-way additive model; Scheffé 1959, ch. 4),
    so that a rater who was given better items is not taken for a lenient one. → ``rater``, ``effect``,
    ``standard_error``, ``ratings`` and ``part``. Effects sum to zero within each ``part``, a set of
    raters linked by shared items; across parts they cannot be compared. A rater who shares no item
    has ``effect`` ``None``; without spare ratings to judge the error, ``standard_error`` is ``None``.
    ``half_width`` is that of the 95 % interval (Student's t with the spare ratings as degrees of freedom).
    """
    rated = _clean(ratings)
    value = _numbers(rated["value"])
    item, items = pd.factorize(rated["item"], sort=True)
    rater, raters = pd.factorize(rated["rater"], sort=True)
    per_item, per_rater = np.bincount(item, minlength=len(items)), np.bincount(rater, minlength=len(raters))
    above = value - (np.bincount(item, value, len(items)) / per_item)[item]
    inverse, part = _without_items(item, rater, per_item, per_rater)
    effect = inverse @ np.bincount(rater, above, len(raters))
    left = above - effect[rater] + (np.bincount(item, effect[rater], len(items)) / per_item)[item]
    spare = len(rated) - len(items) - len(raters) + len(set(part))
    error = np.sqrt(np.diag(inverse).clip(0) * (left @ left) / spare) if spare > 0 else None
    linked = np.bincount(part, minlength=1)[part] > 1
    wide = None if error is None else stats.t.ppf(0.975, spare) * error
    return pd.DataFrame(
        {
            "rater": list(raters),
            "effect": _column([float(e) if known else None for e, known in zip(effect, linked, strict=True)]),
            "standard_error": _column(
                [float(error[r]) if known and error is not None else None for r, known in enumerate(linked)]
            ),
            "half_width": _column(
                [float(wide[r]) if known and wide is not None else None for r, known in enumerate(linked)]
            ),
            "ratings": per_rater,
            "part": part,
        }
    )


def _without_items(
    item: np.ndarray, rater: np.ndarray, per_item: np.ndarray, per_rater: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """→ the pseudo-inverse [raters, raters] of the normal equations once items are eliminated, and each rater's part.

    The equations' null space is one constant a part, with projector J: the pseudo-inverse is
    (L + J)^-1 - J, which needs no guess at which eigenvalues are zero.
    """
    who = sparse.coo_array((np.ones(len(item)), (item, rater)), shape=(len(per_item), len(per_rater))).tocsr()
    shared = (who.T @ sparse.diags_array(1 / per_item) @ who).toarray()
    _, part = csgraph.connected_components(shared > 0, directed=False)
    together = part[:, None] == part[None, :]
    projector = together / together.sum(axis=1, keepdims=True)
    return np.linalg.inv(np.diag(per_rater) - shared + projector) - projector, part


# --- whom to look at again ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What is known of one rater. ``None``, or nothing seen, means not known, which is neither good nor bad.

    ``retest_same``: share of hidden repeats answered the same, in [0, 1]. ``median_seconds``: from the
    end of the clip to the answer. ``constant``: every one of at least ten items was answered alike.
    ``agreement_with_others``: a correlation or chance-corrected coefficient, in [-1, 1].
    """

    rater: str
    ratings: int = 0
    traps_right: int = 0
    traps_seen: int = 0
    gold_right: int = 0
    gold_seen: int = 0
    retest_pairs: int = 0
    retest_same: float | None = None
    median_seconds: float | None = None
    constant: bool | None = None
    agreement_with_others: float | None = None

    def __post_init__(self) -> None:
        # A NaN is below no threshold: it would pass every check it should have left open.
        for name in ("retest_same", "median_seconds", "agreement_with_others"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is a finite number or None, not {value}.")
        for right, seen in ((self.traps_right, self.traps_seen), (self.gold_right, self.gold_seen)):
            if not 0 <= right <= seen:
                raise ValueError(f"Of {seen} seen, {right} cannot be right.")


@dataclass(frozen=True)
class Rules:
    """Below which a check fails, and how much must have been seen to make it at all."""

    trap_share: float = 0.75  # a trap says aloud what to answer: an attentive rater slips once in four at most
    traps_least: int = 1
    gold_share: float = 0.6  # gold items are clear but still judgements
    gold_least: int = 3  # so that one miss alone fails nobody
    retest_same: float = 0.5
    retest_pairs_least: int = 4
    median_seconds: float = 0.5  # nobody hears, decides and clicks faster than this time and again
    agreement: float = 0.0  # no better than chance with the others
    agreement_ratings_least: int = 20  # below this, chance alone often puts an honest rater under zero


@dataclass(frozen=True)
class Verdict:
    """``reasons``: the checks that failed, or those that could not be made; empty if kept."""

    rater: str
    outcome: Outcome
    reasons: tuple[str, ...]


def judge(evidence: Evidence, rules: Rules | None = None) -> Verdict:
    """Kept, flagged, or could not check: a check that could not be made is never a failure, nor a pass.

    Any failed check flags: ``traps``, ``gold``, ``retest``, ``too-fast``, ``constant``, ``outlier``.
    Otherwise traps or gold must have been checked for a rater to be kept; if neither was, the
    reasons are ``no-traps-seen`` or ``few-traps-seen``, and likewise for gold.
    """
    rules = rules or Rules()
    checks = _checks(evidence, rules)
    failed = tuple(name for name, passed in checks.items() if passed is False)
    if failed:
        return Verdict(evidence.rater, "flagged", failed)
    if checks["traps"] is None and checks["gold"] is None:
        seen = {"traps": evidence.traps_seen, "gold": evidence.gold_seen}
        return Verdict(
            evidence.rater, "could-not-check", tuple(f"{'few' if n else 'no'}-{name}-seen" for name, n in seen.items())
        )
    return Verdict(evidence.rater, "kept", ())


def _checks(evidence: Evidence, rules: Rules) -> dict[str, bool | None]:
    """Each check by its stable name: passed, failed, or ``None`` where it could not be made."""
    again = evidence.retest_same if evidence.retest_pairs >= rules.retest_pairs_least else None
    others = evidence.agreement_with_others if evidence.ratings >= rules.agreement_ratings_least else None
    return {
        "traps": _share_reached(evidence.traps_right, evidence.traps_seen, rules.trap_share, rules.traps_least),
        "gold": _share_reached(evidence.gold_right, evidence.gold_seen, rules.gold_share, rules.gold_least),
        "retest": None if again is None else again >= rules.retest_same,
        "too-fast": None if evidence.median_seconds is None else evidence.median_seconds >= rules.median_seconds,
        "constant": None if evidence.constant is None else not evidence.constant,
        "outlier": None if others is None else others >= rules.agreement,
    }


def _share_reached(right: int, seen: int, share: float, least: int) -> bool | None:
    return None if seen < max(least, 1) else right / seen >= share


def exclusion_alarm(before: Sequence[Verdict], now: Sequence[Verdict]) -> str | None:
    """A warning that the checks, rather than the raters, may have broken; ``None`` if all is well.

    Among the raters who could be checked: everyone is flagged (three or more), or the flagged share
    rose by 20 points or more and by more than luck allows (Fisher's exact test, one-sided, p < 0.01).
    """
    flagged, checked = _flagged(now)
    flagged_before, checked_before = _flagged(before)
    if checked and flagged == checked >= ALARM_RATERS:
        return f"All {checked} raters who could be checked are flagged. {_advice(now)}"
    if not checked or not checked_before:
        return None
    rise = flagged / checked - flagged_before / checked_before
    table = [[flagged, checked - flagged], [flagged_before, checked_before - flagged_before]]
    if rise < ALARM_RISE - 1e-9 or stats.fisher_exact(table, alternative="greater").pvalue >= ALARM_CHANCE:
        return None
    return f"{flagged} of {checked} raters are flagged, up from {flagged_before} of {checked_before}. {_advice(now)}"


def _flagged(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """→ how many are flagged, and of how many who could be checked."""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    return outcomes["flagged"], outcomes["flagged"] + outcomes["kept"]


def _advice(verdicts: Sequence[Verdict]) -> str:
    reasons = Counter(reason for verdict in verdicts if verdict.outcome == "flagged" for reason in verdict.reasons)
    (reason, times), *_ = reasons.most_common(1)
    return (
        f"The commonest reason is {reason!r} ({times} raters). See that this check still works before leaving anyone out: "
        "a broken check fails everyone."
    )


# --- each item ---------------------------------------------------------------------------------------------------------


def disagreement(ratings: pd.DataFrame, kind: Level, categories: Sequence = ()) -> pd.DataFrame:
    """How far the raters of each item are apart, from 0 to 1, the worst first: ``item, disagreement, n``.

    Nominal: the entropy of the shares over the most that n ratings of q categories can have,
    log min(n, q). Ordinal and interval: the standard deviation over half the range, its largest
    possible value. q and the range are the ``categories``' where given, else those that occur. Items
    with one rating cannot disagree and are left out.
    """
    _check_level(kind)
    if len(categories) and kind != "nominal" and not _all_numbers(categories):
        ratings, categories = _by_place(ratings, categories), range(1, len(categories) + 1)
    rated = _clean(ratings)
    if len(categories):
        _codes(rated["value"], categories)
    apart = _entropy(rated, len(categories)) if kind == "nominal" else _spread(rated, categories)
    apart = apart[apart["n"] >= 2]
    return apart.sort_values(["disagreement", "n", "item"], ascending=[False, False, True]).reset_index(drop=True)


def _entropy(rated: pd.DataFrame, categories: int) -> pd.DataFrame:
    counts = rated.groupby(["item", rated["value"].astype(object)]).size()
    n = counts.groupby("item").sum()
    shares = counts / n.reindex(counts.index.get_level_values("item")).to_numpy()
    entropy = -(shares * np.log(shares)).groupby("item").sum()
    most = np.log(np.minimum(n, max(categories or rated["value"].nunique(), 2)))
    share = (entropy / most.where(most > 0, 1)).clip(0, 1)
    return pd.DataFrame({"item": n.index, "disagreement": share.to_numpy(dtype=float), "n": n.to_numpy()})


def _spread(rated: pd.DataFrame, categories: Sequence) -> pd.DataFrame:
    numbers = _numbers(rated["value"])
    scale = np.asarray(categories, dtype=float) if len(categories) else numbers
    half = np.ptp(scale) / 2 if len(scale) and np.ptp(scale) > 0 else 1.0
    grouped = pd.Series(numbers).groupby(rated["item"])
    deviation, n = grouped.std(ddof=0), grouped.size()
    return pd.DataFrame({"item": n.index, "disagreement": (deviation / half).to_numpy(dtype=float), "n": n.to_numpy()})


def emotion_posterior(ratings: pd.DataFrame, categories: Sequence, prior: float = 0.5) -> pd.DataFrame:
    """Soft labels for training: items by categories, every row summing to 1, no share zero.

    The mean of a Dirichlet posterior, (count + prior) / (n + prior q); 0.5 is Jeffreys' prior, under
    which one rating is a leaning and five are nearly a fact. ``prior`` is positive.
    """
    if not (math.isfinite(prior) and prior > 0):
        raise EmotionOmniError(
            f"The prior weight of a category is a positive number, not {prior}. Leave it at 0.5.", "prior"
        )
    counts = _tally(ratings, categories, numeric=False).counts.toarray() + prior
    items = sorted(_clean(ratings)["item"].unique())
    return pd.DataFrame(
        counts / counts.sum(axis=1, keepdims=True), index=pd.Index(items, name="item"), columns=list(categories)
    )
