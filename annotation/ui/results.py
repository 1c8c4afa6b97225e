"""The Results tab: pictures of agreement, means, rankings and raters; adjudication; downloads.

Handlers first, then the layout, then the wiring. Every handler checks who asks.
"""

from __future__ import annotations

import html
import uuid
from typing import Any

import gradio as gr
import pandas as pd

from annotation.analysis.confusion import unweighted_average_recall
from annotation.analysis.intervals import verdict
from annotation.analysis.results import Results
from annotation.studio import Studio
from annotation.study.scales import SCALES
from annotation.ui import access, plots
from annotation.ui.access import explained, researcher
from annotation.ui.studies import is_real
from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

EMPTY = '<div class="empty">Choose a study. Its figures appear here once raters have begun.</div>'
REASONS = ["ambiguous recording", "gap in the instructions", "rater's slip", "true difference of opinion"]
QUEUE = ["item", "about", "disagreement", "n", "answers", "decided"]


class Handlers:
    """What the tab does, free of layout."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def results(self, study: str) -> Results:
        return self.studio.results(study)

    def show(self, study: str | None, kept_only: bool, request: gr.Request) -> list[Any]:
        """→ pictures, rows of the adjudication queue, choices of items and raters, link to the export."""
        researcher(self.studio, request)
        if not study:
            return [EMPTY, pd.DataFrame(columns=QUEUE), gr.update(choices=[]), gr.update(choices=[]), ""]
        found = self.results(study)
        queue = found.adjudication_queue(kept_only)[QUEUE].head(200)
        people = [(f"{found.pseudonym(rater)} · {found.verdicts[rater].outcome}", rater) for rater in found.raters]
        link = (
            f'<a class="download" href="studio/export/{html.escape(study)}.zip" download>Download everything (zip)</a>'
        )
        return [
            pictures(found, kept_only),
            queue.round(3),
            gr.update(choices=list(queue["item"])),
            gr.update(choices=people),
            link,
        ]

    def listen(self, study: str, item: str, request: gr.Request) -> tuple[str, Any]:
        """What the raters heard, and what may be decided."""
        researcher(self.studio, request)
        found = self.results(study)
        if item not in found.items:
            raise EmotionOmniError("Choose an item of the list.", "not-found")
        content = found.items[item]["content"]
        place = f"studio/listen/{html.escape(item)}/"
        rows = [
            f'<p>{html.escape(role)}: <audio controls preload="none" src="{place}{html.escape(role)}"></audio>'
            f" {html.escape(content.get('texts', {}).get(role, ''))}</p>"
            for role in content.get("clips", {})
        ]
        main = SCALES[found.rules.form.main]
        return "".join(rows), gr.update(choices=[str(value) for value in main.values])

    def decide(self, study: str, item: str, value: str, reason: str, kept_only: bool, request: gr.Request) -> list[Any]:
        """An adjudicated answer: kept beside the ratings, never instead of them."""
        by = researcher(self.studio, request)
        scale = SCALES[self.results(study).rules.form.main]
        checked = scale.check(int(value) if scale.kind == "points" else value)
        self._record(study, "item", by["id"], item=item, scale=scale.name, value=checked, reason=reason)
        return self.show(study, kept_only, request)

    def judge(
        self, study: str, rater: str, outcome: str, reason: str, kept_only: bool, request: gr.Request
    ) -> list[Any]:
        """A researcher's own verdict on a rater, with the reason."""
        by = researcher(self.studio, request)
        if not rater or not reason.strip():
            raise EmotionOmniError("Choose a rater and give a reason; it is shown in the export.", "missing")
        self._record(study, "rater", by["id"], rater=rater, value=outcome, reason=reason.strip())
        return self.show(study, kept_only, request)

    def _record(self, study: str, subject: str, by: str, **facts: Any) -> None:
        facts["reason"] = str(facts["reason"])[:400]
        self.studio.store.write(
            lambda transaction: transaction.record("decided", decision=uuid.uuid4().hex, study=study, subject=subject, by=by, **facts)
        )


# --- pictures ---------------------------------------------------------------------------------------------------


def pictures(found: Results, kept_only: bool) -> str:
    """Everything that can be drawn of a study, in the order in which a researcher asks."""
    if found.table.empty:
        return '<div class="empty">No ratings yet.</div>'
    parts = [
        _tiles(found),
        _alarm(found),
        _ranking(found, kept_only),
        _main_answers(found, kept_only),
        *_means(found, kept_only),
        _confusion(found, kept_only),
        _anchoring(found, kept_only),
        _lift(found, kept_only),
        _agreement(found, kept_only),
        _raters(found),
        plots.timeline(found.per_hour(), "Ratings an hour", "ratings"),
    ]
    return "".join(parts)


