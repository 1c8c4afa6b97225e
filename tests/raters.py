"""Simulated raters, and small studies for them: clips of a few bytes, a clock that is set by hand.

A :class:`Rater` goes through a whole study, either by :class:`annotation.rating.session.Sessions` itself or, given a
``TestClient``, through the JSON routes as a browser does. It listens to every clip (the clock runs on) and
fills in forms by a rule that a test may replace.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from annotation.people.accounts import add_rater
from annotation.store.store import Store
from annotation.store.tables import metadata
from annotation.studio import Studio
from annotation.study import checks
from annotation.study.clips import flac
from annotation.study.rules import Study
from annotation.study.templates import TEMPLATES
from emotion_omni.types import Audio

Screen = dict[str, Any]
CLIP_SECONDS = 2.0
BEGAN = 1_800_000_000.0  # seconds since 1970, on the clock that tests set


class Clock:
    """Seconds since 1970; moves only by :meth:`on`."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now

    def on(self, seconds: float) -> None:
        self.now += seconds


@contextlib.contextmanager
def opened(home: Path, url: str | None = None, clock: Clock | None = None) -> Iterator[Studio]:
    """A studio, closed at the end; with a ``clock``, its sessions go by that."""
    studio = Studio.open(home, url)
    if clock:
        studio.sessions.clock = clock
    try:
        yield studio
    finally:
        studio.store.close()


# --- studies ----------------------------------------------------------------------------------------------------


def clip(studio: Studio | None, name: str, seconds: float = CLIP_SECONDS) -> dict[str, Any]:
    """A clip as items hold it. With a studio, its few bytes are where the studio looks for them."""
    sha = hashlib.sha256(name.encode()).hexdigest()
    if studio:
        path = studio.clips.path(sha)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_tone())
    return {"sha": sha, "played": sha, "seconds": seconds}


@cache
def _tone() -> bytes:
    times = np.arange(1200) / 24_000
    return flac(Audio((0.1 * np.sin(2 * np.pi * 220 * times)).astype(np.float32), 24_000))


def item(studio: Studio | None, template: str, number: int, **more: Any) -> dict[str, Any]:
    """An ordinary item with clips for the roles of its template."""
    roles = TEMPLATES[template].clips
    content = {
        "clips": {role: clip(studio, f"{number}/{role}") for role in roles},
        "texts": dict.fromkeys(roles, f"words {number}"),
    }
    made = {
        "id": f"i{number:04d}",
        "family": f"f{number:04d}",
        "role": "rate",
        "content": content,
        "expected": None,
        "contributor": None,
    }
    return made | more


def check_items(studio: Studio | None, template: str) -> list[dict[str, Any]]:
    """The checks that every study of a template has, without their sounds."""
    return [
        {
            "id": f"c{number:04d}",
            "family": f"c{number:04d}",
            "role": check.role,
            "expected": check.expected,
            "contributor": None,
            "content": {
                "clips": {role: clip(studio, line) for role, line in check.clips.items()},
                "texts": {role: checks.words(line) for role, line in check.clips.items()},
                "lesson": check.lesson,
            },
        }
        for number, check in enumerate(checks.checks_for(TEMPLATES[template]))
    ]


def study(
    studio: Studio,
    template: str = "emotion-recognition",
    items: int | Sequence[Mapping[str, Any]] = 6,
    name: str = "s1",
    **rules: Any,
) -> str:
    """A study with checks; ``items`` are a number of plain ones, or the items themselves."""
    found = [item(studio, template, number) for number in range(items)] if isinstance(items, int) else list(items)
    rows = [dict(row) for row in [*found, *check_items(studio, template)]]
    for row in rows:
        row["id"] = f"{name}-{row['id']}"
    settings = Study.read({"title": "A study", "template": template} | rules).settings()

    def add(transaction: Any) -> None:
        transaction.record("study.created", study=name, settings=settings, state="open", by=None)
        transaction.record("items.added", study=name, items=rows)

    studio.store.write(add)
    return name


def new_rater(studio: Studio, name: str = "Ann", **more: Any) -> str:
    return studio.store.write(lambda transaction: add_rater(transaction, name, more.pop("role", "rater"), **more))


def tables_of(store: Store) -> dict[str, list[str]]:
    """All rows of all tables, as text in an order of their own: equal for equal contents."""
    with store.read() as view:
        return {
            table.name: sorted(
                json.dumps(dict(row), sort_keys=True) for row in view.connection.execute(sa.select(table)).mappings()
            )
            for table in metadata.sorted_tables
        }


# --- answers ----------------------------------------------------------------------------------------------------


def first_values(screen: Screen) -> dict[str, Any]:
    """The first value of every question that must be answered."""
    values: dict[str, Any] = {}
    for scale in screen["scales"]:
        if scale["required"] and (
            not scale["show_if"] or values.get(scale["show_if"]["scale"]) in scale["show_if"]["in"]
        ):
            values[scale["name"]] = _first(scale)
    return values


def _first(scale: Mapping[str, Any]) -> Any:
    if scale["options"]:
        return scale["options"][0]["value"]
    return scale["low"] if scale["kind"] == "points" else "some words"


def phase_answers(screen: Screen) -> dict[str, Any]:
    match screen["screen"]:
        case "consent":
            return {"agreed": True}
        case "survey":
            return first_values(screen)
    return {}


# --- raters -----------------------------------------------------------------------------------------------------


