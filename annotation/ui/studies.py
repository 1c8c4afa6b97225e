"""The Studies tab: create a study from recordings or by letting engines answer, invite raters, watch the progress.

Handlers first, then the layout, then the wiring. Every handler checks who asks.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr

from annotation.analysis.power import power_curve
from annotation.people.roles import ROLES, check_role
from annotation.rating.public_address import public_url
from annotation.realtime.engine_pool import EnginePool
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.study import importing, lifecycle, producing, templates
from annotation.study.progress import Progress
from annotation.study.rules import STATES, Study
from annotation.study.source import Source
from annotation.ui import access, plots
from annotation.ui.access import explained, researcher
from emotion_omni import engine
from emotion_omni.types import EmotionOmniError

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
EMPTY = (
    '<div class="empty">No study yet. Create the first one below: from recordings, from a zip file, or by letting '
    "engines answer.</div>"
)
FORMAT_HELP = """
A **zip file** holds recordings and, if you like, `study.yaml` (the settings) and `items.jsonl` or `items.csv` with one
item in each row. Columns: a file for each clip of the template (`speech`; `query`, `reply`; `query`, `a`, `b`), and if
known `text_<clip>`, `system` or `system_<clip>`, `guess`, `guess_probability`, `expected` (makes it a gold item),
`family` (items of one family are never given to the same rater). Everything else is kept as provenance. Without a
manifest each recording is an item.
"""
ASSUMED = (
    "Assumed: two systems, both rated by everybody; standard deviations of 0.5 points between raters, 0.6 between "
    "items, 0.8 within. Simulated with the same analysis as in the Results tab."
)


# --- handlers ---------------------------------------------------------------------------------------------------


class Handlers:
    """The behaviour of the tab."""

    def __init__(self, studio: Studio, engines: EnginePool) -> None:
        self.studio, self.engines = studio, engines
        self._runs: list[tuple[str, threading.Event]] = []  # engines answering: (researcher, set it to stop the run)

    def choices(self) -> list[tuple[str, str]]:
        with self.studio.store.read() as view:
            rows = [row for row in view.studies() if not is_practice(row)]
        return [(f"{row['settings']['title']} · {row['state']}", row["id"]) for row in rows]

    def monitor(self, request: gr.Request) -> str:
        researcher(self.studio, request)
        with self.studio.store.read() as view:
            rows = [_progress(view, row) for row in view.studies() if not is_practice(row)]
        return plots.progress_bars(rows) if rows else EMPTY

    def create(
        self,
        title: str,
        template: str,
        source: str,
        files: list[str] | None,
        names: list[str],
        seed: float,
        ratings_per_item: float,
        block_size: float,
        who: str,
        split: str,
        more: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple:
        """Create a study from the form → (message, choices of studies, progress of all studies)."""
        by = researcher(self.studio, request)
        settings = {
            "title": title,
            "template": template,
            "ratings_per_item": int(ratings_per_item),
            "block_size": int(block_size),
            "access": who,
            "split": split,
        } | (importing.read_yaml(more.encode()) if more.strip() else {})
        if not files:
            raise EmotionOmniError("Add a zip file or recordings first.", "missing")

        def report(done: int, total: int, what: str) -> None:
            progress((done, total), desc=what)

        if source == "engines":
            with self._run(by["id"]) as stop:
                rules, items, refused = self._produced(settings, files, names, int(seed), report, stop)
        else:
            rules, items = self._imported(settings, files, report)
            refused = []
        study = lifecycle.create(self.studio.store, self.studio.clips, rules, items, by["id"])
        return _created(rules, items, refused), gr.update(choices=self.choices(), value=study), self.monitor(request)

    def _imported(self, settings: dict, files: Sequence[str], report: Progress) -> tuple[Study, list]:
        is_archive = len(files) == 1 and files[0].lower().endswith(".zip")
        given = {name: value for name, value in settings.items() if value not in ("", None)} if is_archive else settings
        return importing.read_source(Source.uploads(files), self.studio.clips, given, report)

    def _produced(
        self,
        settings: dict,
        files: Sequence[str],
        names: list[str],
        seed: int,
        report: Progress,
        stop: threading.Event,
    ) -> tuple[Study, list, list[str]]:
        if not names:
            raise EmotionOmniError("Choose at least one engine.", "missing")
        rules = Study.read(settings)
        if rules.template == "compare" and len(names) == 1:
            raise EmotionOmniError("A comparison needs two engines. Choose another one beside it.", "missing")
        queries = producing.read_queries(files)
        loaded = {name: self.engines.get(name) for name in names}
        engines = [(engine.rated_as(name, one), one) for name, one in loaded.items()]
        items, refused = producing.produce(engines, queries, rules, self.studio.clips, seed, report, stop.is_set)
        if not items:
            raise EmotionOmniError("No query could be answered. " + " ".join(refused[:3]), "empty")
        return rules, items, refused

    @contextmanager
    def _run(self, by: str) -> Iterator[threading.Event]:
        run = (by, threading.Event())
        self._runs.append(run)
        try:
            yield run[1]
        finally:
            self._runs.remove(run)

    def stop(self, request: gr.Request) -> str:
        """Stop the engines that this researcher started, in any window. The answers so far still become a study."""
        by = researcher(self.studio, request)["id"]
        own = [stop for researcher_id, stop in list(self._runs) if researcher_id == by]
        if not own:
            return "No engines are answering for you right now."
        for stop in own:
            stop.set()
        return "Stopping after the current answer …"

    def set_state(self, study: str, state: str, request: gr.Request) -> tuple:
        researcher(self.studio, request)
        lifecycle.set_state(self.studio.store, study, state)
        return gr.update(choices=self.choices()), self.monitor(request)

    def delete(self, study: str, typed: str, request: gr.Request) -> tuple:
        """For admins only, and only with the study's title typed out."""
        researcher(self.studio, request, "admin")
        with self.studio.store.read() as view:
            row = view.study(study)
        if row is None or typed.strip() != row["settings"]["title"]:
            message = "Type the title of the study exactly, to confirm that it and all its ratings are deleted."
            raise EmotionOmniError(message, "not-confirmed")
        self.studio.delete_study(study)
        return gr.update(choices=self.choices(), value=None), self.monitor(request), "Deleted."

    def invite(self, study: str, role: str, cohort: str, name: str, request: gr.Request) -> str:
        """A link for one person, to be copied."""
        by = self._check_role(role, request)["id"]
        if role == "rater" and not study:
            raise EmotionOmniError("Choose the study at the top first: a rater's link leads to it.", "missing")
        token = self.studio.people.invites.create(role, study or None, cohort.strip(), name.strip(), by)
        asked = request.request
        assert asked is not None  # or the role could not have been checked
        return f"{public_url(asked)}/#invite={token}"

    def register(self, name: str, password: str, role: str, cohort: str, request: gr.Request) -> str:
        self._check_role(role, request)
        self.studio.people.accounts.register(name, password, role, cohort.strip())
        return f"{name} can sign in now."

    def _check_role(self, role: str, request: gr.Request) -> Row:
        """Who asks. Nobody can make somebody more powerful than themselves."""
        person = researcher(self.studio, request)
        check_role(role)
        if ROLES.index(role) > ROLES.index(person["role"]):
            raise EmotionOmniError("You cannot give a role above your own.", "forbidden")
        return person

    def plan(self, raters: float, items: float, overlap: float, difference: float, request: gr.Request) -> str:
        """Power for a range of numbers of raters. It takes seconds to compute, so it is not for strangers."""
        researcher(self.studio, request)
        counts = sorted({max(2, round(raters * share)) for share in (0.25, 0.5, 1, 2, 4)})
        curve = power_curve(int(items), counts, int(overlap) or None, difference=float(difference))
        chosen = curve.iloc[(curve["raters"] - raters).abs().argmin()]
        tiles = plots.stat_tiles(
            [
                ("Power", f"{chosen['power']:.0%}", f"chance to show a difference of {difference} points"),
                ("Interval", f"± {chosen['half_width']:.2f}", "half width of the 95 % interval"),
                ("Ratings", int(chosen["total_ratings"]), "in all"),
                ("Minutes", f"{chosen['minutes_per_rater']:.0f}", "a rater, at 20 s a rating"),
            ]
        )
        return tiles + plots.power_curve(curve.to_dict("records")) + f'<p class="plot-quiet">{ASSUMED}</p>'


