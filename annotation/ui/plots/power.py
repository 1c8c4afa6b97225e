"""The power of a planned study over the number of raters."""

from __future__ import annotations

from typing import Any

from annotation.ui.plots.axis import axis_between, spread, without_overlap
from annotation.ui.plots.figure import empty_html, figure_html, legend_html
from annotation.ui.plots.line_chart import line_chart_html
from annotation.ui.plots.values import as_records, number_of

POWER_AIM = 0.8  # the usual convention (Cohen 1988)
_NUMBER_GAP = 9.0  # per cent of the width between two labels, so that they fit on a phone


def power_curve(points: Any) -> str:
    """The chance to find the planned difference, over the number of raters. Point: raters, power (0 to 1)."""
    given = [(number_of(row, "raters"), number_of(row, "power")) for row in as_records(points)]
    known = sorted(((raters, power) for raters, power in given if raters is not None), key=lambda point: point[0])
    if all(power is None for _, power in known):
        return empty_html("No plan yet. The power for each number of raters appears here.")
    raters = [point[0] for point in known]
    positions = spread(raters)
    names = [f"{count:,.10g}" for count in raters]
    labels = without_overlap(list(zip(positions, names, strict=True)), _NUMBER_GAP)
    chart = line_chart_html(positions, [power for _, power in known], names, axis_between(0, 1), labels, POWER_AIM)
    legend = legend_html(("plot-stroke", "power"), ("plot-aim", f"{POWER_AIM}, the usual aim"))
    under = '<p class="plot-quiet plot-under">number of raters</p>'
    enough = next(
        (name for name, (_, power) in zip(names, known, strict=True) if power is not None and power >= POWER_AIM), None
    )
    reached = f"{POWER_AIM} is first reached with {enough} raters" if enough else f"{POWER_AIM} is not reached"
    summary = f"Power for {names[0]} to {names[-1]} raters: {reached}."
    numbers = [(name, "–" if power is None else f"{power:.2f}") for name, (_, power) in zip(names, known, strict=True)]
    return figure_html(
        "Power of the study",
        summary,
        f'{legend}{chart}{under}<p class="plot-quiet">{summary}</p>',
        ("raters", "power"),
        numbers,
    )
