"""The HTML that the pictures share: a figure with its summary and its numbers, rows with a track, the legend.

``plots.css`` lays it out. Arguments are text and are escaped here, unless they are named as HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from annotation.ui.plots.axis import Axis, tick_text
from annotation.ui.plots.values import number_of


def escape(text: str) -> str:
    return html.escape(text, quote=True)


def bar_html(style: str, row: Any, low: str, high: str, axis: Axis) -> str:
    """A bar from one field to the other; an end outside the axis is drawn as a point."""
    start, end = number_of(row, low), number_of(row, high)
    if start is None or end is None:
        return ""
    cut = (" cut-low" if start < axis.low else "") + (" cut-high" if end > axis.high else "")
    left, right = axis.at(start), axis.at(end)
    return f'<span class="{style}{cut}" style="left:{left:.2f}%;width:{right - left:.2f}%"></span>'


def mark_html(style: str, value: float | None, axis: Axis) -> str:
    if value is None or not axis.contains(value):
        return ""  # at the edge it would show a wrong value; the number beside it is right
    return f'<span class="{style}" style="left:{axis.at(value):.2f}%"></span>'


def row_html(label: str, axis: Axis, marks: str, value: str, size: str, why: str = "", badge: str = "") -> str:
    """A labelled row. ``marks`` and ``badge`` are HTML; without marks the reason takes the place of the track."""
    words = f'<span class="plot-value"><span>{escape(value)}</span><span>{escape(size)}</span></span>'
    head = f'<div class="plot-row"><span class="plot-label">{escape(label)}{badge}</span>'
    if not marks:
        return f'{head}<span class="plot-why alone">{escape(why)}</span>{words}</div>'
    note = f'<span class="plot-why">{escape(why)}</span>' if why else ""
    return f'{head}<span class="plot-track">{_grid(axis)}{marks}</span>{words}{note}</div>'


def _grid(axis: Axis) -> str:
    zero = f'<span class="plot-zero" style="left:{axis.at(0):.2f}%"></span>' if axis.low < 0 < axis.high else ""
    return "".join(f'<span class="plot-grid" style="left:{axis.at(tick):.2f}%"></span>' for tick in axis.ticks) + zero


def axis_row_html(axis: Axis, unit: str = "", under: str = "") -> str:
    ticks = "".join(
        f'<span class="plot-tick" style="left:{axis.at(tick):.2f}%">{tick_text(tick)}</span>' for tick in axis.ticks
    )
    return (
        f'<div class="plot-row plot-axis"><span></span><span class="plot-track">{ticks}</span>'
        f'<span class="plot-unit">{escape(unit)}</span></div>{under}'
    )


def legend_html(*keys: tuple[str, str]) -> str:
    """``keys``: (CSS class, text). Each sample is drawn with the class of the mark it explains."""
    samples = "".join(
        f'<span class="plot-key"><span class="plot-sample"><span class="{style}"></span></span>{escape(words)}</span>'
        for style, words in keys
    )
    return f'<div class="plot-legend">{samples}</div>'


def figure_html(title: str, summary: str, picture: str, names: Sequence[str], numbers: Iterable[Sequence[str]]) -> str:
    """``picture`` is HTML, all else is text. The table is outside the image, so that screen readers reach it."""
    heading = f'<figcaption class="plot-title">{escape(title)}</figcaption>' if title else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in numbers)
    return (
        f'<figure class="plot">{heading}'
        f'<div class="plot-picture" role="img" aria-label="{escape(summary.strip())}">{picture}</div>'
        '<details class="plot-numbers"><summary>Show the numbers</summary><div class="plot-scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details></figure>"
    )


def empty_html(message: str) -> str:
    return f'<div class="empty">{escape(message)}</div>'
