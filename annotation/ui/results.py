"""The Results tab: a study's results, adjudication of items, verdicts on raters, and the download.

Handlers first, then the layout, then the wiring. Every handler checks who asks; the pictures are in
``result_pictures``.
"""

from __future__ import annotations

import html
import uuid
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from annotation.analysis.item_table import LAST, SHOWN, file_name, own_values
from annotation.export.labels import ANCHORED, BOTH, UNANCHORED, missing_labels
from annotation.studio import Studio
from annotation.study.rules import Study
from annotation.study.scales import SCALES
from annotation.ui import access
from annotation.ui.access import explained, researcher
from annotation.ui.drawings import Drawings
from annotation.ui.studies import is_practice
from emotion_omni.types import NO_WORDS, EmotionOmniError

EMPTY = '<div class="empty">Choose a study. Its figures appear here once raters have begun.</div>'
REASONS = ["ambiguous recording", "gap in the instructions", "rater's slip", "true difference of opinion"]
MOST_ROWS = 500  # of the table of items, sent to the page at a time
MOST_VALUES = 200  # of a column, to choose from; others can be typed
ANY = ("Any", "")


# --- handlers ---------------------------------------------------------------------------------------------------


class Handlers:
    """The behaviour of the tab."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.drawings = Drawings(studio)

    def show(self, study: str | None, kept_only: bool, request: gr.Request) -> list[Any]:
        """→ pictures, columns to filter by, choices of raters, link to the download."""
        researcher(self.studio, request)
        if not study:
            return [EMPTY, gr.update(choices=[]), gr.update(choices=[]), ""]
        drawn = self.drawings.get(study, kept_only)
        columns = [name for name in drawn.items.columns if name not in ("item", "disagreement", "n")]
        return [
            drawn.pictures,
            gr.update(choices=[ANY, *columns]),
            gr.update(choices=drawn.raters),
            _downloads(html.escape(study), drawn.labels),
        ]

    def list_items(
        self, study: str | None, kept_only: bool, column: str | None, value: str | None, request: gr.Request
    ) -> list[Any]:
        """→ the items whose ``column`` holds ``value``, how many they are, choices of items and of values."""
        researcher(self.studio, request)
        if not study:
            return [pd.DataFrame(columns=[*SHOWN, *LAST]), "", gr.update(choices=[]), gr.update(choices=[])]
        items = self.drawings.get(study, kept_only).items
        texts = items[column].astype(str) if column in items.columns else None
        values = [] if texts is None else sorted(texts[texts != ""].unique())[:MOST_VALUES]
        chosen = items if texts is None or not value else items[texts == value]
        shown = chosen.head(MOST_ROWS)
        count = f"{len(chosen):,} of {len(items):,} items"
        count += f"; the first {MOST_ROWS} are shown" if len(chosen) > MOST_ROWS else ""
        choices = [(" · ".join(filter(None, (row.file, row.item))), row.item) for row in shown.itertuples()]
        return [shown, html.escape(count), gr.update(choices=choices, value=None), gr.update(choices=[ANY, *values])]

    def listen(self, study: str, item: str | None, request: gr.Request) -> tuple[str, Any]:
        """→ players of what the raters heard, with the researcher's file and columns, and the values of a decision."""
        researcher(self.studio, request)
        if not item:
            return "", gr.update(choices=[], value=None)
        with self.studio.store.read() as view:
            row, found = view.study(study), view.item(item)
        if row is None or found is None or found["study"] != study:
            raise EmotionOmniError("Choose an item of the list.", "not-found")
        values = SCALES[Study.read(row["settings"]).form.main].values
        return _players(item, found["content"]) + _source(found["content"]), gr.update(
            choices=[str(value) for value in values]
        )

    def decide(self, study: str, item: str, value: str, reason: str, kept_only: bool, request: gr.Request) -> list[Any]:
        """Record an adjudicated answer beside the ratings, which stay as they are."""
        by = researcher(self.studio, request)
        with self.studio.store.read() as view:
            row = view.study(study)
        if row is None:
            raise EmotionOmniError("There is no such study.", "not-found")
        scale = SCALES[Study.read(row["settings"]).form.main]
        checked = scale.check(int(value) if scale.kind == "points" else value)
        self._record(study, "item", by["id"], item=item, scale=scale.name, value=checked, reason=reason)
        return self.show(study, kept_only, request)

    def judge(
        self, study: str, rater: str, outcome: str, reason: str, kept_only: bool, request: gr.Request
    ) -> list[Any]:
        """Record a researcher's own verdict on a rater, with the reason."""
        by = researcher(self.studio, request)
        if not rater or not reason.strip():
            raise EmotionOmniError("Choose a rater and give a reason; it is shown in the export.", "missing")
        self._record(study, "rater", by["id"], rater=rater, value=outcome, reason=reason.strip())
        return self.show(study, kept_only, request)

    def _record(self, study: str, subject: str, by: str, **facts: Any) -> None:
        facts["reason"] = str(facts["reason"])[:400]
        decision = uuid.uuid4().hex
        self.studio.store.write(
            lambda transaction: transaction.record(
                "decided", decision=decision, study=study, subject=subject, by=by, **facts
            )
        )


