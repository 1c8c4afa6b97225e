"""Whether a child is better than its parent, by blind comparisons: better, worse or not shown, and what is needed.

A comparison counts 1 for the child, 0 for the parent, a half for no difference. The interval is clustered on raters and
items (:mod:`annotation.analysis.intervals`). Knows nothing of models or storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from annotation.analysis.intervals import LEAST_RATINGS, Interval, clustered_mean, verdict

EVEN = 0.5
SMALLEST = 0.1  # win rate beyond a half that is worth showing, where the ratings show none yet


@dataclass(frozen=True)
class BlindVerdict:
    """``verdict``: better, worse or not shown. ``win_rate``: of the child, with its 95 % interval.

    ``still_needed``: further ratings until an interval of this width excludes a half, if the win rate stays as it is;
    0 where it does, ``None`` where too little is known.
    """

    verdict: str
    win_rate: Interval
    still_needed: int | None

    def in_words(self) -> str:
        rate = self.win_rate
        if rate.low is None or rate.high is None:
            return f"not shown: {rate.reason or rate.note}" + self._needed()
        return f"{self.verdict}: the child wins {rate.mean:.0%} [{rate.low:.0%}, {rate.high:.0%}]" + self._needed()

    def _needed(self) -> str:
        return f"; about {self.still_needed} more ratings are needed" if self.still_needed else ""


def blind_verdict(votes: pd.DataFrame, child: str) -> BlindVerdict:
    """``votes``: columns ``left``, ``right`` (systems), ``outcome`` (left, right, tie), ``rater``, ``item``."""
    points = {"left": (1.0, 0.0), "tie": (EVEN, EVEN), "right": (0.0, 1.0)}
    won = [
        points[outcome][0 if left == child else 1]
        for left, outcome in zip(votes["left"], votes["outcome"], strict=True)
    ]
    table = pd.DataFrame({"item": votes["item"].to_list(), "rater": votes["rater"].to_list(), "value": won})
    return verdict_of(table)


def verdict_of(won: pd.DataFrame) -> BlindVerdict:
    """``won``: columns ``item``, ``rater`` and ``value``, the child's share of a comparison."""
    rate = clustered_mean(won)
    beyond = Interval(
        None if rate.mean is None else rate.mean - EVEN,
        None if rate.low is None else rate.low - EVEN,
        None if rate.high is None else rate.high - EVEN,
        rate.se,
        rate.n,
        rate.raters,
        rate.items,
        rate.method,
        rate.reason,
        rate.note,
    )
    return BlindVerdict(verdict(beyond), rate, _still_needed(beyond))


def _still_needed(beyond: Interval) -> int | None:
    """n (w / d)² - n: the half width w falls with the root of the ratings; d is the distance from a half."""
    if beyond.low is None or beyond.high is None or beyond.mean is None:
        return max(LEAST_RATINGS - beyond.n, 1) if beyond.n < LEAST_RATINGS else None
    if beyond.low > 0 or beyond.high < 0:
        return 0
    distance = max(abs(beyond.mean), SMALLEST)
    half_width = (beyond.high - beyond.low) / 2
    return max(1, math.ceil(beyond.n * (half_width / distance) ** 2 - beyond.n))
