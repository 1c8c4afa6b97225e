"""The distribution of the answers over the categories, by series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annotation.ui.plots.figure import empty_html, escape, figure_html, legend_html
from annotation.ui.plots.values import as_text, finite, percent, ratio, sentence

_SERIES_STYLES = 6  # colors and patterns in plots.css; more series repeat them


def histogram(categories: Sequence[str], counts_by_series: Mapping[str, Sequence[int]], title: str) -> str:
    """The distribution of each series over the categories; the length of a bar is the share of its series.

    Raises ValueError if a series does not have one count for each category.
    """
    series = {as_text(name): [finite(count) or 0.0 for count in counts] for name, counts in counts_by_series.items()}
    for name, counts in series.items():
        if len(counts) != len(categories):
            raise ValueError(f"Series {name!r} needs {len(categories)} counts, not {len(counts)}.")
    if not any(map(sum, series.values())):
        return empty_html("No ratings yet. Their distribution appears here.")
    longest = max(ratio(count, sum(counts)) for counts in series.values() for count in counts)
    groups = "".join(_bar_group(as_text(name), index, series, longest) for index, name in enumerate(categories))
    sums = [f"{name} ({sum(counts):,.0f} ratings)" for name, counts in series.items()]
    keys = [(f"plot-fill {_series_style(index)}", words) for index, words in enumerate(sums)]
    summary = f"{title}: share of the ratings in each of {len(categories)} categories. "
    summary += sentence(_most_frequent(name, counts, categories) for name, counts in series.items())
    numbers = [
        (as_text(name), *(_with_share(counts, index) for counts in series.values()))
        for index, name in enumerate(categories)
    ]
    return figure_html(title, summary, legend_html(*keys) + groups, ("", *series), numbers)


def _bar_group(name: str, index: int, series: Mapping[str, Sequence[float]], longest: float) -> str:
    bars = "".join(
        f'<span class="bars-track" title="{escape(other)}"><span class="plot-fill {_series_style(number)}" '
        f'style="width:{100 * ratio(counts[index], sum(counts)) / longest:.1f}%"></span></span>'
        f'<span class="bars-value">{_with_share(counts, index)}</span>'
        for number, (other, counts) in enumerate(series.items())
    )
    return (
        f'<div class="bars"><span class="plot-label">{escape(name)}</span><span class="bars-body">{bars}</span></div>'
    )


def _series_style(index: int) -> str:
    return f"series-{index % _SERIES_STYLES}"


def _with_share(counts: Sequence[float], index: int) -> str:
    return f"{counts[index]:,.0f} ({percent(counts[index], sum(counts))})"


def _most_frequent(name: str, counts: Sequence[float], categories: Sequence[str]) -> str:
    if not sum(counts):
        return f"{name}: no ratings"
    total, most = sum(counts), max(counts)
    category = as_text(categories[list(counts).index(most)])
    return f"{name}: most often {category}, {percent(most, total)} of {total:,.0f}"
