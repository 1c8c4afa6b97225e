"""Planning by simulation: the power of a study before it starts.

Simulated studies are analyzed exactly as real ones (:mod:`annotation.analysis.intervals`). The model of a rating is
value = system + rater + item + noise, all effects normal and independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from annotation.analysis.crossed import CrossedDesign
from annotation.analysis.intervals import estimate, t_quantile, too_few_effective
from emotion_omni.types import EmotionOmniError

SECONDS_PER_RATING = 20.0  # to hear a reply of about ten seconds and judge it


@dataclass(frozen=True)
class PowerAnalysis:
    """What a study would cost and show. ``power``: share of simulated studies whose interval excludes zero.

    ``half_width``: of the 95 % interval of the difference, mean over studies, in the unit of the ratings.
    """

    raters: int
    items: int
    overlap: int
    difference: float
    power: float
    half_width: float
    total_ratings: int
    ratings_per_rater: float
    minutes_per_rater: float


def power_analysis(
    raters: int,
    items: int,
    overlap: int | None = None,
    systems: int = 2,
    difference: float = 0.3,
    rater_sd: float = 0.5,
    item_sd: float = 0.6,
    noise_sd: float = 0.8,
    simulations: int = 200,
    seed: int = 0,
    shared: float = 0.5,
    seconds_per_rating: float = SECONDS_PER_RATING,
) -> PowerAnalysis:
    """The power to show ``difference`` between two of ``systems``.

    Every item is a prompt that all systems answer; ``overlap`` raters (all if ``None``) rate all answers to it.
    ``rater_sd`` and ``item_sd``: standard deviations of raters' severity and of answers, in the unit of the ratings;
    ``shared``: the part of both variances that is the same for all systems and so cancels (half, an assumption).
    With ``difference=0`` the power is the false positive rate; with too few raters or items for an interval it is 0.
    Raters for whom no item is left are not counted. Raises :class:`EmotionOmniError` (code ``plan``).
    """
    sizes = (rater_sd, item_sd, noise_sd, seconds_per_rating, difference**2)
    raters, overlap = check_design(raters, items, overlap, simulations, sizes)
    _check_systems(shared, systems)
    generator = np.random.default_rng(seed)
    rater_codes, item_codes = (np.tile(codes, 2) for codes in assign(raters, items, overlap, generator))
    is_first = np.arange(len(rater_codes)) < len(rater_codes) // 2
    values = difference * is_first + effects(generator, (simulations, len(rater_codes)), noise_sd)
    for codes, count, sd in ((rater_codes, raters, rater_sd), (item_codes, items, item_sd)):
        values += effects(generator, (simulations, count), sd * math.sqrt(shared))[:, codes]
        own = effects(generator, (simulations, 2 * count), sd * math.sqrt(1 - shared))
        values += own[:, codes + count * is_first]
    design = CrossedDesign(rater_codes, item_codes, is_first)
    found = estimate(design, values, share=False)
    half_width = t_quantile(found.freedom) * np.sqrt(found.variance)
    shown = (np.abs(found.value) > half_width) & (not too_few_effective(design))
    total = items * overlap * systems
    return PowerAnalysis(
        raters,
        items,
        overlap,
        difference,
        power=float(shown.mean()),
        half_width=float(half_width.mean()),
        total_ratings=total,
        ratings_per_rater=total / raters,
        minutes_per_rater=total / raters * seconds_per_rating / 60,
    )


def power_curve(
    items: int, raters: Sequence[int] = (5, 10, 20, 40, 80), overlap: int | None = None, **settings: Any
) -> pd.DataFrame:
    """:func:`power_analysis` for each number of raters: one row each, columns as in :class:`PowerAnalysis`.

    With fewer raters than ``overlap``, all of them rate every item. ``settings``: those of :func:`power_analysis`.
    """
    rows = [
        power_analysis(count, items, None if overlap is None else min(overlap, count), **settings) for count in raters
    ]
    return pd.DataFrame(rows, columns=list(PowerAnalysis.__dataclass_fields__))


def effects(generator: np.random.Generator, shape: tuple[int, ...], sd: float) -> np.ndarray:
    return generator.normal(0.0, sd, shape)


def assign(raters: int, items: int, overlap: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Each item to ``overlap`` random raters with equal loads (±1) → codes of raters [N] and items [N]."""
    load = np.zeros(raters, dtype=np.int64)
    assigned = []
    for _ in range(items):
        chosen = np.lexsort((generator.random(raters), load))[:overlap]
        load[chosen] += 1
        assigned.append(chosen)
    return np.concatenate(assigned), np.repeat(np.arange(items), overlap)


def check_design(
    raters: int, items: int, overlap: int | None, simulations: int, sizes: Sequence[float]
) -> tuple[int, int]:
    """→ the raters for whom there is an item, and the overlap, all raters when ``None``."""
    if raters < 2 or items < 2:
        raise EmotionOmniError(
            f"A study needs at least 2 raters and 2 items, not {raters} and {items}. Plan for more.", "plan"
        )
    overlap = raters if overlap is None else overlap
    if not 1 <= overlap <= raters:
        raise EmotionOmniError(
            f"Each item is rated by 1 to {raters} raters (all there are), not {overlap}. Change the overlap.", "plan"
        )
    if simulations < 1 or not all(math.isfinite(size) and size >= 0 for size in sizes):
        raise EmotionOmniError(
            "Standard deviations and durations are 0 or more, and simulations 1 or more. Correct the plan.", "plan"
        )
    return min(raters, items * overlap), overlap


def _check_systems(shared: float, systems: int) -> None:
    if not 0 <= shared <= 1 or systems < 2:
        raise EmotionOmniError(
            f"The shared part is from 0 to 1 and the systems are 2 or more, not {shared} and {systems}. "
            "Correct the plan.",
            "plan",
        )