def _downloads(study: str, labels: dict[str, int]) -> str:
    """Where raters have seen the model's guess, a choice of labels; those without it come first."""
    links = [_download(f"export/{study}.zip", "Download everything (zip)")]
    if labels[ANCHORED]:
        links = [
            _download(f"export/{study}.zip", f"Download {labels[UNANCHORED]} labels made without the guess (zip)"),
            _download(f"export/{study}.zip?labels={ANCHORED}", f"{labels[ANCHORED]} made after it was shown"),
            _download(f"export/{study}.zip?labels={BOTH}", "both"),
        ]
    note = missing_labels(UNANCHORED, labels)
    alert = f'<p class="alert">{html.escape(note)}</p>' if note else ""
    return alert + " · ".join([*links, _download(f"codes/{study}?format=csv", "Completion codes (CSV)")])


def _download(path: str, words: str) -> str:
    return f'<a class="download" href="studio/{path}" download>{words}</a>'


def _players(item: str, content: dict[str, Any]) -> str:
    address, texts = f"studio/listen/{html.escape(item)}/", content.get("texts", {})
    return "".join(
        f'<p>{html.escape(role)}: <audio controls preload="none" src="{address}{html.escape(role)}"></audio>'
        f" {html.escape((texts[role] or NO_WORDS) if role in texts else '')}</p>"
        for role in content.get("clips", {})
    )


def _source(content: dict[str, Any]) -> str:
    """The researcher's own file, row and columns. Raters never see them."""
    source = content.get("source") or {}
    rows = {
        "file": file_name(content),
        "from": source.get("place"),
        "SHA-256": ", ".join((source.get("sha256") or {}).values()),
    }
    cells = [(name, value) for name, value in rows.items() if value] + list(own_values(content).items())
    body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>" for name, value in cells)
    return f'<table class="timings source"><tbody>{body}</tbody></table>' if cells else ""


# --- layout -----------------------------------------------------------------------------------------------------


@dataclass
class Components:
    """What the wiring connects."""

    inside: gr.Column  # everything but the notice; visible to researchers
    notice: gr.HTML
    study: gr.Dropdown
    kept_only: gr.Checkbox
    refresh: gr.Button
    download: gr.HTML
    pictures: gr.HTML
    column: gr.Dropdown
    value: gr.Dropdown
    count: gr.HTML
    items: gr.Dataframe
    item: gr.Dropdown
    decision: gr.Dropdown
    disagreement: gr.Dropdown
    decide: gr.Button
    clips: gr.HTML
    rater: gr.Dropdown
    outcome: gr.Dropdown
    reason: gr.Textbox
    judge: gr.Button


