"""A listening study's results as pictures: HTML and SVG that follow the page's light or dark theme.

Pure text out of plain values: rows are mappings, table rows or objects with the named attributes, or
a whole table (pandas). Whatever is missing or not finite is said in words and never drawn as a number.
Every picture has a sentence for those who cannot see it and its numbers in a table beneath. Words are
HTML laid out by ``plots.css``, since text inside a scaled drawing cannot be read on a phone. Knows
nothing of how the numbers were estimated: it draws the intervals and repeats the reasons it is given.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

TENTATIVE, RELIABLE = 0.667, 0.8  # Krippendorff (2004), "Content Analysis": α for tentative and for firm conclusions
LEAST_AGREEMENT = -0.2  # where the agreement panel begins; α can be lower, then the bar is cut
POWER_AIM = 0.8  # the usual convention (Cohen 1988)

_SAID_ROWS = 12  # a sentence for a screen reader stays bearable; the table has every row
_SERIES_STYLES = 6  # colours and patterns in plots.css; more series repeat them, in the legend's order
_STRONGEST_SHADE = 60  # per cent of accent behind a count; beyond it the number is hard to read
_TICKS = 5
_NUMBER_GAP, _WORDS_GAP = 9.0, 46.0  # per cent of a chart's width between labels under it, so that they fit on a phone
_SHORT_NAME = 5  # letters that can be centred under the end of an axis
_MARKS = {"kept": "kept", "flagged": "flagged"}  # any other outcome is drawn as could-not-check


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Per cent of the way from low to high, held within the axis."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def interval_plot(rows: Any, low: float, high: float, title: str, unit: str = "") -> str:
    """Means with two intervals each. Row: label, mean, low, high, naive_low, naive_high, n, reason.

    ``low`` to ``high``: the axis. Raises ValueError when it does not run upwards.
    """
    records = _records(rows)
    axis = _axis(low, high)
    if not records:
        return _empty("No ratings yet. Means with their intervals appear here.")
    legend = _legend(
        ("plot-mean", "mean"),
        ("plot-bar", "95 % interval that allows for the same raters and items recurring"),
        ("plot-naive", "95 % interval if every rating were independent"),
    )
    said = f"{title}: means with 95 % intervals, from {_tick(low)} to {_tick(high)} {unit}".rstrip() + ". "
    said += _list_in_words(f"{_plain(row, 'label')} {_estimate(row, 'mean')}" for row in records)
    body = "".join(_interval_row(row, axis) for row in records)
    names = ("", "mean", "95 % interval", "if independent", "ratings", "note")
    numbers = [
        (_plain(row, "label"), *_interval_cells(row), _count(row, "n"), _why(row, "low", "high")) for row in records
    ]
    return _figure(title, said, legend + body + _axis_row(axis, unit), names, numbers)


def _interval_row(row: Any, axis: _Axis) -> str:
    marks = _span("plot-bar", row, "low", "high", axis) + _span("plot-naive", row, "naive_low", "naive_high", axis)
    marks += _mark("plot-mean", _number(row, "mean"), axis)
    return _row(
        _plain(row, "label"),
        axis,
        marks,
        _estimate(row, "mean"),
        _counted(row, "n", "rating"),
        _why(row, "low", "high"),
    )


def _interval_cells(row: Any) -> tuple[str, str, str]:
    return _value(row, "mean"), _range(row, "low", "high"), _range(row, "naive_low", "naive_high")


def confusion_matrix(
    categories: Sequence[str], counts: Any, row_name: str = "heard by the model", column_name: str = "rated by people"
) -> str:
    """Counts [C, C], one row and one column a category, shaded by share of the row.

    At the right: the share of each row on the diagonal, its recall where rows are the truth. Raises
    ValueError when the counts are not C rows of C.
    """
    table = [
        [_finite(count) or 0.0 for count in row]
        for row in (counts.to_numpy() if hasattr(counts, "to_numpy") else counts)
    ]
    if [len(row) for row in table] != [len(categories)] * len(categories):
        raise ValueError(
            f"{len(categories)} categories need as many rows and columns, not rows of {[len(row) for row in table]}."
        )
    total = sum(map(sum, table))
    if not total:
        return _empty("Nothing to compare yet. Counts appear here once clips are rated.")
    names = [_text(name) for name in categories]
    recalls = [_share(row[place], sum(row)) for place, row in enumerate(table)]
    same = sum(row[place] for place, row in enumerate(table))
    said = f"Rows {row_name}, columns {column_name}: {same:,.0f} of {total:,.0f} are on the diagonal. "
    said += _list_in_words(f"{name} {recall}" for name, recall in zip(names, recalls, strict=True))
    head = "".join(
        f'<span class="matrix-name"><span title="{_escape(name)}">{_escape(name)}</span></span>' for name in names
    )
    body = "".join(_matrix_row(names, place, row, recalls[place]) for place, row in enumerate(table))
    grid = (
        f'<p class="plot-quiet">Rows: {_escape(row_name)}. Columns: {_escape(column_name)}. Stronger colour: larger share of '
        'the row. At the right: the share of the row on the diagonal.</p><div class="matrix" '
        f'style="--categories:{len(names)}"><span></span>{head}<span class="matrix-recall">same</span>{body}</div>'
    )
    numbers = [
        (name, *(f"{count:,.0f}" for count in row), recall)
        for name, row, recall in zip(names, table, recalls, strict=True)
    ]
    title = f"{row_name[:1].upper()}{row_name[1:]}, {column_name}"
    return _figure(title, said, grid, ("", *names, "share on the diagonal"), numbers)


def _matrix_row(names: list[str], place: int, row: list[float], recall: str) -> str:
    total = sum(row)
    cells = "".join(
        f'<span class="matrix-cell{" on-diagonal" if column == place else ""}" '
        f'style="--shade:{_STRONGEST_SHADE * _ratio(count, total):.1f}%" '
        f'title="{_escape(names[place])} / {_escape(names[column])}: {count:,.0f} ({_share(count, total)})">{count:,.0f}</span>'
        for column, count in enumerate(row)
    )
    name = f'<span class="matrix-label" title="{_escape(names[place])}">{_escape(names[place])}</span>'
    return f'{name}{cells}<span class="matrix-recall">{recall}</span>'


def histogram(categories: Sequence[str], counts_by_series: Mapping[str, Sequence[int]], title: str) -> str:
    """How the answers of each series fall on the categories; a bar's length is the share of its series.

    Raises ValueError when a series has not one count a category.
    """
    series = {_text(name): [_finite(count) or 0.0 for count in counts] for name, counts in counts_by_series.items()}
    for name, counts in series.items():
        if len(counts) != len(categories):
            raise ValueError(f"Series {name!r} needs {len(categories)} counts, not {len(counts)}.")
    if not any(map(sum, series.values())):
        return _empty("No ratings yet. Their distribution appears here.")
    longest = max(_ratio(count, sum(counts)) for counts in series.values() for count in counts)
    groups = "".join(_bar_group(_text(name), place, series, longest) for place, name in enumerate(categories))
    sums = [f"{name} ({sum(counts):,.0f} ratings)" for name, counts in series.items()]
    keys = [(f"plot-fill {_series_style(place)}", words) for place, words in enumerate(sums)]
    said = f"{title}: share of the ratings in each of {len(categories)} categories. "
    said += _list_in_words(_most_frequent(name, counts, categories) for name, counts in series.items())
    numbers = [
        (_text(name), *(_with_share(counts, place) for counts in series.values()))
        for place, name in enumerate(categories)
    ]
    return _figure(title, said, _legend(*keys) + groups, ("", *series), numbers)


def _bar_group(name: str, place: int, series: Mapping[str, Sequence[float]], longest: float) -> str:
    bars = "".join(
        f'<span class="bars-track" title="{_escape(other)}"><span class="plot-fill {_series_style(number)}" '
        f'style="width:{100 * _ratio(counts[place], sum(counts)) / longest:.1f}%"></span></span>'
        f'<span class="bars-value">{_with_share(counts, place)}</span>'
        for number, (other, counts) in enumerate(series.items())
    )
    return (
        f'<div class="bars"><span class="plot-label">{_escape(name)}</span><span class="bars-body">{bars}</span></div>'
    )


def _series_style(place: int) -> str:
    return f"series-{place % _SERIES_STYLES}"


def _with_share(counts: Sequence[float], place: int) -> str:
    return f"{counts[place]:,.0f} ({_share(counts[place], sum(counts))})"


def _most_frequent(name: str, counts: Sequence[float], categories: Sequence[str]) -> str:
    if not sum(counts):
        return f"{name}: no ratings"
    place = max(range(len(counts)), key=counts.__getitem__)
    return f"{name}: most often {_text(categories[place])}, {_share(counts[place], sum(counts))} of {sum(counts):,.0f}"


def agreement_panel(rows: Any) -> str:
    """How far raters agree. Row: scale, name (of the measure), value, low, high, items, raters, reason."""
    records = _records(rows)
    if not records:
        return _empty("No agreement to show yet. It needs clips that two people have rated.")
    axis = _Axis(LEAST_AGREEMENT, 1.0, (0.0, 0.2, 0.4, TENTATIVE, RELIABLE, 1.0))
    labels = [" – ".join(filter(None, (_plain(row, "scale"), _plain(row, "name")))) for row in records]
    legend = _legend(
        ("plot-amount", "agreement beyond chance"),
        ("plot-whisker", "95 % interval"),
        ("plot-guide", f"{TENTATIVE} and {RELIABLE}: Krippendorff's thresholds for tentative and for firm conclusions"),
    )
    said = "Agreement among raters, where 0 is chance and 1 is perfect. "
    said += _list_in_words(f"{label} {_estimate(row, 'value')}" for label, row in zip(labels, records, strict=True))
    body = "".join(_agreement_row(label, row, axis) for label, row in zip(labels, records, strict=True))
    names = ("scale", "measure", "value", "95 % interval", "items", "raters", "note")
    numbers = [
        (
            _plain(row, "scale"),
            _plain(row, "name"),
            _value(row, "value"),
            _range(row, "low", "high"),
            _count(row, "items"),
            _count(row, "raters"),
            _why(row, "value"),
        )
        for row in records
    ]
    return _figure("Agreement among raters", said, legend + body + _axis_row(axis), names, numbers)


def _agreement_row(label: str, row: Any, axis: _Axis) -> str:
    value, marks = _number(row, "value"), ""
    if value is not None:
        marks = "".join(
            f'<span class="plot-guide" style="left:{axis.at(mark):.2f}%"></span>' for mark in (TENTATIVE, RELIABLE)
        )
        marks += _span("plot-amount", {"low": min(0.0, value), "high": max(0.0, value)}, "low", "high", axis)
        marks += _span("plot-whisker", row, "low", "high", axis)
    size = " · ".join(filter(None, (_counted(row, "items", "item"), _counted(row, "raters", "rater"))))
    return _row(label, axis, marks, _estimate(row, "value"), size, _why(row, "value"))


def ranking_plot(rows: Any, position_bias: Any = None) -> str:
    """Bradley–Terry strengths in the order given. Row: system or label, strength, low, high, votes, status, reason.

    ``status``: "listed", "preliminary" (marked so) or "hidden" (too few votes: its strength is not
    shown, nor in the table). ``position_bias``: mean, low, high and reason, log-odds for the left one.
    """
    records = _records(rows)
    if not records:
        return _empty("No comparisons yet. The ranking appears here once people have chosen between two answers.")
    shown = [row for row in records if _plain(row, "status") != "hidden"]
    axis = _axis_around(_numbers(shown, "strength", "low", "high"))
    legend = _legend(("plot-mean", "strength (log-odds, 0 is the average)"), ("plot-bar", "95 % interval"))
    said = "Ranking by pairwise comparison, strongest first as listed. "
    said += _list_in_words(f"{_system(row)} {_strength_in_words(row)}" for row in records)
    bias = "" if position_bias is None else _bias_in_words(position_bias)
    body = "".join(_ranking_row(row, axis) for row in records) + _axis_row(axis, "log-odds")
    line = f'<p class="plot-quiet">{_escape(bias)}</p>' if bias else ""
    names = ("system", "strength", "95 % interval", "votes", "status", "note")
    return _figure("Ranking", f"{said} {bias}", legend + body + line, names, [_ranking_cells(row) for row in records])


def _ranking_row(row: Any, axis: _Axis) -> str:
    status = _plain(row, "status")
    badge = f'<span class="plot-badge badge-{status}">{status}</span>' if status in ("preliminary", "hidden") else ""
    if status == "hidden":
        return _row(
            _system(row),
            axis,
            "",
            "",
            _counted(row, "votes", "vote"),
            "not shown because there are too few votes",
            badge,
        )
    marks = _span("plot-bar", row, "low", "high", axis) + _mark("plot-mean", _number(row, "strength"), axis)
    why = _why(row, "strength", "low", "high")
    return _row(_system(row), axis, marks, _estimate(row, "strength"), _counted(row, "votes", "vote"), why, badge)


def _ranking_cells(row: Any) -> tuple[str, ...]:
    status = _plain(row, "status")
    if status == "hidden":
        return _system(row), "–", "–", _count(row, "votes"), status, "too few votes"
    cells = _value(row, "strength"), _range(row, "low", "high"), _count(row, "votes")
    return _system(row), *cells, status, _why(row, "strength", "low", "high")


def _system(row: Any) -> str:
    return _plain(row, "system") or _plain(row, "label")


def _strength_in_words(row: Any) -> str:
    status = _plain(row, "status")
    if status == "hidden":
        return "not shown, too few votes"
    return _estimate(row, "strength") + (" (preliminary)" if status == "preliminary" else "")


def _bias_in_words(bias: Any) -> str:
    mean, low, high = _number(bias, "mean"), _number(bias, "low"), _number(bias, "high")
    if mean is None or low is None or high is None:
        return f"Position bias: {_why(bias, 'mean', 'low', 'high')}."
    found = "not shown, the interval holds 0"
    if low > 0 or high < 0:
        found = f"the answer on the {'left' if mean > 0 else 'right'} is preferred for its place alone"
    return f"Position bias: {_estimate(bias, 'mean')} log-odds for the left: {found}."


def progress_bars(rows: Any) -> str:
    """How far each part of the study has come. Row: label, done, wanted, raters and, if known, eta (a text)."""
    records = _records(rows)
    if not records:
        return _empty("Nothing to rate yet. Progress appears here once the study has clips.")
    said = "Progress. " + _list_in_words(f"{_plain(row, 'label')} {_progress_in_words(row)}" for row in records)
    body = "".join(_progress_row(row) for row in records)
    names = ("", "done", "wanted", "share", "raters", "expected to end")
    numbers = [
        (
            _plain(row, "label"),
            _count(row, "done"),
            _count(row, "wanted"),
            _done_share(row),
            _count(row, "raters"),
            _plain(row, "eta"),
        )
        for row in records
    ]
    return _figure("Progress", said, body, names, numbers)


def _progress_row(row: Any) -> str:
    width = 100 * min(1.0, _ratio(_number(row, "done") or 0.0, _number(row, "wanted") or 0.0))
    words = (
        f"{_count(row, 'done')} of {_count(row, 'wanted')}"
        if _number(row, "wanted")
        else f"{_count(row, 'done')}, no number set"
    )
    words = " · ".join(filter(None, (words, _counted(row, "raters", "rater"), _plain(row, "eta"))))
    return (
        f'<div class="plot-progress"><span class="plot-label">{_escape(_plain(row, "label"))}</span>'
        f'<span class="progress-share">{_done_share(row)}</span>'
        f'<span class="progress-track"><span class="plot-fill series-0" style="width:{width:.1f}%"></span></span>'
        f'<span class="plot-quiet">{_escape(words)}</span></div>'
    )


def _progress_in_words(row: Any) -> str:
    return f"{_done_share(row)} ({_count(row, 'done')} of {_count(row, 'wanted')})"


def _done_share(row: Any) -> str:
    """ "99 %" and not "100 %" until everything is done."""
    done, wanted = _number(row, "done") or 0.0, _number(row, "wanted") or 0.0
    return "99 %" if wanted and 0.99 < done / wanted < 1 else _share(done, wanted)


def timeline(points: Iterable[tuple[str, float | None]], title: str, y_label: str) -> str:
    """Counts over time: (ISO 8601 time, count), in any order; a count of None leaves a gap.

    Times without a zone are taken as UTC. If one cannot be read, all are set at equal steps as given.
    """
    given = [(_text(when), _finite(count)) for when, count in points]
    if all(count is None for _, count in given):
        return _empty("Nothing has happened yet. Ratings over time appear here.")
    moments, names, order_said = _moments([when for when, _ in given])
    order = sorted(range(len(given)), key=moments.__getitem__)
    spots, names, counts = [moments[at] for at in order], [names[at] for at in order], [given[at][1] for at in order]
    known = [count for count in counts if count is not None]
    vertical = _axis_around([0.0, max(5.0, *known)])  # at least 5, lest a count be given fractions
    xs = _spread(spots)
    chart = _line_chart(xs, counts, names, vertical, _apart(list(zip(xs, names, strict=True)), _WORDS_GAP))
    most = max(known)
    said = f"{title}: {y_label} from {names[0]} to {names[-1]}, at most {most:,.10g} ({names[counts.index(most)]})."
    numbers = [(name, "–" if count is None else f"{count:,.10g}") for name, count in zip(names, counts, strict=True)]
    picture = f'<p class="plot-quiet">{_escape(y_label)}; {order_said}</p>{chart}'
    return _figure(title, said, picture, ("time", y_label), numbers)


def _moments(texts: list[str]) -> tuple[list[float], list[str], str]:
    """→ seconds since 1970, their names, and what to say of them; places in the list when a text is no ISO time."""
    try:
        moments = [_utc(text) for text in texts]
    except (ValueError, OverflowError):
        return [float(place) for place in range(len(texts))], texts, "in the order given"
    return [moment.timestamp() for moment in moments], [f"{moment:%d %b %H:%M}" for moment in moments], "times in UTC"


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _spread(spots: list[float]) -> list[float]:
    """Ascending places → per cent of the width, the first at its left and the last at its right; a single one amid."""
    low, high = spots[0], spots[-1]
    return [100 * (spot - low) / (high - low) if high > low else 50.0 for spot in spots]


def power_curve(points: Any) -> str:
    """The chance to find the planned difference, over the number of raters. Point: raters, power (0 to 1)."""
    given = [(_number(row, "raters"), _number(row, "power")) for row in _records(points)]
    known = sorted(((raters, power) for raters, power in given if raters is not None), key=lambda point: point[0])
    if all(power is None for _, power in known):
        return _empty("No plan yet. The power for each number of raters appears here.")
    raters = [point[0] for point in known]
    spots = _spread(raters)
    names = [f"{count:,.10g}" for count in raters]
    labels = _apart(list(zip(spots, names, strict=True)), _NUMBER_GAP)
    chart = _line_chart(spots, [power for _, power in known], names, _axis(0, 1), labels, POWER_AIM)
    legend = _legend(("plot-stroke", "power"), ("plot-aim", f"{POWER_AIM}, the usual aim"))
    under = '<p class="plot-quiet plot-under">number of raters</p>'
    enough = next(
        (name for name, (_, power) in zip(names, known, strict=True) if power is not None and power >= POWER_AIM), None
    )
    reached = f"{POWER_AIM} is first reached with {enough} raters" if enough else f"{POWER_AIM} is not reached"
    said = f"Power for {names[0]} to {names[-1]} raters: {reached}."
    numbers = [(name, "–" if power is None else f"{power:.2f}") for name, (_, power) in zip(names, known, strict=True)]
    return _figure(
        "Power of the study",
        said,
        f'{legend}{chart}{under}<p class="plot-quiet">{said}</p>',
        ("raters", "power"),
        numbers,
    )


def _apart(labels: list[tuple[float, str]], gap: float) -> list[tuple[float, str]]:
    """The labels that fit beside one another on a phone: the first, the last, and those between with room."""
    kept = labels[:1]
    for label in labels[1:-1]:
        if label[0] - kept[-1][0] >= gap and labels[-1][0] - label[0] >= gap:
            kept.append(label)
    return kept + labels[1:][-1:]


def _line_chart(
    xs: list[float],
    values: Sequence[float | None],
    names: list[str],
    axis: _Axis,
    labels: list[tuple[float, str]],
    aim: float | None = None,
) -> str:
    """``xs`` and ``labels``: per cent across. The line is SVG stretched to the width; all words stay HTML."""
    lines = "".join(
        f'<span class="chart-line" style="bottom:{axis.at(tick):.2f}%"><b>{_tick(tick)}</b></span>'
        for tick in axis.ticks
    )
    if aim is not None:
        lines += f'<span class="plot-aim" style="bottom:{axis.at(aim):.2f}%"></span>'
    known = [(x, value, name) for x, value, name in zip(xs, values, names, strict=True) if value is not None]
    dots = "".join(
        f'<span class="chart-dot" style="left:{x:.2f}%;bottom:{axis.at(value):.2f}%" title="{_escape(name)}: {value:,.4g}"></span>'
        for x, value, name in known
    )
    below = "".join(
        f'<span class="{_edge(x, name, len(labels))}" style="left:{x:.2f}%">{_escape(name)}</span>'
        for x, name in labels
    )
    drawing = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><path d="{_path(xs, values, axis)}"></path></svg>'
    return f'<div class="chart"><div class="chart-area">{lines}{drawing}{dots}</div><div class="chart-below">{below}</div></div>'


def _path(xs: list[float], values: Sequence[float | None], axis: _Axis) -> str:
    """SVG path data in a square of 100; the pen is lifted over what is missing."""
    steps, down = [], False
    for x, value in zip(xs, values, strict=True):
        if value is not None:
            steps.append(f"{'L' if down else 'M'}{x:.2f} {100 - axis.at(value):.2f}")
        down = value is not None
    return "".join(steps)


def _edge(x: float, name: str, labels: int) -> str:
    """Words at an end of the axis are aligned with it, lest they leave the page; those between give way on a phone."""
    if len(name) <= _SHORT_NAME or labels == 1:
        return "amid"
    return "from" if x < 1 else "until" if x > 99 else "between"


def scatter_severity(rows: Any) -> str:
    """Who rates low and who rates high. Row: rater, effect (scale points), low, high, outcome, reason.

    ``outcome``: "kept", "flagged" or "could-not-check", told apart by shape, colour and word.
    """
    records = _records(rows)
    if not records:
        return _empty("No raters yet. How strict or lenient each one is appears here.")
    axis = _axis_around([0.0, *_numbers(records, "effect", "low", "high")])
    legend = _legend(
        ("plot-rater kept", "kept"),
        ("plot-rater flagged", "flagged"),
        ("plot-rater unchecked", "could not be checked"),
        ("plot-range", "95 % interval"),
    )
    flagged = [_plain(row, "rater") for row in records if _plain(row, "outcome") == "flagged"]
    said = f"How strict or lenient each of {len(records)} raters is, 0 being the average. "
    said += f"Flagged: {', '.join(flagged[:_SAID_ROWS]) or 'nobody'}. "
    said += _list_in_words(f"{_plain(row, 'rater')} {_estimate(row, 'effect')}" for row in records)
    ends = '<p class="plot-quiet plot-ends"><span>← stricter</span><span>more lenient →</span></p>'
    body = "".join(_severity_row(row, axis) for row in records) + _axis_row(axis, "", ends)
    names = ("rater", "effect", "95 % interval", "outcome", "note")
    numbers = [
        (
            _plain(row, "rater"),
            _value(row, "effect"),
            _range(row, "low", "high"),
            _outcome(row),
            _why(row, "effect", "low", "high"),
        )
        for row in records
    ]
    return _figure("Severity of raters", said, legend + body, names, numbers)


def _severity_row(row: Any, axis: _Axis) -> str:
    style = _MARKS.get(_plain(row, "outcome"), "unchecked")
    marks = _span("plot-range", row, "low", "high", axis) + _mark(f"plot-rater {style}", _number(row, "effect"), axis)
    badge = "" if style == "kept" else f'<span class="plot-badge badge-{style}">{_escape(_outcome(row))}</span>'
    return _row(
        _plain(row, "rater"), axis, marks, _estimate(row, "effect"), "", _why(row, "effect", "low", "high"), badge
    )


def _outcome(row: Any) -> str:
    outcome = _plain(row, "outcome")
    return "could not be checked" if outcome in ("could-not-check", "") else outcome


def stat_tiles(items: Iterable[tuple[str, object, str]]) -> str:
    """The study in a few numbers: (label, value, hint). A value of None or no number is a dash."""
    tiles = [(_text(label), _tile_value(value), _text(hint)) for label, value, hint in items]
    if not tiles:
        return _empty("No numbers yet. They appear here once the study has begun.")
    body = "".join(
        f'<div class="tile"><span class="tile-label">{_escape(label)}</span><span class="tile-value">{_escape(value)}</span>'
        f'<span class="plot-quiet">{_escape(hint)}</span></div>'
        for label, value, hint in tiles
    )
    said = "The study in numbers. " + _list_in_words(f"{label}: {value}" for label, value, _ in tiles)
    return _figure("", said, f'<div class="tiles">{body}</div>', ("", "value", "meaning"), tiles)


def _tile_value(value: object) -> str:
    if isinstance(value, str):
        return value
    number = _finite(value)
    return "–" if number is None else f"{number:,.10g}" if number.is_integer() else f"{number:,.2f}"


# The parts that the pictures share.


def _records(rows: Any) -> list[Any]:
    return rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)


def _field(row: Any, name: str) -> Any:
    return row.get(name) if hasattr(row, "get") else getattr(row, name, None)


def _finite(value: Any) -> float | None:
    """None for everything that is not a finite number: None, NaN, infinity, a table's missing value, a text."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _number(row: Any, name: str) -> float | None:
    return _finite(_field(row, name))


