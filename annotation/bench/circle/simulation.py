"""The circle many times over, without its studio: ratings → correction → blind comparison, in a second each.

For what one run cannot show: that ratings at random are found to show nothing, and how the win rate grows with the
number of ratings. The learning, its test and the verdict are the same code as in a real run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from annotation.analysis.blind_verdict import BlindVerdict, verdict_of
from annotation.bench.circle.pool import Candidates, Pool, pair_of
from annotation.export.preferences import flip_rate, margin


@dataclass(frozen=True)
class Design:
    """``steepness``: of a rater's choice by the difference in points; 0: at random."""

    items: int = 200
    raters: int = 5
    steepness: float = 1.5
    judges: int = 8
    judges_steepness: float = 1.5


@dataclass(frozen=True)
class Outcome:
    """``win_rate``: of the child by the hidden rubric itself, ties half; ``changed``: share of other answers."""

    learned: bool
    verdict: str
    win_rate: float
    changed: float


def circle(pool: Pool, design: Design, seed: int) -> Outcome:
    from emotion_omni.train.feedback.reward import LEAST_Z, fit, gain
    from emotion_omni.train.feedback.settings import FeedbackSettings

    rng, settings = random.Random(seed), FeedbackSettings().of("reward")
    chosen = rng.sample(pool.training, min(design.items, len(pool.training)))
    pairs = rated_pairs(chosen, design, rng)
    if pairs is None or gain(pairs, settings)["z"] < LEAST_Z:
        return Outcome(False, "not shown", 0.5, 0.0)
    correction = fit(pairs, settings)
    before, after = [one.best() for one in pool.locked], [one.best(correction) for one in pool.locked]
    points = [(one.points[old], one.points[new]) for one, old, new in zip(pool.locked, before, after, strict=True)]
    won = [0.5 + 0.5 * np.sign(new - old) for old, new in points]
    changed = float(np.mean([old != new for old, new in zip(before, after, strict=True)]))
    judged = judge(pool.locked, before, after, design, rng)
    return Outcome(True, judged.verdict if judged else "not shown", float(np.mean(won)), changed)


def rated_pairs(chosen: Sequence[Candidates], design: Design, rng: random.Random) -> Any:
    """The pairs that raters do not tie on, as training has them; ``None`` without any."""
    import torch

    from emotion_omni.train.feedback.reward import Pairs

    features: dict[str, list[Any]] = {}
    parent, margins, flips = [], [], []
    for one in chosen:
        a, b = pair_of(one, rng)
        share = _share(one.points[a] - one.points[b], design.steepness)
        votes = float(sum(rng.random() < share for _ in range(design.raters)))
        if 2 * votes == design.raters:
            continue
        if 2 * votes < design.raters:
            a, b, votes = b, a, design.raters - votes
        for name, value in one.features.items():
            features.setdefault(name, []).append(value[a] - value[b])
        parent.append(one.scores[a] - one.scores[b])
        margins.append(margin(votes, design.raters))
        flips.append(flip_rate(votes, design.raters))
    if not parent:
        return None
    stacked = {name: torch.stack(values) for name, values in features.items()}
    count = torch.arange(len(parent))
    return Pairs(stacked, torch.stack(parent), torch.tensor(margins), torch.tensor(flips), count)


def judge(
    locked: Sequence[Candidates], before: Sequence[int], after: Sequence[int], design: Design, rng: random.Random
) -> BlindVerdict | None:
    """Raters compare parent and child where they answer differently; ``None`` where they never do."""
    rows = [
        {"item": str(item), "rater": str(rater), "value": float(rng.random() < share)}
        for item, (one, old, new) in enumerate(zip(locked, before, after, strict=True))
        if old != new
        for share in [_share(one.points[new] - one.points[old], design.judges_steepness)]
        for rater in range(design.judges)
    ]
    return verdict_of(pd.DataFrame(rows)) if rows else None


def control(pool: Pool, runs: int = 100, seed: int = 1000) -> dict[str, Any]:
    """Ratings at random: how often a difference is nevertheless claimed."""
    found = [circle(pool, Design(steepness=0.0), seed + run) for run in range(runs)]
    verdicts = [one.verdict for one in found]
    counts = {name: verdicts.count(name) for name in ("better", "worse", "not shown")}
    return {"runs": runs, "learned": sum(one.learned for one in found)} | counts


def curve(pool: Pool, items: Sequence[int], runs: int = 20, seed: int = 2000) -> list[dict[str, Any]]:
    """The win rate of the child by the number of ratings: mean and the middle 95 % of the runs."""
    rows = []
    for count in items:
        design = Design(items=count)
        found = [circle(pool, design, seed + run) for run in range(runs)]
        rates = [one.win_rate for one in found]
        low, high = np.percentile(rates, [2.5, 97.5])
        rows.append(
            {
                "ratings": count * design.raters,
                "win_rate": round(float(np.mean(rates)), 3),
                "low": round(float(low), 3),
                "high": round(float(high), 3),
                "learned": sum(one.learned for one in found),
                "better": sum(one.verdict == "better" for one in found),
                "worse": sum(one.verdict == "worse" for one in found),
                "runs": runs,
            }
        )
    return rows


def _share(difference: float, steepness: float) -> float:
    return 1 / (1 + math.exp(-steepness * difference))
