"""Counts over time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from annotation.ui.plots.axis import axis_around, spread, without_overlap
from annotation.ui.plots.figure import empty_html, escape, figure_html
from annotation.ui.plots.line_chart import line_chart_html
from annotation.ui.plots.values import as_text, finite

_WORDS_GAP = 46.0  # per cent of the width between two labels, so that they fit on a phone


def timeline(points: Iterable[tuple[str, float | None]], title: str, y_label: str) -> str:
    """Counts over time: (ISO 8601 time, count), in any order; a count of None leaves a gap.

    Times without a zone are read as UTC. If one cannot be parsed, all are drawn at equal steps in the given order.
    """
    given = [(as_text(when), finite(count)) for when, count in points]
    if all(count is None for _, count in given):
        return empty_html("Nothing has happened yet. Ratings over time appear here.")
    moments, names, note = _moments([when for when, _ in given])
    order = sorted(range(len(given)), key=moments.__getitem__)
    names, counts = [names[at] for at in order], [given[at][1] for at in order]
    known = [count for count in counts if count is not None]
    vertical = axis_around([0.0, max(5.0, *known)])  # at least 5, so that the ticks are whole numbers
    xs = spread([moments[at] for at in order])
    chart = line_chart_html(xs, counts, names, vertical, without_overlap(list(zip(xs, names, strict=True)), _WORDS_GAP))
    most = max(known)
    summary = f"{title}: {y_label} from {names[0]} to {names[-1]}, at most {most:,.10g} ({names[counts.index(most)]})."
    numbers = [(name, "–" if count is None else f"{count:,.10g}") for name, count in zip(names, counts, strict=True)]
    picture = f'<p class="plot-quiet">{escape(y_label)}; {note}</p>{chart}'
    return figure_html(title, summary, picture, ("time", y_label), numbers)


def _moments(texts: list[str]) -> tuple[list[float], list[str], str]:
    """→ seconds since 1970, labels and a note; positions in the list if one of the texts is not an ISO time."""
    try:
        moments = [_utc(text) for text in texts]
    except (ValueError, OverflowError):
        return [float(index) for index in range(len(texts))], texts, "in the order given"
    return [moment.timestamp() for moment in moments], [f"{moment:%d %b %H:%M}" for moment in moments], "times in UTC"


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
