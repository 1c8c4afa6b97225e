"""The variance of a mean, or of a difference of two means, of ratings that raters and items share.

Raters and items are crossed, not nested, and their loads may differ. :class:`CrossedDesign` holds what depends on who
rated what; its estimates take values with any leading axes, which are simulated studies.

Axes: ``N`` ratings, ``G`` clusters (raters or items), ``...`` leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

Codes = np.ndarray  # [N], from 0


@dataclass(frozen=True, eq=False)
class Estimate:
    """Arrays [...]. ``freedom``: Satterthwaite's degrees of freedom of the variance."""

    value: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray


@dataclass(frozen=True, eq=False)
class CrossedDesign:
    """Codes of each rating's rater [N] and item [N]; ``is_first`` [N]: its arm, where two means are compared.

    Working model of a rating within an arm: value = mean + rater + item + error, with variances θ = (θr, θi, θe). The
    estimates are sound, though less sharp, where it does not hold: they are built from sums over clusters, as in
    Cameron, Gelbach & Miller (2011), "Robust inference with multiway clustering".

    With the influence u of each rating on the estimate and sums of squares Q over raters, items and cells,
    Q_k = sum_g (sum of u in g)^2, the expectation of Q is E θ and the variance of the estimate is v · θ. So

        variance = c · Q  with  E' c = v

    is unbiased under the working model, whatever the loads: with equal loads c is near (1, 1, -1). ``freedom`` is
    Satterthwaite's (1946), from the three parts and their own degrees of freedom; those of raters and items are Bell
    & McCaffrey's (2002) for the clusters' loads, with the variance of each cluster's sum from the estimated θ.
    """

    raters: Codes
    items: Codes
    is_first: np.ndarray | None = None

    @property
    def size(self) -> int:
        return len(self.raters)

    @cached_property
    def cells(self) -> Codes:
        return np.unique(self.raters.astype(np.int64) * (self.items.max() + 1) + self.items, return_inverse=True)[1]

    @cached_property
    def arms(self) -> list[np.ndarray]:
        """The positions of each arm's ratings; one arm where a mean is estimated."""
        if self.is_first is None:
            return [np.arange(self.size)]
        return [np.flatnonzero(self.is_first), np.flatnonzero(~self.is_first)]

    @cached_property
    def effective(self) -> tuple[float, float]:
        """Effective numbers of raters and items, N² / sum_g n_g² (Kish 1965): all of them if their loads are equal."""
        raters, items = (self.size**2 / np.square(np.bincount(codes).astype(float)).sum() for codes in self._clusters)
        return float(raters), float(items)

    def estimate(self, values: np.ndarray, floor: float = 1.1) -> Estimate:
        """Values [..., N] → the mean, or the mean of the first arm minus that of the second.

        In small studies c · Q can be near zero or negative by chance. It is at least the smallest of Q, and at least
        ``floor`` times that where the error variance is no smaller. The best ``floor`` was found by simulation.
        """
        value, influence = self.value_and_influence(values)
        clusters = (*self._clusters, self.cells)
        squares = np.stack([self.sums_of_squares(influence, codes) for codes in clusters])  # Q [3, ...]
        weighted = np.tensordot(np.diag(self._weights), squares, 1)  # c_k Q_k
        theta = np.maximum(np.tensordot(self._inverse, squares, 1), 0.0)
        theta[2] = np.maximum(theta[2], 1e-12 * squares[2])
        smallest, error = squares.min(axis=0), theta[2] * self._true[2]
        least = np.maximum(smallest, np.minimum(error, floor * smallest))
        variance = np.maximum(weighted.sum(axis=0), least)
        return Estimate(value, variance, self._freedom(variance, weighted, theta))

    def value_and_influence(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """→ the estimate [...] and each rating's influence on it [..., N], (x - mean of its arm) / size of its arm."""
        total, influence = np.zeros(values.shape[:-1]), np.empty(values.shape)
        for arm, sign in zip(self.arms, (1, -1), strict=False):
            mean = values[..., arm].mean(axis=-1)
            total = total + sign * mean
            influence[..., arm] = sign * (values[..., arm] - mean[..., None]) / len(arm)
        return total, influence

    # -- what the design alone decides

    @property
    def _clusters(self) -> tuple[Codes, Codes]:
        return self.raters, self.items

    @cached_property
    def _expected(self) -> np.ndarray:
        """E [3, 3]: Q of raters, items, cells for a unit variance of rater, item, error."""
        groups = int(self.cells.max()) + 1
        owner = [np.zeros(groups, dtype=np.intp) for _ in self._clusters]  # the rater and the item of each cell
        for of_cell, codes in zip(owner, self._clusters, strict=True):
            of_cell[self.cells] = codes
        return np.sum([self._expected_in(arm, *owner) for arm in self.arms], axis=0)

    def _expected_in(self, arm: np.ndarray, rater: Codes, item: Codes) -> np.ndarray:
        """The part of one arm. Entry g, h: sum_gh ((n_gh - n_g n_h / n) / n)², n_gh the ratings of group g that share
        effect h. ``rater``, ``item``: of each cell.
        """
        n = len(arm)
        cells = np.bincount(self.cells[arm], minlength=len(rater)).astype(float)
        raters, items = np.bincount(rater, cells), np.bincount(item, cells)
        groups = ((raters, raters[rater]), (items, items[item]), (cells, cells))  # n_g of each group, of each cell

        def entry(shared: np.ndarray, g: np.ndarray, h: np.ndarray, squares: float) -> float:
            return float((np.square(shared).sum() - 2 / n * (shared * g) @ h + squares / n**2) / n**2)

        found = np.empty((3, 3))
        for k, (of_group, g) in enumerate(groups):
            for j, (of_effect, h) in enumerate(groups[:2]):
                squares = (of_group @ of_group) * (of_effect @ of_effect)
                found[k, j] = entry(of_group, of_group, of_group, squares) if k == j else entry(cells, g, h, squares)
            found[k, 2] = (n - of_group @ of_group / n) / n**2  # every rating has an error of its own
        return found

    @cached_property
    def _true(self) -> np.ndarray:
        """v [3]: the variance of the estimate for a unit variance of rater, item, error."""
        effects = (*self._clusters, np.arange(self.size))
        return np.array([sum(np.square(_loads(codes[a])).sum() for a in self.arms) for codes in effects])

    @cached_property
    def _inverse(self) -> np.ndarray:
        """Not every design can tell the three apart: where each rater rates once, rater and error are one."""
        return np.linalg.pinv(self._expected, rcond=1e-10)

    @cached_property
    def _weights(self) -> np.ndarray:
        return self._inverse.T @ self._true

    # -- degrees of freedom

    def _freedom(self, variance: np.ndarray, weighted: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Satterthwaite's approximation, at least that of the scarcer clusters.

        With few clusters the estimated θ make it too small on average, and t is steep there: it is moved towards the
        degrees of freedom of the three components taken alone, the more the fewer there are.
        """
        own = [
            self._cluster_freedom(codes, theta[k], theta[1 - k] + theta[2]) for k, codes in enumerate(self._clusters)
        ]
        rest = max(int(self.cells.max()) + 2 - sum(int(codes.max()) + 1 for codes in self._clusters), 1)
        scarcer = np.minimum(*own)
        parts = theta * self._true.reshape(-1, *[1] * (theta.ndim - 1))
        combined = np.maximum(_satterthwaite(variance, weighted, (*own, rest)), scarcer)
        components = _satterthwaite(parts.sum(axis=0), parts, (*own, rest))
        share = np.minimum(0.3 / scarcer, 0.4)
        return np.maximum(components**share * combined ** (1 - share), 1.0)

    def _cluster_freedom(self, codes: Codes, effect: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Of the sum of squares over clusters, whose sums have variance d = effect p² + error p / n [..., G].

        The sums are of deviations from the mean, so that their covariance is M = (I - p 1') D (I - 1 p'), p the loads;
        2 tr(M)² / (2 tr(M²)) is expanded so that no G by G matrix is made.
        """
        groups = int(codes.max()) + 1
        by_arm = [np.bincount(codes[arm], minlength=groups) / len(arm) for arm in self.arms]
        squared = sum(np.square(loads) for loads in by_arm)
        shared = sum(loads / len(arm) for loads, arm in zip(by_arm, self.arms, strict=True))
        d = effect[..., None] * squared + error[..., None] * shared
        p = np.bincount(codes, minlength=groups) / self.size
        total, along, length = d.sum(axis=-1), d @ p, p @ p
        trace = total - 2 * along + length * total
        squares = np.square(d).sum(axis=-1)
        crossed = 2 * np.square(d) @ p - total * (d @ p**2)
        outer = 2 * along**2 + 2 * length * squares + total**2 * length**2 - 4 * total * along * length
        return np.maximum(trace**2 / np.maximum(squares - 2 * crossed + outer, 1e-300), 0.5)

    @staticmethod
    def sums_of_squares(influence: np.ndarray, codes: Codes) -> np.ndarray:
        """Influence [..., N] → the sum over clusters g of (sum of the influence in g)² [...]."""
        membership = sparse.csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)))
        return np.square(influence @ membership).sum(axis=-1)


def _satterthwaite(total: np.ndarray, parts: np.ndarray, freedom: Sequence[np.ndarray | int]) -> np.ndarray:
    spread = sum(np.square(part) / own for part, own in zip(parts, freedom, strict=True))
    return np.square(total) / np.maximum(spread, 1e-300)


def _loads(codes: Codes) -> np.ndarray:
    """The share of the ratings that each cluster has."""
    return np.bincount(codes) / len(codes)