def is_practice(row: dict[str, Any]) -> bool:
    """Whether a row of studies is a built-in practice round, which no researcher made."""
    return row["id"].startswith("practice-")


def _progress(view: View, row: dict) -> dict[str, Any]:
    counts, rules = view.counts(row["id"]), Study.read(row["settings"])
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return {
        "label": f"{rules.title} ({row['state']}{skipped})",
        "done": counts["done"],
        "wanted": counts["items"] * rules.ratings_per_item,
        "raters": counts["raters"],
    }


def _created(rules: Study, items: Sequence, refused: Sequence[str]) -> str:
    missing = f" {len(refused)} could not be answered: {'; '.join(refused[:3])}" if refused else ""
    return html.escape(f"“{rules.title}” is open, with {len(items)} items.{missing}")


# --- layout -----------------------------------------------------------------------------------------------------


@dataclass
class Components:
    """What the wiring connects."""

    inside: gr.Column  # everything but the notice; visible to researchers
    notice: gr.HTML
    monitor: gr.HTML
    study: gr.Dropdown
    state: gr.Dropdown
    set_state: gr.Button
    refresh: gr.Button
    message: gr.HTML
    form: list[gr.components.Component]  # in the order of Handlers.create
    create: gr.Button
    stop: gr.Button
    typed_title: gr.Textbox
    delete: gr.Button


