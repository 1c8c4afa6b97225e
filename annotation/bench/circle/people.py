"""Simulated raters, for the circle: clearly no people. Each goes through a study by the studio's own sessions.

Every clip is reported as played in the time that takes, on a clock of their own. An honest rater prefers by a stated
preference, with noise, and passes checks; a lazy one always presses the same button, and fails the traps; a hostile
one passes the checks and prefers the opposite.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.studio import Studio

Answers = dict[str, Any]
KINDS = ("honest", "lazy", "hostile")
SURVEY = {"device": "headphones", "language": "yes", "difficulty": 2}


@dataclass
class Person:
    """``utility``: of an answer in words; ``steepness``: of the logistic choice by the difference of two utilities (0:
    at random). ``hears``: the emotion of a recording, by item, for studies of recognition."""

    name: str
    kind: str
    utility: Callable[[str], float]
    steepness: float
    rng: random.Random
    hears: Callable[[Mapping[str, Any]], str] | None = None

    def values(self, item: Mapping[str, Any], kind: str, flip: int) -> Answers:
        """What they press, as it stands on the page."""
        if kind == "sound":
            return {"digits": item["expected"]["digits"]}
        if "primary" in _asked(item):
            return self._emotion(item)
        if self.kind == "lazy":
            return {"preference": "a", "certainty": 1}
        choice = self._expected(item) or self._choice(item["content"]["texts"])
        if choice in ("a", "b"):
            on_page = {"a": "b", "b": "a"}[choice] if flip < 0 else choice
            return {"preference": on_page, "certainty": 2}
        return {"preference": choice}

    def _choice(self, texts: Mapping[str, str]) -> str:
        difference = self.utility(texts["a"]) - self.utility(texts["b"])
        if self.kind == "hostile":
            difference = -2 * difference
        return "a" if self.rng.random() < 1 / (1 + math.exp(-self.steepness * difference)) else "b"

    def _expected(self, item: Mapping[str, Any]) -> str | None:
        """What a trap or gold item asks for."""
        allowed = (item.get("expected") or {}).get("preference")
        return allowed[0] if isinstance(allowed, list) else allowed

    def _emotion(self, item: Mapping[str, Any]) -> Answers:
        allowed = (item.get("expected") or {}).get("primary")
        expected = allowed[0] if isinstance(allowed, list) else allowed
        label = "happy" if self.kind == "lazy" else expected or (self.hears(item) if self.hears else "neutral")
        points = {"intensity": 3, "valence": 4, "arousal": 4, "dominance": 4}
        return {"primary": label, "heard_from": "voice"} | points


def _asked(item: Mapping[str, Any]) -> tuple[str, ...]:
    return ("primary",) if "speech" in item["content"].get("clips", {}) else ("preference",)


class Clock:
    """Time that passes as fast as raters rate."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def rate(studio: Studio, study: str, persons: Sequence[Person]) -> list[str]:
    """All of them go through the study at once, a screen each in turn → their ids in the store."""
    clock = studio.sessions.clock
    assert isinstance(clock, Clock), "simulated raters do not wait: open the studio with simulated()"
    raters = [studio.people.accounts.add_guest(person.name) for person in persons]
    at_work = list(zip(raters, persons, strict=True))
    while at_work:
        at_work = [(rater, person) for rater, person in at_work if _one_screen(studio, study, rater, person, clock)]
    return raters


def _one_screen(studio: Studio, study: str, rater: str, person: Person, clock: Clock) -> bool:
    """Whether there is more to do."""
    screen = studio.store.write(lambda transaction: studio.sessions.next(transaction, study, rater))
    match screen["screen"]:
        case "done" | "wait":  # with one screen a turn, nobody holds an item that another waits for
            return False
        case "rate":
            _answer(studio, screen, rater, person, clock)
        case "break":
            clock.now += float(screen.get("seconds") or 0) + 1
            _confirm(studio, study, rater, "break", {})
        case phase:
            _confirm(studio, study, rater, phase, {"agreed": True} if phase == "consent" else SURVEY)
    return True


def simulated(studio: Studio) -> Studio:
    """The studio with a clock that its raters move."""
    studio.sessions.clock = Clock()
    return studio


def _confirm(studio: Studio, study: str, rater: str, phase: str, answers: Answers) -> None:
    body = {"study": study, "phase": phase, "answers": answers}
    studio.store.write(lambda transaction: studio.sessions.confirm_phase(transaction, rater, body))


def _answer(studio: Studio, screen: Mapping[str, Any], rater: str, person: Person, clock: Clock) -> None:
    name = screen["assignment"]
    with studio.store.read() as view:
        assignment = view.assignment(name)
        assert assignment is not None
        item = view.item(assignment["item"])
        for number in range(len(screen["clips"])):
            studio.sessions.clip(view, rater, name, number)
    assert item is not None
    proofs = {str(n): studio.sessions.fetch_proof(rater, name, n) for n in range(len(screen["clips"]))}
    clock.now += sum(clip["seconds"] for clip in screen["clips"]) + (1 if person.kind == "lazy" else 5)
    whole = {"from": 0, "rate": 1, "muted": False, "visible": True}
    played = [whole | {"clip": n, "to": clip["seconds"]} for n, clip in enumerate(screen["clips"])]
    report = {"assignment": name, "receipt": screen["receipt"], "proofs": proofs, "played": played}
    receipt = studio.sessions.heard(rater, report)["receipt"] if screen["clips"] else screen["receipt"]
    values = person.values(item, screen["kind"], assignment["flip"])
    body = {"submit_id": str(uuid.uuid4()), "assignment": name, "receipt": receipt, "values": values, "seconds": 4.0}
    studio.store.write(lambda transaction: studio.sessions.submit(transaction, rater, body))
