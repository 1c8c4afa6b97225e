"""A study in a few numbers."""

from __future__ import annotations

from collections.abc import Iterable

from annotation.ui.plots.figure import empty_html, escape, figure_html
from annotation.ui.plots.values import as_text, finite, sentence


def stat_tiles(items: Iterable[tuple[str, object, str]]) -> str:
    """``items``: (label, value, hint). A value that is neither text nor a finite number is written as a dash."""
    tiles = [(as_text(label), _tile_value(value), as_text(hint)) for label, value, hint in items]
    if not tiles:
        return empty_html("No numbers yet. They appear here once the study has begun.")
    body = "".join(
        f'<div class="tile"><span class="tile-label">{escape(label)}</span>'
        f'<span class="tile-value">{escape(value)}</span><span class="plot-quiet">{escape(hint)}</span></div>'
        for label, value, hint in tiles
    )
    summary = "The study in numbers. " + sentence(f"{label}: {value}" for label, value, _ in tiles)
    return figure_html("", summary, f'<div class="tiles">{body}</div>', ("", "value", "meaning"), tiles)


def _tile_value(value: object) -> str:
    if isinstance(value, str):
        return value
    number = finite(value)
    if number is None:
        return "–"
    return f"{number:,.10g}" if number.is_integer() else f"{number:,.2f}"
