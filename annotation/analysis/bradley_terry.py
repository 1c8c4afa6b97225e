"""The Bradley-Terry model of paired comparisons: its loss and its fit.

Axes: ``K`` systems, ``P`` distinct ordered pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """Bradley & Terry (1952) with ties as in Davidson (1970) and position bias as in Davidson & Beaver (1977).

    With strengths s, left bias b and x = s(left) - s(right) + b, the outcomes left : tie : right have weights
    e^(x/2) : ν : e^(-x/2). This is Davidson & Beaver's model with their ν times the square root of their bias, so
    that swapping the sides only changes the sign of b. A system against itself informs only b and ν.

    Penalty: ``prior`` virtual votes of each system with one of mean strength, half won and half lost, keep the
    strength of an unbeaten system finite; the bias has the same, ν one virtual vote for each outcome between equals.
    Without any tie ν is 0.

    ``pairs`` [P, 2]: codes (left, right) of ``systems`` systems. Parameters [K + 2]: strengths, bias (0 unless
    ``with_bias``), log ν (meaningless without ties).
    """

    pairs: np.ndarray
    systems: int
    prior: float
    with_bias: bool

    def fit(self, counts: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
        """Counts [P, 3] → parameters [K + 2]. The loss is convex, so every start leads to the same minimum."""
        start = np.zeros(self.systems + 2) if start is None else start
        options = {"ftol": 1e-12, "gtol": 1e-7}
        return optimize.minimize(self.loss, start, (counts,), method="L-BFGS-B", jac=True, options=options).x

    def loss(self, parameters: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log posterior and its gradient. A virtual vote costs log(e^(s/2) + e^(-s/2))."""
        size, pairs, prior = self.systems, self.pairs, self.prior
        log_tie, votes, ties = parameters[-1], counts.sum(axis=1), counts[:, 1].sum()
        tie = math.exp(log_tie) if ties else 0.0
        half = (parameters[pairs[:, 0]] - parameters[pairs[:, 1]] + parameters[size]) / 2
        lead = counts[:, 0] - counts[:, 2]
        log_total = _log_total(half, tie)
        tied = tie * np.exp(-log_total)  # the probability of a tie
        penalized = parameters[:-1] / 2
        loss = votes @ log_total - lead @ half + prior * np.logaddexp(penalized, -penalized).sum()
        pull = (votes * np.tanh(half) * (1 - tied) - lead) / 2
        gradient = np.append(prior / 2 * np.tanh(penalized), 0.0)
        gradient[:size] += np.bincount(pairs[:, 0], pull, size) - np.bincount(pairs[:, 1], pull, size)
        gradient[size] = gradient[size] + pull.sum() if self.with_bias else 0.0
        if ties:
            loss += prior * (math.log(2 + tie) - log_tie / 3) - ties * log_tie
            gradient[-1] = prior * (tie / (2 + tie) - 1 / 3) + votes @ tied - ties
        return float(loss), gradient


def _log_total(half: np.ndarray, tie: float) -> np.ndarray:
    """log(e^half + e^-half + tie), without overflow."""
    decided = np.logaddexp(half, -half)
    return decided + np.log1p(tie * np.exp(-decided))
