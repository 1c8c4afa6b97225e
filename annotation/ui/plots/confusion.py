"""A confusion matrix, shaded by share of the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from annotation.ui.plots.figure import empty_html, escape, figure_html
from annotation.ui.plots.values import as_text, finite, percent, ratio, sentence

_STRONGEST_SHADE = 60  # per cent of the accent color behind a count; above it the number is hard to read


def confusion_matrix(
    categories: Sequence[str], counts: Any, row_name: str = "heard by the model", column_name: str = "rated by people"
) -> str:
    """Counts [C, C], one row and one column for each category, shaded by share of the row.

    At the right: the share of each row on the diagonal, which is its recall if the rows are the reference.
    Raises ValueError if the counts are not C rows of C.
    """
    rows = counts.to_numpy() if hasattr(counts, "to_numpy") else counts
    table = [[finite(count) or 0.0 for count in row] for row in rows]
    if [len(row) for row in table] != [len(categories)] * len(categories):
        raise ValueError(
            f"{len(categories)} categories need as many rows and columns, not rows of {[len(row) for row in table]}."
        )
    total = sum(map(sum, table))
    if not total:
        return empty_html("Nothing to compare yet. Counts appear here once clips are rated.")
    names = [as_text(name) for name in categories]
    recalls = [percent(row[index], sum(row)) for index, row in enumerate(table)]
    same = sum(row[index] for index, row in enumerate(table))
    summary = f"Rows {row_name}, columns {column_name}: {same:,.0f} of {total:,.0f} are on the diagonal. "
    summary += sentence(f"{name} {recall}" for name, recall in zip(names, recalls, strict=True))
    head = "".join(
        f'<span class="matrix-name"><span title="{escape(name)}">{escape(name)}</span></span>' for name in names
    )
    body = "".join(_matrix_row(names, index, row, recalls[index]) for index, row in enumerate(table))
    grid = (
        f'<p class="plot-quiet">Rows: {escape(row_name)}. Columns: {escape(column_name)}. Stronger colour: '
        "larger share of the row. At the right: the share of the row on the diagonal.</p>"
        f'<div class="matrix" style="--categories:{len(names)}">'
        f'<span></span>{head}<span class="matrix-recall">same</span>{body}</div>'
    )
    numbers = [
        (name, *(f"{count:,.0f}" for count in row), recall)
        for name, row, recall in zip(names, table, recalls, strict=True)
    ]
    title = f"{row_name[:1].upper()}{row_name[1:]}, {column_name}"
    return figure_html(title, summary, grid, ("", *names, "share on the diagonal"), numbers)


def _matrix_row(names: list[str], index: int, row: list[float], recall: str) -> str:
    total = sum(row)
    cells = "".join(
        f'<span class="matrix-cell{" on-diagonal" if column == index else ""}" '
        f'style="--shade:{_STRONGEST_SHADE * ratio(count, total):.1f}%" '
        f'title="{escape(names[index])} / {escape(names[column])}: {count:,.0f} ({percent(count, total)})">'
        f"{count:,.0f}</span>"
        for column, count in enumerate(row)
    )
    name = f'<span class="matrix-label" title="{escape(names[index])}">{escape(names[index])}</span>'
    return f'{name}{cells}<span class="matrix-recall">{recall}</span>'
