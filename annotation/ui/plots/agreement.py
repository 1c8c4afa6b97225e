"""Agreement among raters by scale and measure, with Krippendorff's thresholds."""

from __future__ import annotations

from typing import Any

from annotation.ui.plots.axis import Axis
from annotation.ui.plots.figure import axis_row_html, bar_html, empty_html, figure_html, legend_html, row_html
from annotation.ui.plots.values import (
    as_records,
    count_text,
    counted,
    estimate_text,
    interval_text,
    number_of,
    reason_text,
    sentence,
    text_of,
    value_text,
)

TENTATIVE = 0.667  # Krippendorff (2004), "Content Analysis": α for tentative and for firm conclusions
RELIABLE = 0.8
LOWEST_SHOWN = -0.2  # α can be lower; then the bar is cut


def agreement_panel(rows: Any) -> str:
    """How far raters agree. Row: scale, name (of the measure), value, low, high, items, raters, reason."""
    records = as_records(rows)
    if not records:
        return empty_html("No agreement to show yet. It needs clips that two people have rated.")
    axis = Axis(LOWEST_SHOWN, 1.0, (0.0, 0.2, 0.4, TENTATIVE, RELIABLE, 1.0))
    labels = [" – ".join(filter(None, (text_of(row, "scale"), text_of(row, "name")))) for row in records]
    legend = legend_html(
        ("plot-amount", "agreement beyond chance"),
        ("plot-whisker", "95 % interval"),
        ("plot-guide", f"{TENTATIVE} and {RELIABLE}: Krippendorff's thresholds for tentative and for firm conclusions"),
    )
    summary = "Agreement among raters, where 0 is chance and 1 is perfect. "
    summary += sentence(f"{label} {estimate_text(row, 'value')}" for label, row in zip(labels, records, strict=True))
    body = "".join(_agreement_row(label, row, axis) for label, row in zip(labels, records, strict=True))
    names = ("scale", "measure", "value", "95 % interval", "items", "raters", "note")
    numbers = [
        (
            text_of(row, "scale"),
            text_of(row, "name"),
            value_text(row, "value"),
            interval_text(row, "low", "high"),
            count_text(row, "items"),
            count_text(row, "raters"),
            reason_text(row, "value"),
        )
        for row in records
    ]
    return figure_html("Agreement among raters", summary, legend + body + axis_row_html(axis), names, numbers)


def _agreement_row(label: str, row: Any, axis: Axis) -> str:
    value, marks = number_of(row, "value"), ""
    if value is not None:
        marks = "".join(
            f'<span class="plot-guide" style="left:{axis.at(mark):.2f}%"></span>' for mark in (TENTATIVE, RELIABLE)
        )
        marks += bar_html("plot-amount", {"low": min(0.0, value), "high": max(0.0, value)}, "low", "high", axis)
        marks += bar_html("plot-whisker", row, "low", "high", axis)
    size = " · ".join(filter(None, (counted(row, "items", "item"), counted(row, "raters", "rater"))))
    return row_html(label, axis, marks, estimate_text(row, "value"), size, reason_text(row, "value"))