def _numbers(rows: Iterable[Any], *names: str) -> list[float]:
    found = (_number(row, name) for row in rows for name in names)
    return [number for number in found if number is not None]


def _text(value: object) -> str:
    """Words as they came, not yet escaped; nothing for None or NaN."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _plain(row: Any, name: str) -> str:
    return _text(_field(row, name))


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _rounded(number: float) -> str:
    return f"{round(number, 2) + 0.0:,.2f}"  # + 0.0 turns -0.00 into 0.00


def _value(row: Any, name: str) -> str:
    number = _number(row, name)
    return "–" if number is None else _rounded(number)


def _count(row: Any, name: str) -> str:
    number = _number(row, name)
    return "–" if number is None else f"{number:,.0f}"


def _counted(row: Any, name: str, one: str) -> str:
    """ "1 rating", "480 ratings", or nothing."""
    number = _number(row, name)
    return "" if number is None else f"{number:,.0f} {one}{'' if number == 1 else 's'}"


def _range(row: Any, low: str, high: str) -> str:
    if _number(row, low) is None or _number(row, high) is None:
        return "–"
    return f"{_value(row, low)} to {_value(row, high)}"


def _estimate(row: Any, name: str) -> str:
    """ "3.84 (3.61 to 4.07)", as much of it as is defined."""
    if _number(row, name) is None:
        return "not defined"
    interval = _range(row, "low", "high")
    return _value(row, name) + ("" if interval == "–" else f" ({interval})")


def _why(row: Any, *names: str) -> str:
    """Nothing when all the named numbers are defined, else "not defined because …" with the row's own reason."""
    if all(_number(row, name) is not None for name in names):
        return ""
    reason = _plain(row, "reason").strip()
    if reason.lower().startswith("not defined"):
        return reason
    return f"not defined because {reason or 'no number was given, nor a reason'}"


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _list_in_words(parts: Iterable[str]) -> str:
    said = list(parts)
    more = f"; and {len(said) - _SAID_ROWS} more" if len(said) > _SAID_ROWS else ""
    return "; ".join(said[:_SAID_ROWS]) + more + "."