def build(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    notice = access.notice()
    with gr.Column(visible=False) as inside:
        study = _draw_study()
        items = _draw_items()
        with gr.Accordion("Judge a rater", open=False), gr.Row():
            rater = gr.Dropdown([], label="Rater")
            outcome = gr.Dropdown(["kept", "flagged"], value="flagged", label="Verdict")
            reason = gr.Textbox(label="Reason", max_length=200)
            judge = gr.Button("Record the verdict")
    verdict: dict[str, Any] = {"rater": rater, "outcome": outcome, "reason": reason, "judge": judge}
    _wire(studio, page, tab, Components(inside, notice, **study, **items, **verdict))


def _draw_study() -> dict[str, Any]:
    with gr.Row():
        study = gr.Dropdown([], label="Study", elem_id="results-study", scale=3)
        kept_only = gr.Checkbox(True, label="Leave out flagged raters", scale=1)
        refresh = gr.Button("Refresh", scale=1, elem_id="results-refresh")
    download = gr.HTML("", container=False)
    shown = gr.HTML(EMPTY, elem_id="results", container=False)
    return {"study": study, "kept_only": kept_only, "refresh": refresh, "download": download, "pictures": shown}


def _draw_items() -> dict[str, Any]:
    gr.Markdown(
        "### Items\nThe most divided first, with your file and the columns of your table, which raters never see. "
        "Click on a column's head to sort. Choose an item to hear it and to decide; a decision is kept beside the "
        "ratings and exported with them."
    )
    with gr.Row():
        column = gr.Dropdown([], label="Only where the column", elem_id="items-column")
        value = gr.Dropdown([], label="holds", allow_custom_value=True, elem_id="items-value")
    count = gr.HTML("", elem_id="items-count", container=False)
    items = gr.Dataframe(headers=[*SHOWN, *LAST], interactive=False, elem_id="queue", max_height=420)
    with gr.Row():
        item = gr.Dropdown([], label="Item", elem_id="adjudicate-item")
        decision = gr.Dropdown([], label="Decision", elem_id="adjudicate-value")
        disagreement = gr.Dropdown(REASONS, value=REASONS[0], label="Why raters differ", allow_custom_value=True)
        decide = gr.Button("Decide", elem_id="adjudicate")
    clips = gr.HTML("", elem_id="adjudicate-clips", container=False)
    filters = {"column": column, "value": value, "count": count, "items": items}
    chosen = {"item": item, "decision": decision, "disagreement": disagreement, "decide": decide, "clips": clips}
    return filters | chosen


# --- wiring -----------------------------------------------------------------------------------------------------


def _wire(studio: Studio, page: gr.Blocks, tab: gr.Tab, parts: Components) -> None:
    handlers = Handlers(studio)
    private: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "minimal",
        "concurrency_id": "results",
        "concurrency_limit": 2,
    }

    def entered(request: gr.Request) -> list[Any]:
        allowed, notice = access.notice_for(studio, request)
        if allowed:
            handlers.drawings.prepare()
        return [gr.update(visible=allowed), notice, gr.update(choices=_studies(studio) if allowed else [])]

    shown = [parts.inside, parts.notice, parts.study]
    page.load(entered, None, shown, **private)
    tab.select(entered, None, shown, **private)
    asked = [parts.study, parts.kept_only]
    outputs = [parts.pictures, parts.column, parts.rater, parts.download]
    filtered = [*asked, parts.column, parts.value]
    listed = [parts.items, parts.count, parts.item, parts.value]
    decision = [parts.study, parts.item, parts.decision, parts.disagreement, parts.kept_only]
    verdict = [parts.study, parts.rater, parts.outcome, parts.reason, parts.kept_only]

    def list_items(after: Any) -> None:
        after(explained(handlers.list_items), filtered, listed, **private)

    parts.study.change(lambda: [None, None], None, [parts.column, parts.value], **private)
    for event in (parts.study.change, parts.kept_only.change, parts.refresh.click):
        list_items(event(explained(handlers.show), asked, outputs, **private).then)
    list_items(parts.decide.click(explained(handlers.decide), decision, outputs, **private).then)
    list_items(parts.judge.click(explained(handlers.judge), verdict, outputs, **private).then)
    parts.column.input(lambda: None, None, parts.value, **private)
    for event in (parts.column.input, parts.value.input):
        list_items(event)
    parts.item.change(explained(handlers.listen), [parts.study, parts.item], [parts.clips, parts.decision], **private)


def _studies(studio: Studio) -> list[tuple[str, str]]:
    with studio.store.read() as view:
        return [(row["settings"]["title"], row["id"]) for row in view.studies() if not is_practice(row)]
