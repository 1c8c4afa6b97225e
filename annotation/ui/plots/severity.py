"""How strict or lenient each rater is."""

from __future__ import annotations

from typing import Any

from annotation.ui.plots.axis import Axis, axis_around
from annotation.ui.plots.figure import (
    axis_row_html,
    bar_html,
    empty_html,
    escape,
    figure_html,
    legend_html,
    mark_html,
    row_html,
)
from annotation.ui.plots.values import (
    SPOKEN_ROWS,
    as_records,
    estimate_text,
    interval_text,
    number_of,
    numbers_of,
    reason_text,
    sentence,
    text_of,
    value_text,
)

_MARKS = {"kept": "kept", "flagged": "flagged"}  # any other outcome is drawn as could-not-check


def scatter_severity(rows: Any) -> str:
    """Each rater's deviation from the average. Row: rater, effect (scale points), low, high, outcome, reason.

    ``outcome``: "kept", "flagged" or "could-not-check", distinguished by shape, color and word.
    """
    records = as_records(rows)
    if not records:
        return empty_html("No raters yet. How strict or lenient each one is appears here.")
    axis = axis_around([0.0, *numbers_of(records, "effect", "low", "high")])
    legend = legend_html(
        ("plot-rater kept", "kept"),
        ("plot-rater flagged", "flagged"),
        ("plot-rater unchecked", "could not be checked"),
        ("plot-range", "95 % interval"),
    )
    flagged = [text_of(row, "rater") for row in records if text_of(row, "outcome") == "flagged"]
    summary = f"How strict or lenient each of {len(records)} raters is, 0 being the average. "
    summary += f"Flagged: {', '.join(flagged[:SPOKEN_ROWS]) or 'nobody'}. "
    summary += sentence(f"{text_of(row, 'rater')} {estimate_text(row, 'effect')}" for row in records)
    ends = '<p class="plot-quiet plot-ends"><span>← stricter</span><span>more lenient →</span></p>'
    body = "".join(_severity_row(row, axis) for row in records) + axis_row_html(axis, "", ends)
    names = ("rater", "effect", "95 % interval", "outcome", "note")
    numbers = [
        (
            text_of(row, "rater"),
            value_text(row, "effect"),
            interval_text(row, "low", "high"),
            _outcome(row),
            reason_text(row, "effect", "low", "high"),
        )
        for row in records
    ]
    return figure_html("Severity of raters", summary, legend + body, names, numbers)


def _severity_row(row: Any, axis: Axis) -> str:
    style = _MARKS.get(text_of(row, "outcome"), "unchecked")
    marks = bar_html("plot-range", row, "low", "high", axis)
    marks += mark_html(f"plot-rater {style}", number_of(row, "effect"), axis)
    badge = "" if style == "kept" else f'<span class="plot-badge badge-{style}">{escape(_outcome(row))}</span>'
    why = reason_text(row, "effect", "low", "high")
    return row_html(text_of(row, "rater"), axis, marks, estimate_text(row, "effect"), "", why, badge)


def _outcome(row: Any) -> str:
    outcome = text_of(row, "outcome")
    return "could not be checked" if outcome in ("could-not-check", "") else outcome