def _axis(low: float, high: float) -> _Axis:
    """Ticks at multiples of 1, 2, 2.5 or 5 times a power of ten, about five of them."""
    if not low < high:
        raise ValueError(f"An axis runs from a lower to a higher number, not from {low} to {high}.")
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return _Axis(low, high, tuple(place * step for place in range(first, last + 1)))


def _step(low: float, high: float) -> float:
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _axis_around(values: Sequence[float]) -> _Axis:
    """An axis from tick to tick that holds every value; from -1 to 1 when there is none."""
    low, high = (min(values), max(values)) if values else (-1.0, 1.0)
    if high == low:
        low, high = low - 1, high + 1
    step = _step(low, high)
    return _axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def _tick(value: float) -> str:
    return f"{round(value, 9) + 0.0:,.10g}"


def _span(style: str, row: Any, low: str, high: str, axis: _Axis) -> str:
    """A bar from one field to the other; an end beyond the axis is drawn as a point."""
    start, end = _number(row, low), _number(row, high)
    if start is None or end is None:
        return ""
    cut = (" cut-low" if start < axis.low else "") + (" cut-high" if end > axis.high else "")
    left, right = axis.at(start), axis.at(end)
    return f'<span class="{style}{cut}" style="left:{left:.2f}%;width:{right - left:.2f}%"></span>'


