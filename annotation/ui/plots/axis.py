"""Axes: from values to per cent of the width, ticks at round numbers, labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TICKS = 5


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Per cent of the way from low to high, limited to the axis."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


def axis_between(low: float, high: float) -> Axis:
    """Ticks at multiples of 1, 2, 2.5 or 5 times a power of ten, about five of them."""
    if not low < high:
        raise ValueError(f"An axis runs from a lower to a higher number, not from {low} to {high}.")
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(index * step for index in range(first, last + 1)))


def _step(low: float, high: float) -> float:
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))


def axis_around(values: Sequence[float]) -> Axis:
    """An axis from tick to tick that contains every value; from -1 to 1 if there are none."""
    low, high = (min(values), max(values)) if values else (-1.0, 1.0)
    if high == low:
        low, high = low - 1, high + 1
    step = _step(low, high)
    return axis_between(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def tick_text(value: float) -> str:
    return f"{round(value, 9) + 0.0:,.10g}"


def spread(positions: list[float]) -> list[float]:
    """Ascending values → per cent of the width: the first at 0, the last at 100; a single one at 50."""
    low, high = positions[0], positions[-1]
    return [100 * (position - low) / (high - low) if high > low else 50.0 for position in positions]


def without_overlap(labels: list[tuple[float, str]], gap: float) -> list[tuple[float, str]]:
    """The labels at least ``gap`` per cent apart: the first, the last, and those between that have room."""
    kept = labels[:1]
    for label in labels[1:-1]:
        if label[0] - kept[-1][0] >= gap and labels[-1][0] - label[0] >= gap:
            kept.append(label)
    return kept + labels[1:][-1:]
