"""Figures from samples: means with intervals by bootstrap over speakers or prompts, and differences beyond noise.

A measure yields samples: one value of one figure for one item (a clip, a prompt). Items of one cluster (a speaker, the
same words in two tones) are drawn together. A figure is the mean over its groups (emotions, for recall) of the weighted
mean of their samples. Pure numpy: knows no model and no file.

Axes: N samples, S clusters, G groups, R resamples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95
FEWEST_CLUSTERS = 3  # with fewer nothing is said about noise
DIGITS = 4


@dataclass(frozen=True)
class Figure:
    """``guarded``: a child that loses in it beyond noise is refused. ``margin``: a smaller loss does not matter.

    ``unit``: ``share`` (0 to 1), or a word to print behind the value.
    """

    name: str
    title: str
    better: Literal["higher", "lower", "neither"] = "higher"
    unit: str = "share"
    guarded: bool = False
    margin: float = 0.0


@dataclass(frozen=True)
class Sample:
    """``cluster``: what is drawn together, the item itself if empty. ``stratum``: clusters are drawn within it."""

    figure: str
    item: str
    value: float
    cluster: str = ""
    group: str = ""
    stratum: str = ""
    weight: float = 1.0

    @property
    def together(self) -> str:
        return self.cluster or self.item


@dataclass(frozen=True, eq=False)
class Sums:
    """Of each cluster and group: weighted values and weights [S, G]; the stratum of each cluster [S]."""

    values: np.ndarray
    weights: np.ndarray
    strata: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Sums:
        clusters = {name: at for at, name in enumerate(dict.fromkeys((s.stratum, s.together) for s in samples))}
        groups = {name: at for at, name in enumerate(dict.fromkeys(s.group for s in samples))}
        values, total = np.zeros((2, len(clusters), len(groups)))
        for one in samples:
            place = clusters[one.stratum, one.together], groups[one.group]
            values[place] += one.weight * one.value
            total[place] += one.weight
        return cls(values, total, np.array([stratum for stratum, _ in clusters]))

    def statistic(self, counts: np.ndarray) -> np.ndarray:
        """[R, S] → [R]: the mean over groups; a resample leaves out a group that it lacks."""
        with np.errstate(invalid="ignore"):
            return np.nanmean((counts @ self.values) / (counts @ self.weights), axis=1)


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """``value``, ``items``, ``clusters`` and, with enough clusters, ``low`` and ``high`` (95 %)."""
    sums = Sums.of(samples)
    found: dict[str, Any] = {
        "value": _rounded(sums.statistic(np.ones((1, len(sums.strata))))[0]),
        "items": len({one.item for one in samples}),
        "clusters": len(sums.strata),
    }
    if len(sums.strata) >= FEWEST_CLUSTERS:
        drawn = sums.statistic(resampled(sums.strata))
        found["low"], found["high"] = (_rounded(edge) for edge in _interval(drawn, LEVEL))
    return found


def difference(child: Sequence[Sample], parent: Sequence[Sample], level: float = LEVEL) -> dict[str, Any] | None:
    """Child minus parent on the items that both have, with its interval; ``None`` where they share none.

    ``beyond_noise``: the interval does not hold 0. The same clusters are drawn for both, because what is hard
    for one is often hard for the other.
    """
    common = {one.item for one in child} & {one.item for one in parent}
    mine, theirs = (_in_order([one for one in some if one.item in common]) for some in (child, parent))
    if not common or not mine:
        return None
    first, second = Sums.of(mine), Sums.of(theirs)
    ones = np.ones((1, len(first.strata)))
    found: dict[str, Any] = {
        "value": _rounded(first.statistic(ones)[0] - second.statistic(ones)[0]),
        "items": len(common),
        "clusters": len(first.strata),
    }
    if len(first.strata) >= FEWEST_CLUSTERS:
        counts = resampled(first.strata)
        low, high = _interval(first.statistic(counts) - second.statistic(counts), level)
        found |= {"low": _rounded(low), "high": _rounded(high), "beyond_noise": bool(low > 0 or high < 0)}
    return found


def loses(figure: Figure, found: dict[str, Any] | None) -> bool:
    """Whether the child is worse beyond noise and by more than the margin. ``found``: of :func:`difference`."""
    if found is None or not found.get("beyond_noise") or figure.better == "neither":
        return False
    sign = 1 if figure.better == "higher" else -1
    return sign * found["value"] < -figure.margin


def resampled(strata: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each cluster is drawn [R, S], as many of each stratum as it has; the same for the same strata."""
    rng, counts = np.random.default_rng(0), np.zeros((resamples, len(strata)))
    for name in dict.fromkeys(strata.tolist()):
        members = np.flatnonzero(strata == name)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts


def by_figure(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for one in samples:
        found[one.figure].append(one)
    return dict(found)


def _in_order(samples: list[Sample]) -> list[Sample]:
    """By cluster and item, so that both sides of a difference have their clusters and groups in the same places."""
    return sorted(samples, key=lambda one: (one.stratum, one.together, one.group, one.item))


def _interval(drawn: np.ndarray, level: float) -> tuple[float, float]:
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