def _mark(style: str, value: float | None, axis: _Axis) -> str:
    if value is None or not axis.holds(value):
        return ""  # at the edge it would tell a value that it is not; the number beside it is right
    return f'<span class="{style}" style="left:{axis.at(value):.2f}%"></span>'


def _row(label: str, axis: _Axis, marks: str, value: str, size: str, why: str = "", badge: str = "") -> str:
    """A labelled row; the reason stands in the track's place where nothing is drawn. ``badge`` and ``marks`` are HTML."""
    words = f'<span class="plot-value"><span>{_escape(value)}</span><span>{_escape(size)}</span></span>'
    head = f'<div class="plot-row"><span class="plot-label">{_escape(label)}{badge}</span>'
    if not marks:
        return f'{head}<span class="plot-why alone">{_escape(why)}</span>{words}</div>'
    note = f'<span class="plot-why">{_escape(why)}</span>' if why else ""
    return f'{head}<span class="plot-track">{_grid(axis)}{marks}</span>{words}{note}</div>'


def _grid(axis: _Axis) -> str:
    zero = f'<span class="plot-zero" style="left:{axis.at(0):.2f}%"></span>' if axis.low < 0 < axis.high else ""
    return "".join(f'<span class="plot-grid" style="left:{axis.at(tick):.2f}%"></span>' for tick in axis.ticks) + zero


