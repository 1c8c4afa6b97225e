"""A ranking from pairwise comparisons, and its position bias."""

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
    as_records,
    count_text,
    counted,
    estimate_text,
    interval_text,
    number_of,
    numbers_of,
    reason_text,
    sentence,
    text_of,
    value_text,
)


def ranking_plot(rows: Any, position_bias: Any = None) -> str:
    """Bradley–Terry strengths in the order given. Row: system or label, strength, low, high, votes, status, reason.

    ``low`` or ``high`` alone may be ``None``: that side is open, and ``reason`` says why.
    ``status``: "listed", "preliminary" (marked) or "hidden" (too few votes: the strength is shown neither in the
    picture nor in the table). ``position_bias``: mean, low, high and reason, in log-odds for the left answer.
    """
    records = as_records(rows)
    if not records:
        return empty_html("No comparisons yet. The ranking appears here once people have chosen between two answers.")
    shown = [row for row in records if text_of(row, "status") != "hidden"]
    axis = axis_around(numbers_of(shown, "strength", "low", "high"))
    legend = legend_html(("plot-mean", "strength (log-odds, 0 is the average)"), ("plot-bar", "95 % interval"))
    summary = "Ranking by pairwise comparison, strongest first as listed. "
    summary += sentence(f"{_system(row)} {_strength_in_words(row)}" for row in records)
    bias = "" if position_bias is None else _bias_in_words(position_bias)
    body = "".join(_ranking_row(row, axis) for row in records) + axis_row_html(axis, "log-odds")
    line = f'<p class="plot-quiet">{escape(bias)}</p>' if bias else ""
    names = ("system", "strength", "95 % interval", "votes", "status", "note")
    numbers = [_ranking_cells(row) for row in records]
    return figure_html("Ranking", f"{summary} {bias}", legend + body + line, names, numbers)


def _ranking_row(row: Any, axis: Axis) -> str:
    status = text_of(row, "status")
    badge = f'<span class="plot-badge badge-{status}">{status}</span>' if status in ("preliminary", "hidden") else ""
    votes = counted(row, "votes", "vote")
    if status == "hidden":
        why = "not shown because there are too few votes"
        return row_html(_system(row), axis, "", "", votes, why, badge)
    marks = bar_html("plot-bar", _with_ends(row, axis), "low", "high", axis) + mark_html(
        "plot-mean", number_of(row, "strength"), axis
    )
    why = reason_text(row, "strength", "low", "high")
    return row_html(_system(row), axis, marks, estimate_text(row, "strength"), votes, why, badge)


def _with_ends(row: Any, axis: Axis) -> Any:
    """An open side runs past the end of the axis, where the bar is drawn with a point."""
    low, high = number_of(row, "low"), number_of(row, "high")
    if (low is None) == (high is None):
        return row
    margin = axis.high - axis.low
    return {"low": axis.low - margin if low is None else low, "high": axis.high + margin if high is None else high}


def _ranking_cells(row: Any) -> tuple[str, ...]:
    status = text_of(row, "status")
    if status == "hidden":
        return _system(row), "–", "–", count_text(row, "votes"), status, "too few votes"
    cells = value_text(row, "strength"), interval_text(row, "low", "high"), count_text(row, "votes")
    return _system(row), *cells, status, reason_text(row, "strength", "low", "high")


def _system(row: Any) -> str:
    return text_of(row, "system") or text_of(row, "label")


def _strength_in_words(row: Any) -> str:
    status = text_of(row, "status")
    if status == "hidden":
        return "not shown, too few votes"
    return estimate_text(row, "strength") + (" (preliminary)" if status == "preliminary" else "")


def _bias_in_words(bias: Any) -> str:
    mean, low, high = number_of(bias, "mean"), number_of(bias, "low"), number_of(bias, "high")
    if mean is None or (low is None and high is None):
        return f"Position bias: {reason_text(bias, 'mean', 'low', 'high')}."
    found = "not shown, the interval holds 0"
    if (low is not None and low > 0) or (high is not None and high < 0):
        found = f"the answer on the {'left' if mean > 0 else 'right'} is preferred for its place alone"
    return f"Position bias: {estimate_text(bias, 'mean')} log-odds for the left: {found}."
