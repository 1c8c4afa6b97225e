"""How often 95 % intervals contain the truth, in simulated studies.

Studies are analyzed exactly as real ones (:mod:`annotation.analysis.intervals`). A latent rating is
rater + item + error, all normal; outcomes are the latent value itself, five points or yes and no. In a difference,
every rater who gets an item rates both answers to it, and half of the raters' and items' variance is the same for
both. Knows nothing of storage or screens.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from annotation.analysis.crossed import CrossedDesign, Estimate
from annotation.analysis.intervals import bounds, caution, estimate, too_few_effective
from annotation.analysis.power import assign, check_design, effects
from emotion_omni.types import EmotionOmniError

LOADS = ("equal", "unequal")
OUTCOMES = ("normal", "points", "binary")
STATISTICS = ("mean", "difference")
MOST_UNEQUAL = 8.0  # the largest load over the smallest where loads are unequal
CUTS = {"points": (-1.5, -0.7, 0.1, 0.9), "binary": (stats.norm.ppf(0.75),)}  # of latent values, variance 1
RIGHT = (0.93, 0.97)
SIZES = [  # raters, items, raters an item (0: all)
    *((6, 10, 0), (6, 20, 4), (6, 60, 2), (6, 200, 3), (8, 12, 3), (10, 10, 4), (10, 40, 0), (12, 40, 4)),
    *((12, 20, 2), (12, 200, 2), (20, 10, 3), (20, 30, 0), (30, 200, 2), (40, 60, 3), (60, 10, 4), (60, 20, 0)),
    *((60, 60, 2), (60, 200, 5)),
]
SHARES = [0.0, 0.1, 0.4], [0.0, 0.2, 0.5]  # of the variance: raters, items


@dataclass(frozen=True)
class SimulatedDesign:
    """``overlap``: raters an item, all if 0. Shares of the variance of a latent rating; the rest is error."""

    raters: int
    items: int
    overlap: int = 0
    loads: str = "equal"
    rater_share: float = 0.2
    item_share: float = 0.3
    outcome: str = "normal"
    statistic: str = "mean"

    def __post_init__(self) -> None:
        for value, allowed in ((self.loads, LOADS), (self.outcome, OUTCOMES), (self.statistic, STATISTICS)):
            if value not in allowed:
                raise EmotionOmniError(f"Unknown design {value!r}. Use one of: {', '.join(allowed)}.", "plan")
        shares = (self.rater_share, self.item_share)
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise EmotionOmniError(
                f"Shares of the variance are 0 or more and at most 1 together, not {shares}.", "plan"
            )

    def assign(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """→ codes of raters [N] and items [N]; who gets nothing is left out."""
        raters, overlap = check_design(self.raters, self.items, self.overlap or None, 1, ())
        if self.loads == "equal":
            return assign(raters, self.items, overlap, generator)
        chosen = _unequal(raters, self.items, overlap, generator)
        return tuple(np.unique(codes, return_inverse=True)[1] for codes in chosen)  # type: ignore[return-value]


def _unequal(raters: int, items: int, overlap: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Loads spread evenly on a log scale; where all raters are asked for, each stops after their part of the items."""
    weight = generator.permutation(np.exp(np.linspace(0, math.log(MOST_UNEQUAL), raters)))
    if overlap == raters:
        counts = np.maximum(np.rint(weight / weight.max() * items), 1).astype(int)
        mine = [generator.permutation(items)[:count] for count in counts]
        return np.repeat(np.arange(raters), counts), np.concatenate(mine)
    share = weight / weight.sum()
    mine = [generator.choice(raters, overlap, replace=False, p=share) for _ in range(items)]
    return np.concatenate(mine), np.repeat(np.arange(items), overlap)


def coverage(
    simulations: int = 200,
    raters: int = 10,
    items: int = 20,
    overlap: int | None = None,
    rater_sd: float = 0.5,
    item_sd: float = 0.6,
    noise_sd: float = 0.8,
    seed: int = 0,
) -> dict[str, float]:
    """Share of simulated studies whose interval contains the true mean, ``naive`` and ``clustered``; 0.95 is right.

    ``overlap``: raters an item, all if ``None``. Standard deviations in the unit of the ratings.
    Raises :class:`EmotionOmniError` (code ``plan``).
    """
    check_design(raters, items, overlap, simulations, (rater_sd, item_sd, noise_sd))
    total = rater_sd**2 + item_sd**2 + noise_sd**2
    shares = (rater_sd**2 / total, item_sd**2 / total) if total else (0.0, 0.0)
    found = simulate(SimulatedDesign(raters, items, overlap or 0, "equal", *shares), simulations, seed)
    return {name: found[name] for name in ("naive", "clustered")}


