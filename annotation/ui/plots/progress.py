"""Progress of each study."""

from __future__ import annotations

from typing import Any

from annotation.ui.plots.figure import empty_html, escape, figure_html
from annotation.ui.plots.values import as_records, count_text, counted, number_of, percent, ratio, sentence, text_of


def progress_bars(rows: Any) -> str:
    """Ratings done of those planned. Row: label, done, wanted, raters and, if known, eta (text)."""
    records = as_records(rows)
    if not records:
        return empty_html("Nothing to rate yet. Progress appears here once the study has clips.")
    summary = "Progress. " + sentence(f"{text_of(row, 'label')} {_progress_in_words(row)}" for row in records)
    body = "".join(_progress_row(row) for row in records)
    names = ("", "done", "wanted", "share", "raters", "expected to end")
    numbers = [
        (
            text_of(row, "label"),
            count_text(row, "done"),
            count_text(row, "wanted"),
            _done_share(row),
            count_text(row, "raters"),
            text_of(row, "eta"),
        )
        for row in records
    ]
    return figure_html("Progress", summary, body, names, numbers)


def _progress_row(row: Any) -> str:
    width = 100 * min(1.0, ratio(number_of(row, "done") or 0.0, number_of(row, "wanted") or 0.0))
    planned = f" of {count_text(row, 'wanted')}" if number_of(row, "wanted") else ", no number set"
    parts = (count_text(row, "done") + planned, counted(row, "raters", "rater"), text_of(row, "eta"))
    words = " · ".join(filter(None, parts))
    return (
        f'<div class="plot-progress"><span class="plot-label">{escape(text_of(row, "label"))}</span>'
        f'<span class="progress-share">{_done_share(row)}</span>'
        f'<span class="progress-track"><span class="plot-fill series-0" style="width:{width:.1f}%"></span></span>'
        f'<span class="plot-quiet">{escape(words)}</span></div>'
    )


def _progress_in_words(row: Any) -> str:
    return f"{_done_share(row)} ({count_text(row, 'done')} of {count_text(row, 'wanted')})"


def _done_share(row: Any) -> str:
    """A percentage that is 100 only when everything is done."""
    done, wanted = number_of(row, "done") or 0.0, number_of(row, "wanted") or 0.0
    return "99 %" if wanted and 0.99 < done / wanted < 1 else percent(done, wanted)