def _axis_row(axis: _Axis, unit: str = "", under: str = "") -> str:
    ticks = "".join(
        f'<span class="plot-tick" style="left:{axis.at(tick):.2f}%">{_tick(tick)}</span>' for tick in axis.ticks
    )
    return (
        f'<div class="plot-row plot-axis"><span></span><span class="plot-track">{ticks}</span>'
        f'<span class="plot-unit">{_escape(unit)}</span></div>{under}'
    )


def _legend(*keys: tuple[str, str]) -> str:
    """(style, words) → the legend. Each sample is drawn with the style of what it explains."""
    samples = "".join(
        f'<span class="plot-key"><span class="plot-sample"><span class="{style}"></span></span>{_escape(words)}</span>'
        for style, words in keys
    )
    return f'<div class="plot-legend">{samples}</div>'


def _figure(title: str, said: str, picture: str, names: Sequence[str], numbers: Iterable[Sequence[str]]) -> str:
    """``picture`` is HTML, all else is text. The table stands outside the image, where it can be read aloud."""
    heading = f'<figcaption class="plot-title">{_escape(title)}</figcaption>' if title else ""
    head = "".join(f'<th scope="col">{_escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_escape(cell)}</td>' for cell in row)}</tr>" for row in numbers)
    return (
        f'<figure class="plot">{heading}<div class="plot-picture" role="img" aria-label="{_escape(said.strip())}">{picture}</div>'
        '<details class="plot-numbers"><summary>Show the numbers</summary><div class="plot-scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details></figure>"
    )


def _empty(message: str) -> str:
    return f'<div class="empty">{_escape(message)}</div>'
