"""Charts for reports, as SVG text that follows the page's colors (``currentColor`` and the CSS variables of the page).

Knows nothing of what is measured. Values are shares from 0 to 1 on both axes unless said. A chart scales with the page;
its letters stay readable at 360 px because the drawing is that narrow itself.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 30
SERIES_COLORS = ("#2f80d0", "#d9730d", "#16957a", "#c2649a", "#8f6fd6", "#85898f", "#b59a00", "#5b8c2a", "#d0453f")
BAR = 24  # height of a row
LONGEST_LABEL = 18  # letters beside a row


def line_chart(ticks: Sequence[str], lines: Mapping[str, Sequence[float | None]], summary: str) -> str:
    """Values at equally spaced ticks, one line for each name, with a legend below."""
    step = (WIDTH - LEFT - RIGHT) / max(1, len(ticks) - 1)
    parts = [_grid()]
    for index, tick in enumerate(ticks):
        parts.append(_text(LEFT + index * step, HEIGHT - BOTTOM + 14, tick))
    for number, values in enumerate(lines.values()):
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        points = [(LEFT + index * step, _y(value)) for index, value in enumerate(values) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in points]
    return _svg("".join(parts), summary) + _legend(list(lines))


def reliability_chart(bins: Sequence[Mapping[str, float]], summary: str) -> str:
    """Accuracy over confidence; the area of a dot is its share of the answers, the diagonal is truth."""
    total = sum(one["answers"] for one in bins) or 1
    inner = WIDTH - LEFT - RIGHT
    parts = [_grid(), _line(LEFT, _y(0), WIDTH - RIGHT, _y(1), 'stroke-dasharray="4 4"')]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_text(LEFT + tick * inner, HEIGHT - BOTTOM + 14, f"{tick:g}"))
    for one in bins:
        x, y, radius = LEFT + one["confidence"] * inner, _y(one["accuracy"]), 2.5 + 14 * (one["answers"] / total) ** 0.5
        title = f"confidence {one['confidence']:.2f}, right {one['accuracy']:.2f}, {one['answers']:.0f} answers"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{SERIES_COLORS[0]}" fill-opacity=".6">'
            f"<title>{title}</title></circle>"
        )
    return _svg("".join(parts), summary)


def interval_chart(rows: Sequence[tuple[str, float, float | None, float | None]], summary: str) -> str:
    """A labelled row for each (name, value, low, high)."""
    start, inner = 118, WIDTH - 118 - 40
    height = BAR * len(rows) + 22
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = start + tick * inner
        parts += [_line(x, 0, x, height - 20, 'stroke-opacity=".2"'), _text(x, height - 6, f"{tick:g}")]
    for index, (name, value, low, high) in enumerate(rows):
        y = BAR * index + BAR / 2
        shown = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
        parts.append(_text(start - 6, y + 4, shown, "end"))
        if low is not None and high is not None:
            parts.append(_line(start + low * inner, y, start + high * inner, y, 'stroke-width="2"'))
        parts.append(f'<circle cx="{start + value * inner:.1f}" cy="{y:.1f}" r="4.5" fill="{SERIES_COLORS[0]}"/>')
        parts.append(_text(WIDTH - 2, y + 4, f"{value:.3f}", "end"))
    return _svg("".join(parts), summary, height)


Interval = tuple[float, float | None, float | None]  # value, low, high


def comparison_chart(rows: Sequence[tuple[str, str, Interval, Interval | None]], summary: str) -> str:
    """For each (title, text on the right, child, parent): a line of words, below it the child's value with its interval
    and, hollow, the parent's."""
    step, inner = 44, WIDTH - 16
    height = step * len(rows) + 18
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = 8 + tick * inner
        parts += [_line(x, 14, x, height - 16, 'stroke-opacity=".15"'), _text(x, height - 4, f"{tick:g}")]
    for index, (title, text, child, parent) in enumerate(rows):
        top = step * index
        parts += [_text(8, top + 12, title, "start"), _text(WIDTH - 8, top + 12, text, "end")]
        parts.append(_dot(child, 8, inner, top + 23, f'fill="{SERIES_COLORS[0]}"', SERIES_COLORS[0]))
        if parent is not None:
            hollow = f'fill="var(--ground)" stroke="{SERIES_COLORS[1]}" stroke-width="2"'
            parts.append(_dot(parent, 8, inner, top + 34, hollow, SERIES_COLORS[1]))
    return _svg("".join(parts), summary, height)


def _dot(found: Interval, start: float, inner: float, y: float, look: str, color: str) -> str:
    value, low, high = found
    parts = []
    if low is not None and high is not None:
        ends = (start + min(1.0, max(0.0, end)) * inner for end in (low, high))
        x1, x2 = ends
        parts.append(
            f'<line x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}" stroke="{color}" stroke-width="3" '
            'stroke-opacity=".45" stroke-linecap="round"/>'
        )
    x = start + min(1.0, max(0.0, value)) * inner
    return "".join([*parts, f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {look}/>'])


def _y(value: float) -> float:
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)


def _grid() -> str:
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_line(LEFT, _y(tick), WIDTH - RIGHT, _y(tick), 'stroke-opacity=".2"'))
        parts.append(_text(LEFT - 5, _y(tick) + 4, f"{tick:g}", "end"))
    return "".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" {more}/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="currentColor">'
        f"{html.escape(text)}</text>"
    )


def _svg(inner: str, summary: str, height: float = HEIGHT) -> str:
    label = html.escape(summary, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}">{inner}</svg>'


def _legend(names: Sequence[str]) -> str:
    keys = "".join(
        f'<span><i style="background:{SERIES_COLORS[index % len(SERIES_COLORS)]}"></i>{html.escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{keys}</p>'
