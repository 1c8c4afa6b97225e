"""Means with two intervals each: clustered, and as if all ratings were independent."""

from __future__ import annotations

from typing import Any

from annotation.ui.plots.axis import Axis, axis_between, tick_text
from annotation.ui.plots.figure import (
    axis_row_html,
    bar_html,
    empty_html,
    figure_html,
    legend_html,
    mark_html,
    row_html,
)
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


def interval_plot(rows: Any, low: float, high: float, title: str, unit: str = "") -> str:
    """Means with two intervals each. Row: label, mean, low, high, naive_low, naive_high, n, reason.

    ``low`` to ``high``: the axis. Raises ValueError unless low < high.
    """
    records = as_records(rows)
    axis = axis_between(low, high)
    if not records:
        return empty_html("No ratings yet. Means with their intervals appear here.")
    legend = legend_html(
        ("plot-mean", "mean"),
        ("plot-bar", "95 % interval that allows for the same raters and items recurring"),
        ("plot-naive", "95 % interval if every rating were independent"),
    )
    summary = f"{title}: means with 95 % intervals, from {tick_text(low)} to {tick_text(high)} {unit}".rstrip() + ". "
    summary += sentence(f"{text_of(row, 'label')} {estimate_text(row, 'mean')}" for row in records)
    body = "".join(_interval_row(row, axis) for row in records)
    names = ("", "mean", "95 % interval", "if independent", "ratings", "note")
    numbers = [
        (text_of(row, "label"), *_interval_cells(row), count_text(row, "n"), reason_text(row, "low", "high"))
        for row in records
    ]
    return figure_html(title, summary, legend + body + axis_row_html(axis, unit), names, numbers)


def _interval_row(row: Any, axis: Axis) -> str:
    marks = bar_html("plot-bar", row, "low", "high", axis)
    marks += bar_html("plot-naive", row, "naive_low", "naive_high", axis)
    marks += mark_html("plot-mean", number_of(row, "mean"), axis)
    return row_html(
        text_of(row, "label"),
        axis,
        marks,
        estimate_text(row, "mean"),
        counted(row, "n", "rating"),
        reason_text(row, "low", "high"),
    )


def _interval_cells(row: Any) -> tuple[str, str, str]:
    return value_text(row, "mean"), interval_text(row, "low", "high"), interval_text(row, "naive_low", "naive_high")