def build(studio: Studio, engines: EnginePool, page: gr.Blocks) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    handlers = Handlers(studio, engines)
    notice = access.notice()
    with gr.Column(visible=False) as inside:
        monitor = gr.HTML(EMPTY, elem_id="monitor", container=False)
        with gr.Row():
            study = gr.Dropdown([], label="Study", elem_id="study", scale=3)
            state = gr.Dropdown(list(STATES), value="open", label="State", elem_id="state", scale=1)
            set_state = gr.Button("Set state", scale=1, elem_id="set-state")
            refresh = gr.Button("Refresh", scale=1)
        message = gr.HTML("", elem_id="studies-said", container=False)
        with gr.Accordion("New study", open=True):
            form = _draw_settings()
            with gr.Row():
                create = gr.Button("Create the study", variant="primary", elem_id="create-study")
                stop = gr.Button("Stop", variant="stop")
        with gr.Accordion("Raters", open=False):
            _build_people(handlers, study)
        with gr.Accordion("Plan: how many raters?", open=False):
            _build_plan(handlers)
        with gr.Accordion("Delete a study", open=False), gr.Row():
            typed_title = gr.Textbox(label="Title of the chosen study, typed out")
            delete = gr.Button("Delete it and all its ratings", variant="stop")
    chosen = (study, state, set_state, refresh, message)
    _wire(handlers, page, Components(inside, notice, monitor, *chosen, form, create, stop, typed_title, delete))


def _draw_settings() -> list[gr.components.Component]:
    """The form of a new study, in the order of ``Handlers.create``."""
    with gr.Row():
        title = gr.Textbox(label="Title", max_length=120, elem_id="new-title")
        template = gr.Dropdown(
            list(templates.choices()), value="emotion-recognition", label="Template", elem_id="new-template"
        )
    source = gr.Radio(
        [("My recordings or a zip file", "files"), ("Engines answer my recordings", "engines")],
        value="files",
        label="Items",
        elem_id="new-source",
    )
    files = gr.File(
        label="Recordings, or one zip file", file_count="multiple", type="filepath", height=130, elem_id="new-files"
    )
    gr.Markdown(FORMAT_HELP, elem_classes="privacy")
    with gr.Row(visible=False) as machines:
        offered = engine.offered()
        names = gr.Dropdown(offered, value=["embedded"], multiselect=True, label="Engines", elem_id="new-engines")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    with gr.Row():
        ratings_per_item = gr.Number(5, label="Ratings for each item", precision=0, minimum=1)
        block_size = gr.Number(10, label="Items in a block", precision=0, minimum=1)
        who = gr.Dropdown([("Anyone", "open"), ("Invited only", "invited")], value="open", label="Who may rate")
        split = gr.Dropdown(
            [("Evaluation", "evaluation"), ("Training", "training")], value="evaluation", label="Used for"
        )
    more = gr.Textbox(
        "", label="More settings (YAML)", lines=2, placeholder="guess_hidden_share: 0.5\ncohorts: [students]"
    )
    source.change(
        lambda chosen: gr.update(visible=chosen == "engines"), source, machines, queue=False, api_visibility="private"
    )
    return [title, template, source, files, names, seed, ratings_per_item, block_size, who, split, more]