def _tiles(found: Results) -> str:
    outcomes = [verdict.outcome for verdict in found.verdicts.values()]
    ordinary = found.table[found.table["kind"] == "rate"]
    rated = ordinary["rating"].nunique()
    wanted = sum(item["role"] == "rate" for item in found.items.values()) * found.rules.ratings_per_item
    return plots.stat_tiles(
        [
            ("Ratings", rated, f"of {wanted} wanted"),
            ("Raters", len(outcomes), "with at least one rating"),
            ("Kept", outcomes.count("kept"), "passed traps or gold items"),
            ("Flagged", outcomes.count("flagged"), "left out unless you say otherwise"),
            ("Could not be checked", outcomes.count("could-not-check"), "kept, since nothing speaks against them"),
        ]
    )


def _alarm(found: Results) -> str:
    message = found.alarm()
    return f'<div class="status alert" role="alert">{html.escape(message)}</div>' if message else ""


def _agreement(found: Results, kept_only: bool) -> str:
    rows = [
        {
            "scale": scale,
            "name": one.name,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "items": one.items,
            "raters": one.raters,
            "reason": one.reason,
        }
        for scale, all_ in found.agreement(kept_only).items()
        for one in all_
    ]
    return plots.agreement_panel(rows)


def _means(found: Results, kept_only: bool) -> list[str]:
    drawn = []
    for name, table in found.means(kept_only).items():
        scale = SCALES[name]
        rows = [
            {
                "label": row["system"],
                "mean": row["mean"],
                "low": row["clustered_low"],
                "high": row["clustered_high"],
                "naive_low": row["naive_low"],
                "naive_high": row["naive_high"],
                "n": row["n"],
                "reason": row["reason"],
            }
            for row in table.to_dict("records")
        ]
        drawn.append(plots.interval_plot(rows, scale.low, scale.high, f"{name}: {scale.question}"))
    return drawn


def _ranking(found: Results, kept_only: bool) -> str:
    ranking = found.ranking(kept_only)
    if ranking is None:
        return ""
    note = f'<p class="plot-quiet">{html.escape(ranking.note)}</p>' if ranking.note else ""
    return plots.ranking_plot(ranking.table, ranking.position_bias) + note


def _confusion(found: Results, kept_only: bool) -> str:
    counts = found.confusion(kept_only)
    if counts is None:
        return ""
    recall = unweighted_average_recall(counts)
    note = (
        ""
        if recall is None
        else f'<p class="plot-quiet">Unweighted average recall of the model against people: {recall:.2f}.</p>'
    )
    drawn = plots.confusion_matrix(
        list(emotion.NAMES), counts.to_numpy().tolist(), "rated by people", "heard by the model"
    )
    return drawn + note


def _anchoring(found: Results, kept_only: bool) -> str:
    gap = found.anchoring(kept_only)
    if gap is None:
        return ""
    interval = gap["gap"]
    how = "" if interval.low is None else f" (95 % interval {interval.low:+.0%} to {interval.high:+.0%})"
    return (
        f'<p class="plot-quiet">Raters agree with the model in {gap["shown"]:.0%} where they see its guess and in {gap["hidden"]:.0%} '
        f"where they do not{how}: {html.escape(_pull(interval))}.</p>"
    )


def _pull(interval: Any) -> str:
    words = {
        "better": "seeing the guess pulls raters towards it",
        "worse": "seeing the guess pushes raters away from it",
    }
    return words.get(verdict(interval), "a pull towards the guess is not shown")


def _lift(found: Results, kept_only: bool) -> str:
    lift = found.voice_lift(kept_only)
    if lift is None:
        return ""
    bare = {"naive_low": None, "naive_high": None}
    rows = [
        bare | {"label": name, "mean": one.mean, "low": one.low, "high": one.high, "n": one.n, "reason": one.reason}
        for name, one in (("words alone", lift.words), ("voice alone", lift.voice), ("both", lift.both))
    ]
    gain = lift.lift
    said = f"Voice lift: {gain.mean:+.0%}" if gain.mean is not None else f"Voice lift is not defined: {gain.reason}"
    said += f" (95 % interval {gain.low:+.0%} to {gain.high:+.0%})" if gain.low is not None else ""
    return (
        plots.interval_plot(rows, 0, 1, "Share of emotions recognised")
        + f'<p class="plot-quiet">{html.escape(said)}.</p>'
    )


