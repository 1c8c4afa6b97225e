"""What raters reported, as tables below a study's pictures: reasons for skipped items, comments and notes."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import pandas as pd

from annotation.analysis.reports import DISTRESSING, Reports
from annotation.analysis.results import Results
from annotation.study.scales import SCALES


def report_tables(found: Results, reports: Reports) -> str:
    """All as HTML; empty where nobody has reported anything."""
    comments = [(found.pseudonym(rater), words) for rater, words in reports.comments()]
    return (
        _table("Skipped items", ("item", "about", "reasons"), _reasons(found, reports))
        + _table("Comments in the closing survey", ("rater", "comment"), _escaped(comments))
        + _table("Notes on items", ("item", "rater", "note"), _escaped(_notes(found)))
    )


def _reasons(found: Results, reports: Reports) -> list[tuple[str, ...]]:
    return [
        (html.escape(item), html.escape(found.about(item)), ", ".join(_reason(*one) for one in sorted(counts.items())))
        for item, counts in reports.reasons()
    ]


def _reason(reason: str, count: int) -> str:
    text = f"{html.escape(reason)} × {count}"
    return f'<strong class="alert">{text}</strong>' if reason == DISTRESSING else text


def _notes(found: Results) -> list[tuple[str, ...]]:
    """Free words to a question that is no measurement. All raters', flagged or not."""
    texts = {name for name, scale in SCALES.items() if scale.kind == "text" and not scale.required}
    chosen = [found.values(name, False, None, ("item", "rater", "value", "at")) for name in sorted(texts)]
    table = pd.concat(chosen).sort_values("at", kind="stable")
    return list(table[["item", "rater", "value"]].itertuples(index=False, name=None))


def _escaped(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [tuple(html.escape(str(cell)) for cell in row) for row in rows]


def _table(title: str, head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    names = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<details class="reports" open><summary>{title} ({len(rows)})</summary>'
        f'<table class="timings"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></details>'
    )