def _build_people(handlers: Handlers, study: gr.Dropdown) -> None:
    with gr.Row():
        role = gr.Dropdown(list(ROLES[:2]), value="rater", label="Role")
        cohort = gr.Textbox(label="Cohort", placeholder="optional")
        name = gr.Textbox(label="Name", placeholder="optional for a link")
        password = gr.Textbox(label="Password (for an account)", type="password")
    with gr.Row():
        invite = gr.Button("Make a link for the chosen study", elem_id="make-link")
        register = gr.Button("Make an account")
    link = gr.Textbox(label="Link, for one person", buttons=["copy"], elem_id="invite-link", interactive=False)
    invite.click(explained(handlers.invite), [study, role, cohort, name], link, **PRIVATE)
    register.click(explained(handlers.register), [name, password, role, cohort], link, **PRIVATE)


def _build_plan(handlers: Handlers) -> None:
    with gr.Row():
        raters = gr.Slider(2, 200, 20, step=1, label="Raters")
        items = gr.Slider(4, 200, 30, step=1, label="Items")
        overlap = gr.Slider(0, 50, 0, step=1, label="Ratings for each item (0: all raters)")
        difference = gr.Slider(0.05, 1.5, 0.3, step=0.05, label="Difference worth finding, points")
    shown = gr.HTML("", elem_id="power", container=False)
    asked = [raters, items, overlap, difference]
    gr.Button("Plan").click(explained(handlers.plan), asked, shown, api_visibility="private")


# --- wiring -----------------------------------------------------------------------------------------------------


def _wire(handlers: Handlers, page: gr.Blocks, parts: Components) -> None:
    saving: dict[str, Any] = PRIVATE | {"concurrency_id": "studies", "concurrency_limit": 4}

    def entered(request: gr.Request) -> list[Any]:
        allowed, notice = access.notice_for(handlers.studio, request)
        progress = handlers.monitor(request) if allowed else EMPTY
        return [gr.update(visible=allowed), notice, progress, gr.update(choices=handlers.choices() if allowed else [])]

    shown = [parts.inside, parts.notice, parts.monitor, parts.study]
    page.load(entered, None, shown, **PRIVATE)
    parts.refresh.click(entered, None, shown, **PRIVATE)
    created = [parts.message, parts.study, parts.monitor]
    parts.create.click(explained(handlers.create), parts.form, created, **saving | {"show_progress": "full"})
    parts.stop.click(explained(handlers.stop), None, parts.message, queue=False, **PRIVATE)
    changed = [parts.study, parts.monitor]
    parts.set_state.click(explained(handlers.set_state), [parts.study, parts.state], changed, **saving)
    confirmed = [parts.study, parts.typed_title]
    parts.delete.click(explained(handlers.delete), confirmed, [*changed, parts.message], **saving)
    gr.Timer(20).tick(_quiet(handlers.monitor), None, parts.monitor, **PRIVATE | {"show_progress": "hidden"})


def _quiet(handler: Callable[[gr.Request], Any]) -> Callable[[gr.Request], Any]:
    """For a timer on pages whose visitor may have signed out: no message box."""

    def call(request: gr.Request) -> Any:
        try:
            return handler(request)
        except gr.Error:
            return gr.skip()

    return call
