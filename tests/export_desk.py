"""A studio with a clock of its own and raters who answer as told, to export from."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from conftest import tone

from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.items import make_item
from annotation.study.rules import Study
from annotation.study.scales import SCALES, Scale

PLAIN = {
    "traps_per_block": 0,
    "gold_per_block": 0,
    "repeats_per_block": 0,
    "training_right": 0,
    "block_size": 200,
    "block_minutes": 240,
}


PITCHES = itertools.count(100)


Answers = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


class Desk:
    """A studio with a clock of its own, and raters who do as they are told."""

    def __init__(self, home: Path) -> None:
        self.studio = Studio.open(home)
        self.now = 1_700_000_000.0
        self.studio.sessions.clock = lambda: self.now
        self.picked: dict[str, dict[str, Any]] = {}  # by submit id, as it stood on the page
        self.page: dict[str, list[str]] = {}  # by submit id: SHA-256 of what was played, in the order of the page

    def item(self, texts: Mapping[str, str], sounds: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        sounds = {role: tone(0.3, pitch=next(PITCHES)) for role in texts} | dict(sounds or {})
        return make_item(sounds, self.studio.clips, texts, **more)

    def study(self, template: str, items: list, name: str = "", split: str = "training", **rules: Any) -> str:
        usual = PLAIN | {
            "title": "A study",
            "template": template,
            "split": split,
            "ratings_per_item": 9,
            "guess_hidden_share": 0.0,
        }
        settings = usual | rules
        return lifecycle.create(self.studio.store, self.studio.clips, Study.read(settings), items, study=name)

    def rate(self, study: str, answers: Answers, name: str = "Ann Example") -> str:
        """One rater goes through the whole study → their id. ``answers``: (item, screen) → values."""
        rater = self.studio.people.accounts.add_guest(name)
        while (screen := self._next(study, rater))["screen"] != "done":
            if screen["screen"] == "rate":
                self._answer(screen, rater, answers)
            else:
                self._confirm(study, rater, screen["screen"])
        return rater

    def _next(self, study: str, rater: str) -> dict[str, Any]:
        return self._write(lambda transaction: self.studio.sessions.next(transaction, study, rater))

    def _confirm(self, study: str, rater: str, phase: str) -> None:
        """Consent, or the closing survey."""
        survey = {"device": "headphones", "language": "yes", "difficulty": 2}
        body = {"study": study, "phase": phase, "answers": {"agreed": True} if phase == "consent" else survey}
        self._write(lambda transaction: self.studio.sessions.confirm_phase(transaction, rater, body))

    def _answer(self, screen: Mapping[str, Any], rater: str, answers: Answers) -> None:
        name = screen["assignment"]
        with self.studio.store.read() as view:
            item = view.item(view.assignment(name)["item"])
            fetched = [self.studio.sessions.clip(view, rater, name, number) for number in range(len(screen["clips"]))]
        values = {"digits": item["expected"]["digits"]} if screen["kind"] == "sound" else answers(item, screen)
        proofs = {str(n): self.studio.sessions.fetch_proof(rater, name, n) for n in range(len(fetched))}
        self.now += 30
        whole = {"from": 0, "rate": 1, "muted": False, "visible": True}
        played = [whole | {"clip": n, "to": clip["seconds"]} for n, clip in enumerate(screen["clips"])]
        report = {"assignment": name, "receipt": screen["receipt"], "proofs": proofs, "played": played}
        heard = self.studio.sessions.heard(rater, report)
        submit = str(uuid.uuid4())
        body = {"submit_id": submit, "assignment": name, "receipt": heard["receipt"], "values": values, "seconds": 4.0}
        self._write(lambda transaction: self.studio.sessions.submit(transaction, rater, body))
        if screen["kind"] != "sound":
            self.picked[submit], self.page[submit] = values, fetched

    def _write(self, operation: Callable[[Any], Any]) -> Any:
        return self.studio.store.write(operation)

    def decide(self, study: str, subject: str, **facts: Any) -> None:
        self._write(
            lambda transaction: transaction.record(
                "decided", decision=uuid.uuid4().hex, study=study, subject=subject, by="somebody", **facts
            )
        )

    def flag(self, study: str, rater: str) -> None:
        self.decide(study, "rater", rater=rater, value="flagged", reason="answers by a pattern")


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def written(folder: Path, name: str) -> int:
    if name == "audio":
        return len(list((folder / name).iterdir()))
    return pq.read_table(folder / name).num_rows if name.endswith(".parquet") else len(lines(folder, name))


def asked(screen: Mapping[str, Any], pick: Callable[[Any], Any]) -> dict[str, Any]:
    """An answer to every question that is asked now."""
    values: dict[str, Any] = {}
    for form in screen["scales"]:
        if not form["show_if"] or values.get(form["show_if"]["scale"]) in form["show_if"]["in"]:
            values[form["name"]] = pick(SCALES[form["name"]])
    return values


def first_value(scale: Scale) -> Any:
    return [] if scale.kind == "several" else scale.values[0] if scale.values else ""


def scores(empathy: int, relevance: int = 5, **more: Any) -> Answers:
    def answers(item: Mapping[str, Any], screen: Mapping[str, Any]) -> dict[str, Any]:
        values = asked(screen, lambda scale: scale.high if scale.kind == "points" else first_value(scale))
        return values | {"empathy": empathy, "relevance": relevance} | more

    return answers


def prefers(wanted: str) -> Answers:
    """A rater for whom the item's own answer ``wanted`` (a, b or tie) is better, wherever the page shows it."""

    def answers(item: Mapping[str, Any], screen: Mapping[str, Any]) -> dict[str, Any]:
        if wanted == "tie":
            return {"preference": "tie"}
        turned = {"a": "b", "b": "a"} if is_swapped(item, screen) else {}
        return {"preference": turned.get(wanted, wanted), "certainty": 2}

    return answers


def is_swapped(item: Mapping[str, Any], screen: Mapping[str, Any]) -> bool:
    """Whether the page shows the item's answers swapped: told by the length of the first answer, which differs."""
    return screen["clips"][1]["seconds"] != item["content"]["clips"]["a"]["seconds"]


def comparison(
    desk: Desk,
    query: str = "I lost my job today.",
    a: str = "That must hurt.",
    b: str = "Bananas are yellow.",
    **more: Any,
) -> dict[str, Any]:
    sounds = {"a": tone(0.3, pitch=next(PITCHES)), "b": tone(0.6, pitch=next(PITCHES))}
    return desk.item({"query": query, "a": a, "b": b}, sounds, systems={"a": "one", "b": "two"}, **more)


def answered(desk: Desk, query: str, reply: str, **more: Any) -> dict:
    return desk.item({"query": query, "reply": reply}, systems={"reply": "embedded"}, **more)


def small(desk: Desk) -> str:
    study = desk.study(
        "compare", [comparison(desk, f"What a day number {n}.") for n in range(3)], instructions=["Höre zu."]
    )
    for wanted in ("a", "a", "b"):
        desk.rate(study, prefers(wanted))
    return study
