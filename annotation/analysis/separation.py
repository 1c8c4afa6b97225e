"""Bounds of Bradley-Terry parameters that votes leave open: where one system won every comparison, or nearly.

Under separation the likelihood rises for ever as a strength grows (Ford 1957; Albert & Anderson 1984): the estimate is
finite only by its prior, and every bootstrap sample shows the same, so that a percentile interval has no width. What
the likelihood leaves open has no bound; the other bound is taken from the likelihood itself.

Axes: ``K`` systems, ``P`` distinct ordered pairs, ``B`` bootstrap samples. Parameters [K + 2] as in ``BradleyTerry``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

from annotation.analysis.bradley_terry import BradleyTerry

TAIL = 0.025
PROFILE_LIMIT = float(stats.chi2.ppf(1 - 2 * TAIL, 1))  # 3.84, of a finite maximum
SEPARATED_LIMIT = -2 * math.log(TAIL)  # 7.38: votes as one-sided as these would have probability 2.5 %
VANISHING_PRIOR = 1e-4  # keeps the fit finite in other directions that the votes leave open
FARTHEST = 8.0  # log-odds, 3000 to 1: a bound beyond it says no more than an open side


@dataclass(frozen=True, eq=False)
class Separation:
    """``counts`` [P, 3] of all votes, in the order left, tie, right."""

    model: BradleyTerry
    counts: np.ndarray

    def open_sides(self, contrast: np.ndarray, held: np.ndarray) -> tuple[bool, bool]:
        """Whether contrast · parameters has no lower, no upper bound: whether a direction that changes it never lowers
        the likelihood. A linear program over directions d within [-1, 1], 0 where ``held`` [K + 2], with conditions
        for each outcome seen.
        """
        size = self.model.systems
        box = [(0.0, 0.0) if fixed else (-1.0, 1.0) for fixed in held]
        # Without ties ν stays 0, far below everything else.
        box[-1] = (-3.0, 3.0) if self.counts[:, 1].any() else (-3.0, -3.0)
        if not self.model.with_bias:
            box[size] = (0.0, 0.0)
        conditions = self._conditions
        reached = [
            optimize.linprog(-sign * contrast, conditions, np.zeros(len(conditions)), bounds=box, method="highs").fun
            for sign in (-1, 1)
        ]
        return reached[0] < -1e-6, reached[1] < -1e-6

    @property
    def _conditions(self) -> np.ndarray:
        """Rows r with r · d <= 0. With x = left - right + bias and t = log ν: a left win needs dx >= 0 and
        dt <= dx / 2, a right win the reverse, a tie dt >= |dx| / 2.
        """
        pairs, size = self.model.pairs, self.model.systems
        x = np.zeros((len(pairs), size + 2))
        rows = np.arange(len(pairs))
        np.add.at(x, (rows, pairs[:, 0]), 1.0)
        np.add.at(x, (rows, pairs[:, 1]), -1.0)
        x[:, size] = 1.0
        t = np.zeros(size + 2)
        t[-1] = 1.0
        left, tie, right = (self.counts > 0).T
        lost = [-x[left], t - x[left] / 2, x[right], t + x[right] / 2, x[tie] / 2 - t, -x[tie] / 2 - t]
        return np.vstack(lost)

    def profile_bound(
        self, contrast: np.ndarray, held: np.ndarray, best: np.ndarray, side: int, weight: float, limit: float
    ) -> float:
        """The value of contrast · parameters, below (-1) or above (1) the best, at which the profile likelihood ratio
        reaches ``limit``, with the ``held`` parameters as in ``best``; infinite beyond :data:`FARTHEST`.
        ``weight``: of each vote, below 1 where votes of the same raters and items may not be independent.
        """
        model, counts = replace(self.model, prior=VANISHING_PRIOR), self.counts * weight
        pivot = int(np.argmax(np.abs(contrast)))
        free = ~held
        free[pivot] = False

        def parameters(rest: np.ndarray, value: float) -> np.ndarray:
            whole = best.copy()
            whole[free] = rest
            whole[pivot] = 0.0
            whole[pivot] = (value - contrast @ whole) / contrast[pivot]
            return whole

        def loss(rest: np.ndarray, value: float) -> tuple[float, np.ndarray]:
            lost, slope = model.loss(parameters(rest, value), counts)
            return lost, slope[free] - slope[pivot] * contrast[free] / contrast[pivot]

        def least(value: float) -> float:
            return float(optimize.minimize(loss, best[free], (value,), method="L-BFGS-B", jac=True).fun)

        found = optimize.minimize_scalar(least, bounds=(-FARTHEST, FARTHEST), method="bounded")
        return _where_above(lambda value: 2 * (least(value) - found.fun) - limit, float(found.x), side)


def _where_above(excess: Callable[[float], float], start: float, side: int) -> float:
    """The first place on this side of ``start`` at which the excess, negative there, is 0."""
    near, step = start, 0.5
    while excess(far := near + side * step) < 0:
        if abs(far) > FARTHEST:
            return side * math.inf
        near, step = far, 2 * step
    return float(optimize.brentq(excess, near, far, xtol=1e-4))


def open_in_samples(pairs: np.ndarray, size: int, counts: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Counts [B, P, 3] of resampled votes → [B, 2, K]: whether each system has no lower, no upper bound.

    It has no upper bound where some anchor never beat it, directly or through others, a tie counting both ways; and no
    lower bound where it never so beat some anchor. The bias is left aside.
    """
    beats = np.broadcast_to(np.eye(size, dtype=bool), (len(counts), size, size)).copy()
    left, right = pairs.T
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        won, tied, lost = (counts[:, number] > 0).T
        beats[:, one, other] |= won | tied
        beats[:, other, one] |= lost | tied
    for _ in range(max(math.ceil(math.log2(size)), 1)):
        beats = (beats.astype(np.float32) @ beats.astype(np.float32)) > 0
    needed = anchors[:, None] == anchors[None, :]  # [K, K]: the anchors of each system's own component
    needed &= (anchors >= 0)[None, :]
    below, above = (needed & ~beats).any(axis=2), (needed & ~beats.transpose(0, 2, 1)).any(axis=2)
    undecided: np.ndarray = counts[:, :, [0, 2]].sum(axis=(1, 2)) == 0
    return np.stack([below | undecided[:, None], above | undecided[:, None]], axis=1)
