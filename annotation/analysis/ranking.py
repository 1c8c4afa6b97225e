"""Ranking of systems from paired comparisons: a Bradley-Terry model with ties and position bias.

Axes: ``K`` systems, ``P`` distinct ordered pairs (left, right), ``V`` votes, ``B`` bootstrap samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from annotation.analysis.bradley_terry import BradleyTerry
from annotation.analysis.intervals import TAILS, Interval, by_lower_bound, count_codes, too_few
from annotation.analysis.ratings import require_columns, table_of
from annotation.analysis.separation import PROFILE_LIMIT, SEPARATED_LIMIT, TAIL, Separation, open_in_samples
from emotion_omni.types import EmotionOmniError

LISTED_VOTES = 300  # below it a rank is called preliminary
MINIMUM_VOTES = 30  # below it a rank is not shown
OUTCOMES = ("left", "tie", "right")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Strengths fitted to votes.

    ``table``, by ``low`` in falling order, hidden ones last: ``system``, ``strength`` (log-odds, mean 0 over those not
    hidden; where some never lost or never won against the rest, over the largest group that did both), ``low``,
    ``high`` (``None`` where ``note`` or the row's ``reason`` says why: a side may be open), ``votes``, ``wins``,
    ``ties``, ``status`` ("listed", "preliminary", "hidden"), ``component`` (systems compared with each other, directly
    or through others, share one) and ``reason``. ``tie``: ν of Davidson (1970); between equals a tie has probability
    ν / (2 + ν). ``position_bias``: log-odds that the left side wins between equals.
    """

    table: pd.DataFrame
    tie: float
    position_bias: Interval
    note: str = ""


