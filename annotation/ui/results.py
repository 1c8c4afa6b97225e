"""The Results tab: a study's results, adjudication of items, verdicts on raters, and the download.

Handlers first, then the layout, then the wiring. Every handler checks who asks; the pictures are in
``result_pictures``.
"""

from __future__ import annotations

import contextlib
import gc
import html
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from annotation.analysis.reports import Reports
from annotation.analysis.results import Results
from annotation.export.labels import ANCHORED, BOTH, UNANCHORED, count_labels, missing_labels
from annotation.studio import Studio
from annotation.study.rules import Study
from annotation.study.scales import SCALES
from annotation.ui import access
from annotation.ui.access import explained, researcher
from annotation.ui.report_tables import report_tables
from annotation.ui.result_pictures import pictures
from annotation.ui.studies import is_practice
from emotion_omni.types import EmotionOmniError

EMPTY = '<div class="empty">Choose a study. Its figures appear here once raters have begun.</div>'
REASONS = ["ambiguous recording", "gap in the instructions", "rater's slip", "true difference of opinion"]
KEPT_DRAWINGS = 8  # of about 0.3 MB each
QUEUE = ["item", "about", "disagreement", "n", "answers", "decided"]


# --- handlers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What the tab shows of a study, without the study's ratings. ``raters``: (name and verdict, id)."""

    pictures: str
    queue: pd.DataFrame
    raters: list[tuple[str, str]]
    labels: dict[str, int]  # ordinary ratings without and with the model's guess


class Drawings:
    """What was drawn, by study, number of the last event and whether flagged raters are left out.

    Each is drawn once, whoever asks: a study of 20,000 ratings takes about a second of work, during which the threads
    that serve raters have to share the interpreter. Only the latest are kept.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._kept: dict[tuple[str, int, bool], Drawn] = {}
        self._one_at_a_time = threading.Lock()

    def get(self, study: str, kept_only: bool) -> Drawn:
        with self._one_at_a_time, _without_collector():
            with self.studio.store.read() as view:
                key = (study, view.applied(), kept_only)
                if key in self._kept:
                    return self._kept[key]
                found = Results.read(view, study, self.studio.people.key)
                reports = Reports.read(view, study)
            drawn = _draw(found, reports, kept_only)
            latest = list(self._kept.items())[1 - KEPT_DRAWINGS :]
            self._kept = dict([*latest, (key, drawn)])
            return drawn


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Rows of a large study are a million objects without cycles: looking for cycles among them takes half of the
    time, and stops every other thread meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _draw(found: Results, reports: Reports, kept_only: bool) -> Drawn:
    queue = found.adjudication_queue(kept_only)[QUEUE].head(200)
    people = [(f"{found.pseudonym(rater)} · {found.verdicts[rater].outcome}", rater) for rater in found.raters]
    shown = pictures(found, kept_only) + report_tables(found, reports)
    return Drawn(shown, queue.round(3), people, count_labels(found.ratings))


class Handlers:
    """The behaviour of the tab."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.drawings = Drawings(studio)

    def show(self, study: str | None, kept_only: bool, request: gr.Request) -> list[Any]:
        """→ pictures, rows of the adjudication queue, choices of items and raters, link to the download."""
        researcher(self.studio, request)
        if not study:
            return [EMPTY, pd.DataFrame(columns=QUEUE), gr.update(choices=[]), gr.update(choices=[]), ""]
        drawn = self.drawings.get(study, kept_only)
        return [
            drawn.pictures,
            drawn.queue,
            gr.update(choices=list(drawn.queue["item"])),
            gr.update(choices=drawn.raters),
            _downloads(html.escape(study), drawn.labels),
        ]

    def listen(self, study: str, item: str, request: gr.Request) -> tuple[str, Any]:
        """→ players of what the raters heard, and the values that may be decided."""
        researcher(self.studio, request)
        with self.studio.store.read() as view:
            row, found = view.study(study), view.item(item)
        if row is None or found is None or found["study"] != study:
            raise EmotionOmniError("Choose an item of the list.", "not-found")
        values = SCALES[Study.read(row["settings"]).form.main].values
        return _players(item, found["content"]), gr.update(choices=[str(value) for value in values])

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
        f" {html.escape(texts.get(role, ''))}</p>"
        for role in content.get("clips", {})
    )


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
    queue: gr.Dataframe
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
        queue = _draw_adjudication()
        with gr.Accordion("Judge a rater", open=False), gr.Row():
            rater = gr.Dropdown([], label="Rater")
            outcome = gr.Dropdown(["kept", "flagged"], value="flagged", label="Verdict")
            reason = gr.Textbox(label="Reason", max_length=200)
            judge = gr.Button("Record the verdict")
    verdict: dict[str, Any] = {"rater": rater, "outcome": outcome, "reason": reason, "judge": judge}
    _wire(studio, page, tab, Components(inside, notice, **study, **queue, **verdict))


def _draw_study() -> dict[str, Any]:
    with gr.Row():
        study = gr.Dropdown([], label="Study", elem_id="results-study", scale=3)
        kept_only = gr.Checkbox(True, label="Leave out flagged raters", scale=1)
        refresh = gr.Button("Refresh", scale=1, elem_id="results-refresh")
    download = gr.HTML("", container=False)
    shown = gr.HTML(EMPTY, elem_id="results", container=False)
    return {"study": study, "kept_only": kept_only, "refresh": refresh, "download": download, "pictures": shown}


def _draw_adjudication() -> dict[str, Any]:
    gr.Markdown(
        "### Adjudicate\nThe most divided items first. A decision is kept beside the ratings and exported with them."
    )
    queue = gr.Dataframe(headers=QUEUE, interactive=False, elem_id="queue", wrap=True)
    with gr.Row():
        item = gr.Dropdown([], label="Item", elem_id="adjudicate-item")
        decision = gr.Dropdown([], label="Decision", elem_id="adjudicate-value")
        disagreement = gr.Dropdown(REASONS, value=REASONS[0], label="Why raters differ", allow_custom_value=True)
        decide = gr.Button("Decide", elem_id="adjudicate")
    clips = gr.HTML("", elem_id="adjudicate-clips", container=False)
    return {
        "queue": queue,
        "item": item,
        "decision": decision,
        "disagreement": disagreement,
        "decide": decide,
        "clips": clips,
    }


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
        return [gr.update(visible=allowed), notice, gr.update(choices=_studies(studio) if allowed else [])]

    shown = [parts.inside, parts.notice, parts.study]
    page.load(entered, None, shown, **private)
    tab.select(entered, None, shown, **private)
    asked = [parts.study, parts.kept_only]
    outputs = [parts.pictures, parts.queue, parts.item, parts.rater, parts.download]
    for event in (parts.study.change, parts.kept_only.change, parts.refresh.click):
        event(explained(handlers.show), asked, outputs, **private)
    parts.item.change(explained(handlers.listen), [parts.study, parts.item], [parts.clips, parts.decision], **private)
    decision = [parts.study, parts.item, parts.decision, parts.disagreement, parts.kept_only]
    parts.decide.click(explained(handlers.decide), decision, outputs, **private)
    verdict = [parts.study, parts.rater, parts.outcome, parts.reason, parts.kept_only]
    parts.judge.click(explained(handlers.judge), verdict, outputs, **private)


def _studies(studio: Studio) -> list[tuple[str, str]]:
    with studio.store.read() as view:
        return [(row["settings"]["title"], row["id"]) for row in view.studies() if not is_practice(row)]