class Rater:
    """A simulated rater. ``values``: screen → answers; the digits of a sound check are looked up in the store."""

    def __init__(
        self,
        studio: Studio,
        study: str,
        clock: Clock,
        rater: str | None = None,
        client: Any = None,
        values: Callable[[Screen], dict[str, Any]] = first_values,
    ) -> None:
        self.studio, self.study, self.clock, self.client, self.values = studio, study, clock, client, values
        self.id = rater or ("" if client else new_rater(studio))
        self.screens: list[Screen] = []

    def next(self) -> Screen:
        if self.client:
            screen = self.post("next", study=self.study)
        else:
            screen = self.studio.store.write(
                lambda transaction: self.studio.sessions.next(transaction, self.study, self.id)
            )
        self.screens.append(screen)
        return screen

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        response = self.client.post(f"/{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def confirm(self, phase: str, answers: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = {"study": self.study, "phase": phase, "answers": answers or {}}
        if self.client:
            return self.post("phase", **body)
        return self.studio.store.write(
            lambda transaction: self.studio.sessions.confirm_phase(transaction, self.id, body)
        )

    def listen(self, screen: Screen, share: float = 1.0) -> str:
        """Play every clip → the receipt."""
        proofs = {str(clip["n"]): self.fetch(clip) for clip in screen["clips"]}
        played = [
            {"clip": clip["n"], "from": 0, "to": clip["seconds"] * share, "rate": 1, "muted": False, "visible": True}
            for clip in screen["clips"]
        ]
        self.clock.on(sum(clip["seconds"] for clip in screen["clips"]) + 1)
        body = {"assignment": screen["assignment"], "receipt": screen["receipt"], "proofs": proofs, "played": played}
        return (self.post("heard", **body) if self.client else self.studio.sessions.heard(self.id, body))["receipt"]

    def fetch(self, clip: Mapping[str, Any]) -> str:
        """Load a clip → its proof."""
        if self.client:
            return self.client.get(f"/{clip['url']}").headers["X-Proof"]
        _, assignment, number = clip["url"].split("/")
        with self.studio.store.read() as view:
            self.studio.sessions.clip(view, self.id, assignment, int(number))
        return self.studio.sessions.fetch_proof(self.id, assignment, int(number))

    def filled(self, screen: Screen, **more: Any) -> dict[str, Any]:
        """A rating ready to be sent: heard and filled in."""
        values = self.digits(screen) if screen["kind"] == "sound" else self.values(screen)
        return {
            "submit_id": str(uuid.uuid4()),
            "assignment": screen["assignment"],
            "receipt": self.listen(screen),
            "values": values,
            "seconds": 3.2,
        } | more

    def digits(self, screen: Screen) -> dict[str, Any]:
        return dict(self.looked_up(screen)["expected"])

    def looked_up(self, screen: Screen) -> dict[str, Any]:
        """The item behind a screen, which a rater cannot see."""
        with self.studio.store.read() as view:
            return view.item(view.assignment(screen["assignment"])["item"])

    def given(self, screen: Screen) -> dict[str, Any]:
        """The assignment behind a screen."""
        with self.studio.store.read() as view:
            return view.assignment(screen["assignment"])

    def submit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.client:
            return self.post("submit", **body)
        return self.studio.store.write(lambda transaction: self.studio.sessions.submit(transaction, self.id, body))

    def skip(self, screen: Screen, reason: str = "other") -> dict[str, Any]:
        body = {"assignment": screen["assignment"], "reason": reason}
        return self.studio.store.write(lambda transaction: self.studio.sessions.skip(transaction, self.id, body))

    def step(self) -> Screen:
        """Do what the next screen asks for → that screen."""
        return self.do(self.next())

    def do(self, screen: Screen) -> Screen:
        if screen["screen"] == "rate":
            self.submit(self.filled(screen))
        elif screen["screen"] in ("consent", "instructions", "break", "survey"):
            self.clock.on(screen.get("seconds", 0))
            self.confirm(screen["screen"], phase_answers(screen))
        return screen

    def until(self, *wanted: str, most: int = 400) -> Screen:
        """Go on until one of these comes, by its kind if it shows an item, else by its name, and return it undone."""
        for _ in range(most):
            screen = self.next()
            if screen.get("kind", screen["screen"]) in wanted:
                return screen
            self.do(screen)
        raise AssertionError(f"No {wanted} within {most} screens; the last was {screen['screen']}.")

    def to_task(self) -> Screen:
        """Consent, sound check, instructions, training → the first item of the first block."""
        return self.until_phase("task")

    def until_phase(self, phase: str, most: int = 60) -> Screen:
        for _ in range(most):
            screen = self.next()
            if screen["progress"]["phase"] == phase:
                return screen
            self.do(screen)
        raise AssertionError(f"The phase {phase} did not come.")

    def walk(self) -> list[Screen]:
        """Through the whole study → the screens of the task, in order."""
        seen = []
        while True:
            screen = self.step()
            if screen["screen"] in ("done", "wait"):
                return seen
            if screen["screen"] == "rate" and screen["kind"] == "rate":
                seen.append(screen)


def kinds(rater: Rater) -> list[str]:
    """What a rater was really given in the task, in order."""
    with rater.studio.store.read() as view:
        return [
            row["kind"]
            for row in view.assignments(rater.study, rater.id)
            if row["kind"] in ("rate", "trap", "gold", "repeat")
        ]