@dataclass(frozen=True, eq=False)
class Votes:
    """Votes in codes. ``pairs`` [P, 2]: distinct (left, right). Arrays [V]: each vote's pair, outcome, rater, item."""

    systems: list
    pairs: np.ndarray
    pair: np.ndarray
    outcome: np.ndarray
    rater: np.ndarray
    item: np.ndarray

    @classmethod
    def read(cls, votes: pd.DataFrame) -> Votes:
        """Raises :class:`EmotionOmniError` (codes ``columns``, ``missing-values``, ``outcome``, ``no-votes``)."""
        table = require_columns(votes, ("left", "right", "outcome", "rater", "item"), numeric=())
        if table.empty:
            raise EmotionOmniError(
                "There are no votes yet, and a ranking needs at least one. Collect some pairs first.", "no-votes"
            )
        wrong = table["outcome"][~table["outcome"].isin(OUTCOMES)]
        if len(wrong):
            raise EmotionOmniError(f"Unknown outcome {wrong.iloc[0]!r}. Use one of: {', '.join(OUTCOMES)}.", "outcome")
        systems = sorted(pd.concat([table["left"], table["right"]]).unique().tolist(), key=str)
        codes = {system: code for code, system in enumerate(systems)}
        sides = [table[side].map(codes).to_numpy(dtype=np.int64) for side in ("left", "right")]
        pairs, pair = np.unique(np.stack(sides, axis=1), axis=0, return_inverse=True)
        outcome = table["outcome"].map({name: code for code, name in enumerate(OUTCOMES)}).to_numpy(dtype=np.int64)
        clusters = (pd.factorize(table["rater"])[0], pd.factorize(table["item"])[0])
        return cls(systems, pairs, pair.ravel(), outcome, *clusters)

    @cached_property
    def raters(self) -> int:
        return count_codes(self.rater)

    @cached_property
    def items(self) -> int:
        return count_codes(self.item)

    def counts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """→ votes [P, 3] of each pair by outcome, in the order of :data:`OUTCOMES`; ``weights`` [V], 1 if ``None``."""
        cells = np.bincount(self.pair * 3 + self.outcome, weights, minlength=3 * len(self.pairs))
        return cells.reshape(-1, 3).astype(np.float64)

    def tallies(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """→ votes [K], wins [K] and ties [K]; a system against itself counts in none."""
        counts = self.counts() * (self.pairs[:, 0] != self.pairs[:, 1])[:, None]
        votes = counts.sum(axis=1)
        return (
            self._by_system(votes, votes),
            self._by_system(counts[:, 0], counts[:, 2]),
            self._by_system(counts[:, 1], counts[:, 1]),
        )

    def _by_system(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        size = len(self.systems)
        return np.bincount(self.pairs[:, 0], left, size) + np.bincount(self.pairs[:, 1], right, size)

    def components(self) -> np.ndarray:
        """→ [K]: the connected component of the comparison graph to which each system belongs."""
        size = len(self.systems)
        graph = sparse.coo_array((np.ones(len(self.pairs)), self.pairs.T), shape=(size, size))
        return sparse.csgraph.connected_components(graph.tocsr(), directed=False)[1]

    def groups(self) -> np.ndarray:
        """→ [K]: the group of each system within which every system beat every other, directly or through others.

        A tie counts both ways. The strengths within a group have a finite maximum likelihood estimate (Ford 1957).
        """
        size, (left, right) = len(self.systems), self.pairs.T
        won, tied, lost = (self.counts() > 0).T
        edges = [(left[won | tied], right[won | tied]), (right[lost | tied], left[lost | tied])]
        rows, columns = (np.concatenate(ends) for ends in zip(*edges, strict=True))
        graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
        return sparse.csgraph.connected_components(graph.tocsr(), directed=True, connection="strong")[1]

    def independent(self, code: int | None = None) -> float:
        """How much a vote counts at least, when votes of one rater or item may be alike: clusters per vote.

        ``code``: of the votes on this system.
        """
        mine = np.ones(len(self.pair), dtype=bool)
        if code is not None:
            mine = (self.pairs == code).any(axis=1)[self.pair]
        clusters = min(len(np.unique(self.rater[mine])), len(np.unique(self.item[mine])))
        return min(clusters / max(int(mine.sum()), 1), 1.0)

    def identify_bias(self) -> bool:
        """Whether position bias and strengths can be separated: not if one system is always on the same side."""
        contrasts = np.zeros((len(self.pairs), len(self.systems)))
        rows = np.arange(len(self.pairs))
        np.add.at(contrasts, (rows, self.pairs[:, 0]), 1.0)
        np.add.at(contrasts, (rows, self.pairs[:, 1]), -1.0)
        with_bias = np.column_stack([contrasts, np.ones(len(rows))])
        return bool(np.linalg.matrix_rank(with_bias) > np.linalg.matrix_rank(contrasts))


def rank(
    ratings: pd.DataFrame, bootstrap: int = 300, seed: int = 0, minimum: int = MINIMUM_VOTES, prior: float = 2.0
) -> Ranking:
    """Strengths of systems (:class:`BradleyTerry`) from blind pairs, with bootstrap intervals.

    ``ratings``: columns ``left``, ``right`` (systems), ``outcome`` (left, right or tie), ``rater``, ``item``.
    Intervals: percentiles of a crossed bootstrap, raters and items resampled independently (Owen 2007, "The
    pigeonhole bootstrap"), which tends to be too wide rather than too narrow; :mod:`separation` where systems won or
    lost all comparisons, or nearly all. Systems with fewer than ``minimum`` votes are hidden. Raises
    :class:`EmotionOmniError` as :meth:`Votes.read`.
    """
    votes = Votes.read(ratings)
    size, component, with_bias = len(votes.systems), votes.components(), votes.identify_bias()
    model = BradleyTerry(votes.pairs, size, prior, with_bias)
    best = model.fit(votes.counts())
    samples = _bootstrap(model, votes, best, bootstrap, seed)
    anchors = _anchors(votes, component, minimum)
    strengths = _centered(best[:size], component, anchors)
    tie = float(np.exp(best[-1])) if (votes.outcome == 1).any() else 0.0
    reason = too_few(votes.raters, votes.items) or ("" if len(samples.fits) > 1 else "no bootstrap was asked for")
    bounds = None if reason else _Bounds(model, votes, best, samples, component, anchors)
    table = _table(votes, strengths, bounds, component, minimum)
    return Ranking(
        table, tie, _position_bias(votes, bounds, best[size], with_bias, reason), _note(votes, component, reason)
    )


@dataclass(frozen=True, eq=False)
class _Samples:
    """``fits`` [B, K + 2] to resampled votes, and these votes, ``counts`` [B, P, 3]."""

    fits: np.ndarray
    counts: np.ndarray


def _bootstrap(model: BradleyTerry, votes: Votes, best: np.ndarray, bootstrap: int, seed: int) -> _Samples:
    """None with fewer than 2 raters or 2 items.

    The weight of a vote is the product of how often its rater and its item were sampled. Samples without any vote
    are left out.
    """
    generator = np.random.default_rng(seed)
    fits, sampled = [], []
    for _ in range(bootstrap if min(votes.raters, votes.items) > 1 else 0):
        raters, items = (
            generator.multinomial(count, np.full(count, 1 / count)) for count in (votes.raters, votes.items)
        )
        counts = votes.counts(raters[votes.rater] * items[votes.item])
        if counts.any():
            fits.append(model.fit(counts, best))
            sampled.append(counts)
    shape = (len(fits), len(votes.pairs), 3)
    return _Samples(np.array(fits).reshape(len(fits), len(best)), np.array(sampled).reshape(shape))


Bounds = tuple[float | None, float | None, str]  # low, high, why a side is open


class _Bounds:
    """Intervals of strengths and of the bias: bootstrap percentiles, unless a side is open or nearly so."""

    def __init__(
        self,
        model: BradleyTerry,
        votes: Votes,
        best: np.ndarray,
        samples: _Samples,
        component: np.ndarray,
        anchors: np.ndarray,
    ) -> None:
        self.votes, self.best, self.samples = votes, best, samples
        self.component, self.anchors, self.size = component, anchors, model.systems
        self.separation = Separation(model, votes.counts())
        centered = [_centered(fit[: self.size], component, anchors) for fit in samples.fits]
        self.percentiles = np.quantile(np.array(centered), TAILS, axis=0)  # [2, K]
        marked = np.where(anchors > 0, component, -1 - component)
        self.often_open = open_in_samples(model.pairs, self.size, samples.counts, marked).mean(axis=0) > TAIL

    def strength(self, code: int) -> Bounds:
        """``code``: of the system."""
        contrast = np.zeros(self.size + 2)
        mine = (self.component == self.component[code]) * self.anchors
        contrast[: self.size] -= mine / mine.sum()
        contrast[code] += 1.0
        if not contrast.any():  # the only anchor: it is 0 by definition
            return float(self.percentiles[0, code]), float(self.percentiles[1, code]), ""
        if any(self._bias_alone):  # all fits equally well, with any strengths, if the side alone decides
            return None, None, _why_open(True, True)
        only_bias = np.arange(self.size + 2) == self.size
        never = self.separation.open_sides(contrast, only_bias)
        return self._bounds(contrast, only_bias, self.percentiles[:, code], never, self.often_open[:, code], code)

    def bias(self) -> Bounds:
        contrast = (np.arange(self.size + 2) == self.size).astype(float)
        nothing, strengths = np.zeros(self.size + 2, dtype=bool), np.arange(self.size + 2) < self.size
        if any(self.separation.open_sides(contrast, nothing)) and not any(self._bias_alone):
            return None, None, "the votes are too one-sided to tell side and system apart"
        percentiles = np.quantile(self.samples.fits[:, self.size], TAILS)
        return self._bounds(contrast, strengths, percentiles, self._bias_alone, np.zeros(2, dtype=bool))

    @cached_property
    def _bias_alone(self) -> tuple[bool, bool]:
        """Whether the bias has no lower, no upper bound, whatever the strengths: one side of the page always won."""
        contrast = (np.arange(self.size + 2) == self.size).astype(float)
        return self.separation.open_sides(contrast, np.arange(self.size + 2) < self.size)

    def _bounds(
        self,
        contrast: np.ndarray,
        held: np.ndarray,
        percentiles: np.ndarray,
        never: tuple[bool, bool],
        often: np.ndarray,
        code: int | None = None,
    ) -> Bounds:
        """``never``: the sides that are open; ``often``: those open in more samples than may lie beyond a bound."""
        weight, found = self.votes.independent(code), list[float | None]()
        for side, percentile in enumerate(map(float, percentiles)):
            if never[side]:
                found.append(None)
            elif never[1 - side] or often[side]:
                limit = SEPARATED_LIMIT if never[1 - side] else PROFILE_LIMIT
                bound = self.separation.profile_bound(contrast, held, self.best, 2 * side - 1, weight, limit)
                found.append(bound if math.isfinite(bound) else None)
            else:
                found.append(percentile)
        return found[0], found[1], _why_open(found[0] is None, found[1] is None)


def _why_open(below: bool, above: bool) -> str:
    if below and above:
        return "the votes leave both sides open"
    if above:
        return "no upper bound: the votes fit any greater value as well, or nearly"
    return "no lower bound: the votes fit any smaller value as well, or nearly" if below else ""


def _anchors(votes: Votes, component: np.ndarray, minimum: int) -> np.ndarray:
    """→ [K]: 1.0 for the systems whose mean is 0: those with enough votes, or all where a component has none.

    A new system with three votes must not move the zero, or the intervals of all others would widen with its own. Nor
    must one that never lost: of its component, the largest of :meth:`Votes.groups` is taken.
    """
    enough = votes.tallies()[0] >= minimum
    anchors = np.where(np.bincount(component, enough)[component] > 0, enough, True).astype(np.float64)
    groups = votes.groups()
    members = np.bincount(groups, anchors)[groups] * (anchors > 0)  # anchors in the group of each anchor
    for part in range(component.max() + 1):
        mine = np.flatnonzero(component == part)
        if members[mine].max() >= 2:
            largest = groups[mine[members[mine].argmax()]]
            anchors[mine] *= groups[mine] == largest
    return anchors


def _centered(strengths: np.ndarray, component: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Mean 0 over the anchors of each component: votes say nothing about differences between components."""
    return strengths - (np.bincount(component, strengths * anchors) / np.bincount(component, anchors))[component]


def _table(
    votes: Votes, strengths: np.ndarray, bounds: _Bounds | None, component: np.ndarray, minimum: int
) -> pd.DataFrame:
    alone = np.bincount(component)[component] == 1
    counts, wins, ties = votes.tallies()
    rows = []
    for code, system in enumerate(votes.systems):
        low, high, why = (None, None, "") if bounds is None or alone[code] else bounds.strength(code)
        figures = (float(strengths[code]), low, high, int(counts[code]), int(wins[code]), int(ties[code]))
        rows.append((system, *figures, _status(counts[code], minimum), int(component[code]), why))
    rows.sort(key=lambda row: (row[7] == "hidden", *by_lower_bound(row[2], row[1])))
    columns = ["system", "strength", "low", "high", "votes", "wins", "ties", "status", "component", "reason"]
    return table_of(rows, columns, ["low", "high"])


def _status(votes: float, minimum: int) -> str:
    if votes < minimum:
        return "hidden"
    return "preliminary" if votes < LISTED_VOTES else "listed"


def _position_bias(votes: Votes, bounds: _Bounds | None, best: float, identified: bool, reason: str) -> Interval:
    """``best``: the fitted bias."""
    counts, method = (len(votes.pair), votes.raters, votes.items), "crossed bootstrap"
    if not identified:
        reason = "the sides were never swapped, so side and system cannot be told apart; none is assumed"
        return Interval(None, None, None, None, *counts, method, reason)
    if bounds is None:
        return Interval(float(best), None, None, None, *counts, method, reason)
    low, high, why = bounds.bias()
    if low is None and high is None:
        return Interval(float(best), None, None, None, *counts, method, why)
    se = None if why else float(bounds.samples.fits[:, bounds.size].std(ddof=1))
    return Interval(float(best), low, high, se, *counts, method, note=why)


def _note(votes: Votes, component: np.ndarray, reason: str) -> str:
    """What a reader of the table must know: no intervals, nothing to compare, or groups that were never compared."""
    notes = [f"No intervals: {reason}."] if reason else []
    parts = [
        [str(votes.systems[code]) for code in np.flatnonzero(component == part)] for part in range(component.max() + 1)
    ]
    if len(votes.systems) == 1:
        notes.append(f"Only one system, {parts[0][0]}: there is nothing to rank it against.")
    elif len(parts) > 1:
        groups = "; ".join(", ".join(part) for part in parts)
        notes.append(
            f"Never compared with each other, directly or through others: {groups}. "
            "Strengths compare within a group only."
        )
    return " ".join(notes)