def _main_answers(found: Results, kept_only: bool) -> str:
    main = SCALES[found.rules.form.main]
    if main.kind == "points":
        return ""
    counts = found.distribution(main.name, kept_only)
    return plots.histogram([str(value) for value in main.values], counts, main.question)


def _raters(found: Results) -> str:
    severity = found.severity()
    rows = [] if severity is None else severity.to_dict("records")
    outcomes = {found.pseudonym(rater): verdict for rater, verdict in found.verdicts.items()}
    drawn = plots.scatter_severity([_severity_row(row, outcomes) for row in rows]) if rows else ""
    drawn += f'<p class="plot-quiet">Measured on “{html.escape(found.first_points.question)}”</p>' if rows else ""
    return drawn + _retest(found) + _verdicts(found)


def _severity_row(row: dict, outcomes: dict) -> dict[str, Any]:
    effect, half = row["effect"], row["half_width"]
    known = effect is not None and half is not None and not pd.isna(half)
    return {
        "rater": row["rater"],
        "effect": effect,
        "low": effect - half if known else None,
        "high": effect + half if known else None,
        "outcome": outcomes[row["rater"]].outcome,
    }


def _retest(found: Results) -> str:
    table = found.retest()
    if table.empty or not table["pairs"].sum():
        return ""
    same = float((table["same"] * table["pairs"]).sum() / table["pairs"].sum())
    return f'<p class="plot-quiet">Test and retest: the same answer to {same:.0%} of {int(table["pairs"].sum())} hidden repeats.</p>'


def _verdicts(found: Results) -> str:
    rows = "".join(
        f"<tr><td>{found.pseudonym(rater)}</td><td>{html.escape(one.outcome)}</td><td>{html.escape(', '.join(one.reasons))}</td></tr>"
        for rater, one in found.verdicts.items()
    )
    return f'<details class="verdicts"><summary>Verdicts on raters</summary><table class="timings"><tbody>{rows}</tbody></table></details>'


# --- layout and wiring ------------------------------------------------------------------------------------------


def build(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    handlers = Handlers(studio)
    notice = access.notice()
    with gr.Column(visible=False) as inside:
        with gr.Row():
            chosen = gr.Dropdown([], label="Study", elem_id="results-study", scale=3)
            kept_only = gr.Checkbox(True, label="Leave out flagged raters", scale=1)
            refresh = gr.Button("Refresh", scale=1, elem_id="results-refresh")
        download = gr.HTML("", container=False)
        shown = gr.HTML(EMPTY, elem_id="results", container=False)
        gr.Markdown(
            "### Adjudicate\nThe most divided items first. A decision is kept beside the ratings and exported with them."
        )
        queue = gr.Dataframe(headers=QUEUE, interactive=False, elem_id="queue", wrap=True)
        with gr.Row():
            item = gr.Dropdown([], label="Item", elem_id="adjudicate-item")
            value = gr.Dropdown([], label="Decision", elem_id="adjudicate-value")
            reason = gr.Dropdown(REASONS, value=REASONS[0], label="Why raters differ", allow_custom_value=True)
            decide = gr.Button("Decide", elem_id="adjudicate")
        clips = gr.HTML("", elem_id="adjudicate-clips", container=False)
        with gr.Accordion("Judge a rater", open=False), gr.Row():
            rater = gr.Dropdown([], label="Rater")
            outcome = gr.Dropdown(["kept", "flagged"], value="flagged", label="Verdict")
            why = gr.Textbox(label="Reason", max_length=200)
            judge = gr.Button("Record the verdict")

    private = {
        "api_visibility": "private",
        "show_progress": "minimal",
        "concurrency_id": "results",
        "concurrency_limit": 2,
    }
    outputs = [shown, queue, item, rater, download]

    def entered(request: gr.Request) -> list[Any]:
        may, said = access.told(studio, request)
        with studio.store.read() as view:
            names = [(row["settings"]["title"], row["id"]) for row in view.studies() if is_real(row)] if may else []
        return [gr.update(visible=may), said, gr.update(choices=names)]

    page.load(entered, None, [inside, notice, chosen], **private)
    tab.select(entered, None, [inside, notice, chosen], **private)
    for event in (chosen.change, kept_only.change, refresh.click):
        event(explained(handlers.show), [chosen, kept_only], outputs, **private)
    item.change(explained(handlers.listen), [chosen, item], [clips, value], **private)
    decide.click(explained(handlers.decide), [chosen, item, value, reason, kept_only], outputs, **private)
    judge.click(explained(handlers.judge), [chosen, rater, outcome, why, kept_only], outputs, **private)
