"""Rater reliability: test-retest, severity, and which raters to look at again.

Input is a long table of ratings (:mod:`annotation.analysis.ratings`) or the evidence collected about a rater.
What is not known is ``None``, which is neither a pass nor a failure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse, stats
from scipy.sparse import csgraph

from annotation.analysis.ratings import numbers, optional_column, rated

Outcome = Literal["kept", "flagged", "could-not-check"]

ALARM_RISE = 0.20  # of the flagged share: less than this is no reason to stop a study
ALARM_P_VALUE = 0.01  # a study is looked at many times, so one in twenty would give false alarms
ALARM_RATERS = 3  # all of them flagged


def retest(ratings_with_repeat: pd.DataFrame) -> pd.DataFrame:
    """Test-retest reliability of each rater: ``item, rater, value, repeat`` (0 first, 1 or more a hidden repeat).

    → one row a rater: ``rater``, ``pairs`` (repeats that have a first), ``same`` (share given the same value) and
    ``mean_difference`` (absolute). The last two are ``None`` without pairs; the last also where values are words.
    """
    table = rated(ratings_with_repeat, ("item", "rater", "repeat"))
    as_numbers = pd.to_numeric(table["value"].astype(object), errors="coerce")
    numeric = bool(as_numbers.notna().all())
    table["value"] = as_numbers if numeric else table["value"].astype(str)
    first, again = table[table["repeat"] == 0], table[table["repeat"] != 0]
    pairs = again.merge(first, on=["item", "rater"], suffixes=("_again", "_first"))
    pairs["same"] = pairs["value_again"] == pairs["value_first"]
    pairs["difference"] = (pairs["value_again"] - pairs["value_first"]).abs() if numeric else math.nan
    raters = sorted(table["rater"].unique())
    by_rater = pairs.groupby("rater")
    size, same, difference = by_rater.size(), by_rater["same"].mean(), by_rater["difference"].mean()
    return pd.DataFrame(
        {
            "rater": raters,
            "pairs": [int(size.get(rater, 0)) for rater in raters],
            "same": optional_column([float(same[rater]) if rater in same else None for rater in raters]),
            "mean_difference": optional_column(
                [float(difference[rater]) if numeric and rater in difference else None for rater in raters]
            ),
        }
    )


def severity(ratings: pd.DataFrame) -> pd.DataFrame:
    """How much higher or lower each rater rates than the others on the same items, in steps of the scale.

    Least squares for value = item + rater + error (the two-way additive model; Scheffé 1959, ch. 4), so that a
    rater who was given better items does not appear lenient. → columns:

    - ``effect``: sums to zero within each ``part``; ``None`` for a rater who shares no item with others.
    - ``standard_error``, ``half_width`` of the 95 % interval (Student's t with the residual degrees of freedom);
      ``None`` where no degree of freedom is left.
    - ``ratings``; ``part``: a set of raters connected by shared items. Effects of different parts are not comparable.
    """
    table = rated(ratings)
    value = numbers(table["value"])
    item, items = pd.factorize(table["item"], sort=True)
    rater, raters = pd.factorize(table["rater"], sort=True)
    per_item, per_rater = np.bincount(item, minlength=len(items)), np.bincount(rater, minlength=len(raters))
    deviation = value - (np.bincount(item, value, len(items)) / per_item)[item]
    inverse, part = _rater_equations(item, rater, per_item, per_rater)
    effect = inverse @ np.bincount(rater, deviation, len(raters))
    residual = deviation - effect[rater] + (np.bincount(item, effect[rater], len(items)) / per_item)[item]
    freedom = len(table) - len(items) - len(raters) + len(set(part))
    error = np.sqrt(np.diag(inverse).clip(0) * (residual @ residual) / freedom) if freedom > 0 else None
    half_width = None if error is None else stats.t.ppf(0.975, freedom) * error
    connected = np.bincount(part, minlength=1)[part] > 1
    return pd.DataFrame(
        {
            "rater": list(raters),
            "effect": _where(connected, effect),
            "standard_error": _where(connected, error),
            "half_width": _where(connected, half_width),
            "ratings": per_rater,
            "part": part,
        }
    )


def agreement_with_others(ratings: pd.DataFrame, categories: int | None) -> dict[str, float | None]:
    """Each rater's agreement with the others on the same items: below zero, the rater contradicts everyone else.

    On points (``categories`` is ``None``), the correlation with the mean of the others; on categories, the share of
    answers equal to the mode of the others, where they have one mode, minus chance (1 / ``categories``). ``None``
    where there is too little to compare. ``ratings``: ``item, rater, value``, one row for each rater of an item.
    """
    item, rater = pd.factorize(ratings["item"])[0], pd.factorize(ratings["rater"])
    names, per_item = rater[1], np.bincount(item)
    shared = per_item[item] > 1
    item, code, values = item[shared], rater[0][shared], ratings["value"][shared]
    if categories is None:
        found = _correlations(item, code, values.to_numpy(dtype=float), per_item, len(names))
    else:
        found = _matches(item, code, pd.factorize(values)[0], len(per_item), len(names), 1 / categories)
    return dict(zip(names, found, strict=True))


def _correlations(
    item: np.ndarray, rater: np.ndarray, values: np.ndarray, per_item: np.ndarray, raters: int
) -> list[float | None]:
    others = (np.bincount(item, values, len(per_item))[item] - values) / (per_item[item] - 1)
    order = np.argsort(rater, kind="stable")
    ends = np.cumsum(np.bincount(rater, minlength=raters))[:-1]
    parts = zip(np.split(values[order], ends), np.split(others[order], ends), strict=True)
    return [
        float(np.corrcoef(own, rest)[0, 1]) if len(own) > 2 and np.ptp(own) > 0 and np.ptp(rest) > 0 else None
        for own, rest in parts
    ]


def _matches(
    item: np.ndarray, rater: np.ndarray, values: np.ndarray, items: int, raters: int, chance: float
) -> list[float | None]:
    width = int(values.max(initial=0)) + 1
    others = np.bincount(item * width + values, minlength=items * width).reshape(items, width)[item]
    others[np.arange(len(item)), values] -= 1
    most = others.max(axis=1, initial=0)
    clear = (others == most[:, None]).sum(axis=1) == 1
    same = np.bincount(rater[clear], (others[np.arange(len(item)), values] == most)[clear], raters)
    seen = np.bincount(rater[clear], minlength=raters)
    return [float(hits / n) - chance if n else None for hits, n in zip(same, seen, strict=True)]


def _where(known: np.ndarray, values: np.ndarray | None) -> pd.Series:
    """The values as floats where known, else ``None``."""
    if values is None:
        return optional_column([None] * len(known))
    return optional_column([float(value) if is_known else None for value, is_known in zip(values, known, strict=True)])


def _rater_equations(
    item: np.ndarray, rater: np.ndarray, per_item: np.ndarray, per_rater: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """→ the pseudo-inverse [raters, raters] of the normal equations with items eliminated, and each rater's part.

    The null space of the equations L is one constant a part, with projector J: the pseudo-inverse is
    (L + J)^-1 - J, which needs no decision about which eigenvalues are zero.
    """
    incidence = sparse.coo_array((np.ones(len(item)), (item, rater)), shape=(len(per_item), len(per_rater))).tocsr()
    shared = (incidence.T @ sparse.diags_array(1 / per_item) @ incidence).toarray()
    _, part = csgraph.connected_components(shared > 0, directed=False)
    together = part[:, None] == part[None, :]
    projector = together / together.sum(axis=1, keepdims=True)
    return np.linalg.inv(np.diag(per_rater) - shared + projector) - projector, part


# --- exclusion ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What is known of one rater. ``None``, or nothing seen, means not known, which is neither good nor bad.

    ``retest_same``: share of hidden repeats answered the same, in [0, 1]. ``traps_seen``, ``gold_seen``: with those
    that were skipped, which are not right. ``median_seconds``: from the end of the clip to the answer. ``constant``:
    at least ten items, all with the same answer. ``agreement_with_others``: a correlation or chance-corrected
    coefficient, in [-1, 1].
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
        # NaN is below no threshold: it would pass every check that should stay open.
        for name in ("retest_same", "median_seconds", "agreement_with_others"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is a finite number or None, not {value}.")
        for right, seen in ((self.traps_right, self.traps_seen), (self.gold_right, self.gold_seen)):
            if not 0 <= right <= seen:
                raise ValueError(f"{right} of {seen} cannot be right.")


@dataclass(frozen=True)
class ExclusionCriteria:
    """The least that passes each check, and how much must have been seen to make the check."""

    trap_share: float = 0.75  # a trap says aloud what to answer: an attentive rater misses at most one in four
    traps_least: int = 1
    gold_share: float = 0.6  # gold items are clear but still judgments
    gold_least: int = 3  # so that a single miss fails no rater
    retest_same: float = 0.5
    retest_pairs_least: int = 4
    median_seconds: float = 0.5  # too short to hear, decide and click on every item
    agreement: float = 0.0  # chance level
    agreement_ratings_least: int = 20  # with fewer, chance alone often puts an honest rater below zero


@dataclass(frozen=True)
class Verdict:
    """``reasons``: the checks that failed, or those that could not be made; empty if kept."""

    rater: str
    outcome: Outcome
    reasons: tuple[str, ...]


def judge(evidence: Evidence, criteria: ExclusionCriteria | None = None) -> Verdict:
    """Kept, flagged, or could not check: a check that could not be made is neither a failure nor a pass.

    Any failed check flags: ``traps``, ``gold``, ``retest``, ``too-fast``, ``constant``, ``outlier``. Otherwise
    traps or gold must have been checked for a rater to be kept; if neither was, the reasons are ``no-traps-seen``
    or ``few-traps-seen``, and likewise for gold.
    """
    checks = _checks(evidence, criteria or ExclusionCriteria())
    failed = tuple(name for name, passed in checks.items() if passed is False)
    if failed:
        return Verdict(evidence.rater, "flagged", failed)
    if checks["traps"] is None and checks["gold"] is None:
        seen = {"traps": evidence.traps_seen, "gold": evidence.gold_seen}
        reasons = tuple(f"{'few' if n else 'no'}-{name}-seen" for name, n in seen.items())
        return Verdict(evidence.rater, "could-not-check", reasons)
    return Verdict(evidence.rater, "kept", ())


def _checks(evidence: Evidence, criteria: ExclusionCriteria) -> dict[str, bool | None]:
    """Each check by its stable name: passed, failed, or ``None`` where it could not be made."""
    again = evidence.retest_same if evidence.retest_pairs >= criteria.retest_pairs_least else None
    others = evidence.agreement_with_others if evidence.ratings >= criteria.agreement_ratings_least else None
    fast = evidence.median_seconds
    return {
        "traps": _reaches(evidence.traps_right, evidence.traps_seen, criteria.trap_share, criteria.traps_least),
        "gold": _reaches(evidence.gold_right, evidence.gold_seen, criteria.gold_share, criteria.gold_least),
        "retest": None if again is None else again >= criteria.retest_same,
        "too-fast": None if fast is None else fast >= criteria.median_seconds,
        "constant": None if evidence.constant is None else not evidence.constant,
        "outlier": None if others is None else others >= criteria.agreement,
    }


def _reaches(right: int, seen: int, share: float, least: int) -> bool | None:
    return None if seen < max(least, 1) else right / seen >= share


def exclusion_alarm(before: Sequence[Verdict], now: Sequence[Verdict]) -> str | None:
    """A warning that the checks, rather than the raters, may have failed; ``None`` if all is well.

    Among the raters who could be checked: all are flagged (three or more), or the flagged share rose by 20 points
    or more and by more than chance allows (Fisher's exact test, one-sided, p < 0.01).
    """
    flagged, checked = _flagged(now)
    flagged_before, checked_before = _flagged(before)
    if checked and flagged == checked >= ALARM_RATERS:
        return f"All {checked} raters who could be checked are flagged. {_advice(now)}"
    if not checked or not checked_before:
        return None
    rise = flagged / checked - flagged_before / checked_before
    table = [[flagged, checked - flagged], [flagged_before, checked_before - flagged_before]]
    if rise < ALARM_RISE - 1e-9 or stats.fisher_exact(table, alternative="greater").pvalue >= ALARM_P_VALUE:
        return None
    return f"{flagged} of {checked} raters are flagged, up from {flagged_before} of {checked_before}. {_advice(now)}"


def _flagged(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """→ how many are flagged, and how many could be checked."""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    return outcomes["flagged"], outcomes["flagged"] + outcomes["kept"]


def _advice(verdicts: Sequence[Verdict]) -> str:
    reasons = Counter(reason for verdict in verdicts if verdict.outcome == "flagged" for reason in verdict.reasons)
    reason, times = reasons.most_common(1)[0]
    return (
        f"The most common reason is {reason!r} ({times} raters). Check that it still works before you exclude anyone: "
        "a broken check fails every rater."
    )
