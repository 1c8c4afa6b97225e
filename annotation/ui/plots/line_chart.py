"""A line over an axis: SVG stretched to the width, with labels in HTML.

Text inside a scaled drawing would be unreadable on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotation.ui.plots.axis import Axis, tick_text
from annotation.ui.plots.figure import escape

_SHORT_NAME = 5  # letters; such a label can be centered under the end of an axis


def line_chart_html(
    xs: list[float],
    values: Sequence[float | None],
    names: list[str],
    axis: Axis,
    labels: list[tuple[float, str]],
    aim: float | None = None,
) -> str:
    """``xs`` and the positions of ``labels``: per cent of the width. ``aim``: a dashed horizontal line."""
    lines = "".join(
        f'<span class="chart-line" style="bottom:{axis.at(tick):.2f}%"><b>{tick_text(tick)}</b></span>'
        for tick in axis.ticks
    )
    if aim is not None:
        lines += f'<span class="plot-aim" style="bottom:{axis.at(aim):.2f}%"></span>'
    known = [(x, value, name) for x, value, name in zip(xs, values, names, strict=True) if value is not None]
    dots = "".join(
        f'<span class="chart-dot" style="left:{x:.2f}%;bottom:{axis.at(value):.2f}%" '
        f'title="{escape(name)}: {value:,.4g}"></span>'
        for x, value, name in known
    )
    below = "".join(
        f'<span class="{_edge(x, name, len(labels))}" style="left:{x:.2f}%">{escape(name)}</span>' for x, name in labels
    )
    drawing = (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{_path(xs, values, axis)}"></path></svg>'
    )
    return (
        f'<div class="chart"><div class="chart-area">{lines}{drawing}{dots}</div>'
        f'<div class="chart-below">{below}</div></div>'
    )


def _path(xs: list[float], values: Sequence[float | None], axis: Axis) -> str:
    """SVG path data in a square of 100; a missing value interrupts the line."""
    steps, down = [], False
    for x, value in zip(xs, values, strict=True):
        if value is not None:
            steps.append(f"{'L' if down else 'M'}{x:.2f} {100 - axis.at(value):.2f}")
        down = value is not None
    return "".join(steps)


def _edge(x: float, name: str, labels: int) -> str:
    """CSS class of a label: at an end it is aligned with the end to stay on the page; between, a phone hides it."""
    if len(name) <= _SHORT_NAME or labels == 1:
        return "amid"
    if x < 1:
        return "from"
    return "until" if x > 99 else "between"