def simulate(simulated: SimulatedDesign, simulations: int, seed: int = 0) -> dict[str, Any]:
    """→ the design and the shares of studies whose interval contains the truth.

    ``naive``: as if all ratings were independent; ``before``: two-way clustered with t(min(raters, items) - 1), the
    method of earlier versions; ``clustered``: the method of :mod:`annotation.analysis.intervals`. ``note``: what the
    interval itself says about having few raters, items or ratings.
    """
    generator = np.random.default_rng(seed)
    raters, items = simulated.assign(generator)
    is_first = None
    if simulated.statistic == "difference":
        is_first = np.arange(2 * len(raters)) < len(raters)
        raters, items = np.tile(raters, 2), np.tile(items, 2)
    design = CrossedDesign(raters, items, is_first)
    values, truth = _values(simulated, design, simulations, generator)
    share = simulated.outcome == "binary" and is_first is None
    intervals = {
        "naive": bounds(_naive(design, values)),
        "before": bounds(_two_way(design, values)),
        "clustered": bounds(estimate(design, values, share), share),
    }
    shares = {name: float(((low <= truth) & (truth <= high)).mean()) for name, (low, high) in intervals.items()}
    effective = dict(zip(("effective_raters", "effective_items"), np.round(design.effective, 1).tolist(), strict=True))
    note = too_few_effective(design) or caution(design)
    given = not too_few_effective(design)
    return asdict(simulated) | {"ratings": design.size} | effective | shares | {"given": given, "note": note}


def _values(
    simulated: SimulatedDesign, design: CrossedDesign, simulations: int, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """→ values [simulations, N] and the true mean or difference."""
    error = 1 - simulated.rater_share - simulated.item_share
    latent = effects(generator, (simulations, design.size), math.sqrt(max(error, 0.0)))
    for codes, share in ((design.raters, simulated.rater_share), (design.items, simulated.item_share)):
        count = int(codes.max()) + 1
        if design.is_first is None:
            latent += effects(generator, (simulations, count), math.sqrt(share))[:, codes]
        else:
            latent += effects(generator, (simulations, count), math.sqrt(share / 2))[:, codes]
            own = effects(generator, (simulations, 2 * count), math.sqrt(share / 2))
            latent += own[:, codes + count * design.is_first]
    if simulated.outcome == "normal":
        return latent, 0.0
    cuts = CUTS[simulated.outcome]
    values = sum((latent > cut).astype(float) for cut in cuts)
    truth = 0.0 if design.is_first is not None else float(stats.norm.sf(cuts).sum())
    return np.asarray(values), truth


def _naive(design: CrossedDesign, values: np.ndarray) -> Estimate:
    variance = sum(values[:, arm].var(axis=1, ddof=1) / len(arm) for arm in design.arms)
    freedom = float(design.size - len(design.arms))
    return Estimate(design.value_and_influence(values)[0], np.asarray(variance), np.asarray(freedom))


def _two_way(design: CrossedDesign, values: np.ndarray) -> Estimate:
    """Cameron, Gelbach & Miller (2011) with G / (G - 1) in each part."""
    value, influence = design.value_and_influence(values)
    parts = []
    for codes in (design.raters, design.items, design.cells):
        groups = int(codes.max()) + 1
        parts.append(design.sums_of_squares(influence, codes) * groups / (groups - 1))
    both = parts[0] + parts[1] - parts[2]
    variance = np.where(both <= 0, np.maximum(parts[0], parts[1]), both)
    return Estimate(value, variance, np.asarray(min(design.raters.max(), design.items.max()).astype(float)))


def designs() -> Iterator[SimulatedDesign]:
    """The designs of the table in the README."""
    for size, loads, outcome, statistic in itertools.product(SIZES, LOADS, ("points", "binary"), STATISTICS):
        for shares in itertools.product(*SHARES):
            yield SimulatedDesign(*size, loads, *shares, outcome, statistic)


def table(simulations: int, seed: int = 0, every: int = 1) -> dict[str, Any]:
    """:func:`simulate` for all of :func:`designs`, or for one in ``every``, and a summary of them."""
    rows = [
        simulate(one, simulations, seed + number)
        for number, one in enumerate(itertools.islice(designs(), 0, None, every))
    ]
    plain = [row for row in rows if not row["note"]]
    noted = [row for row in rows if row["note"] and row["given"]]
    return {
        "simulations": simulations,
        "right": list(RIGHT),
        "without_note": _summary(plain),
        "with_note": _summary(noted),
        "not_given": len(rows) - len(plain) - len(noted),
        "designs": rows,
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"designs": len(rows)}
    for name in ("naive", "before", "clustered") if rows else ():
        shares = np.array([row[name] for row in rows])
        outside = int(((shares < RIGHT[0]) | (shares > RIGHT[1])).sum())
        found[name] = {"lowest": float(shares.min()), "highest": float(shares.max()), "outside": outside}
    return found
