"""Raters in front of a real page who have nothing but a keyboard, and short studies for them.

:class:`Hand` is a rater. Its ways of working are generators that yield while they wait, so that several
raters work at once (:func:`together`).
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

from conftest import tone

from annotation.studio import Studio
from annotation.study.items import make_item
from annotation.study.rules import Study
from annotation.study.scales import SCALES, SURVEY, Scale
from annotation.study.templates import TEMPLATES

LOAD_MS = 60_000
POLL_MS = 30
PRESS_SECONDS = 0.4  # between two presses of the main button: closer ones count as one
WAIT_SECONDS = 20.0  # for anything that should happen at once
QUESTIONS = SCALES | {scale.name: scale for scale in SURVEY}

# --- studies to rate --------------------------------------------------------------------------------------------


def items(studio: Studio, template: str, count: int, seconds: float = 0.1, **more: Any) -> list[dict[str, Any]]:
    """Ordinary items of tones, each at its own pitch; at most a second to listen to."""
    roles = TEMPLATES[template].clips
    return [
        make_item(
            {role: tone(seconds, pitch=180.0 + 25 * number + 7 * place) for place, role in enumerate(roles)},
            studio.clips,
            dict.fromkeys(roles, f"words {number}"),
            **more,
        )
        for number in range(count)
    ]


def checks(studio: Studio, template: str, seconds: float = 0.1) -> list[dict[str, Any]]:
    """One check of each kind, as short as the items. Whoever rates at random will fail some of them."""
    speech, answer = (
        tone(seconds, pitch=150.0),
        {TEMPLATES[template].main: _some_value(SCALES[TEMPLATES[template].main])},
    )
    wanted = {"sound": {"digits": "472"}, "training": answer, "trap": answer, "gold": answer}
    made = []
    for role, expected in wanted.items():
        sounds = {"speech": speech} if role == "sound" else dict.fromkeys(TEMPLATES[template].clips, speech)
        one = make_item(sounds, studio.clips, expected=expected)
        made.append(one | {"role": role, "content": one["content"] | {"lesson": "A lesson."}})
    return made


def _some_value(scale: Scale) -> Any:
    return scale.values[0] if scale.values else "calm"


def open_study(studio: Studio, template: str, ordinary: list[dict[str, Any]], name: str, **rules: Any) -> str:
    """A study of these items and of short checks, open to all."""
    quick = {"block_size": 3, "training_right": 1, "break_seconds": 0}
    settings = Study.read({"title": f"Study {name}", "template": template} | quick | rules).settings()
    rows = [_row(item) for item in [*ordinary, *checks(studio, template)]]

    def add(transaction: Any) -> None:
        transaction.record("study.created", study=name, settings=settings, state="open", by=None)
        transaction.record("items.added", study=name, items=rows)

    studio.store.write(add)
    return name


def _row(item: dict[str, Any]) -> dict[str, Any]:
    name = uuid.uuid4().hex[:16]
    return item | {"id": name, "family": item["family"] or name}


# --- a page, and a rater at it ----------------------------------------------------------------------------------


def visit(page: Any, address: str) -> None:
    """Open the page and wait until it is wired: it calls the server only once every part of it is mounted."""
    with page.expect_response("**/queue/join*", timeout=LOAD_MS):
        page.goto(address)


LOOK = """() => {
  const app = [...document.querySelectorAll('.rating')].find(one => one.getClientRects().length);
  if (!app) return {screen: 'none'};
  const heading = app.querySelector('.rating-heading'), submit = app.querySelector('.rating-submit');
  const players = [...app.querySelectorAll('.rating-player')];
  const plays = players.map(one => one.querySelector('.rating-play'));
  const questions = [...app.querySelectorAll('.rating-question')].filter(one => !one.hidden);
  return {screen: app.dataset.screen, kind: app.dataset.kind, left: !!heading?.left, heading: heading?.textContent,
    state: submit?.dataset.state, status: app.querySelector('.rating-status')?.textContent,
    alert: app.querySelector('.rating-alert')?.textContent,
    note: app.querySelector('.rating-main > .rating-note')?.textContent,
    heard: players.map(one => +one.dataset.heard), loaded: plays.every(one => one.ariaDisabled !== 'true'),
    playing: plays.some(one => one.ariaLabel.startsWith('Pause')),
    questions: questions.map(one => ({scale: one.dataset.scale, current: one.hasAttribute('aria-current'),
      typed: one.querySelector('textarea, input[type=text]')?.value,
      chosen: [...one.querySelectorAll('input:checked')].map(input => +input.value)}))};
}"""
LEFT = "() => { for (const one of document.querySelectorAll('.rating-heading')) one.left = true; }"


class Hand:
    """A rater at the page, who answers at random (by a seed). ``pressed``: assignment → answers, sides as shown."""

    def __init__(self, studio: Studio, page: Any, study: str, rater: str, seed: int = 0) -> None:
        self.studio, self.page, self.study, self.rater = studio, page, study, rater
        self.draw, self.pressed, self.errors = random.Random(seed), {}, []
        self._pressed_at = 0.0
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @classmethod
    def invited(cls, studio: Studio, browser: Any, served: str, study: str, seed: int = 0, **context: Any) -> Hand:
        """Somebody new, who has just opened a link to a study in a browser of their own."""
        token = studio.people.invites.create("rater", study, name=f"Rater {seed}")
        rater = "r" + studio.people.invites.read(token)["id"][:16]
        page = browser.new_context(**context).new_page()
        page.goto(f"{served}/?invite={token}")
        page.wait_for_selector(
            ".rating[data-screen=consent]", timeout=LOAD_MS
        )  # after the reload that follows signing in
        return cls(studio, page, study, rater, seed)

    def look(self) -> dict[str, Any]:
        """What the visible app shows."""
        return self.page.evaluate(LOOK)

    def given(self) -> dict[str, Any]:
        """The item in hand, as only the store knows it."""
        with self.studio.store.read() as view:
            held = view.open_assignment(self.study, self.rater)
            return held | {
                "content": view.item(held["item"])["content"],
                "expected": view.item(held["item"])["expected"],
            }

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    # -- ways of working: generators that yield while they wait

    def until(self, wanted: Any, seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Wait until what is shown is as ``wanted`` (a test of what ``look`` gives)."""
        end = time.monotonic() + seconds
        while not wanted(seen := self.look()):
            if time.monotonic() > end:
                raise AssertionError(f"It did not come to that: {seen}, errors: {self.errors}")
            yield

    def walk(self, most: int = 1000) -> Iterator[None]:
        """Through the study to its end, or until so many items of the task are rated."""
        while len(self.pressed) < most:
            yield from self.until(
                lambda seen: seen["screen"] not in ("none", "loading") and not seen["left"], LOAD_MS / 1000
            )
            seen = self.look()
            if seen["screen"] in ("done", "list", "start"):
                return
            yield from self.one(seen)

    def to_item(self) -> Iterator[None]:
        """To the first item of the task, and no further."""
        while True:
            yield from self.until(
                lambda seen: seen["screen"] not in ("none", "loading") and not seen["left"], LOAD_MS / 1000
            )
            seen = self.look()
            if seen["screen"] == "rate" and seen["kind"] == "rate":
                return
            yield from self.one(seen)

    def one(self, seen: dict[str, Any]) -> Iterator[None]:
        """What the screen asks for."""
        if seen["screen"] == "consent":
            self.press("1", "2")
        if seen["screen"] == "rate":
            yield from self.listen()
        if seen["screen"] in ("rate", "survey"):
            yield from self.answer()
        yield from self.save()

    def listen(self) -> Iterator[None]:
        """Space plays the next recording that was not heard; again until all were."""
        end = time.monotonic() + 90
        while (seen := self.look()) and any(share < 0.95 for share in seen["heard"]):
            if seen["loaded"] and not seen["playing"]:
                self.press("Space")
            if time.monotonic() > end:
                raise AssertionError(f"Not all could be heard: {seen}, errors: {self.errors}")
            yield

    def answer(self) -> Iterator[None]:
        """Every question but optional words, in order."""
        answers, kind = {}, self.look()["kind"]
        while question := self._open(answers):
            yield from self.go_to(question)
            answers[question] = self._give(QUESTIONS[question])
        answers = {name: value for name, value in answers.items() if value not in ("", [])}
        if kind == "rate":
            self.pressed[self.given()["id"]] = answers

    def _open(self, answers: dict[str, Any]) -> str | None:
        shown = [question["scale"] for question in self.look()["questions"]]
        return next(
            (
                name
                for name in shown
                if name not in answers and (QUESTIONS[name].required or QUESTIONS[name].kind != "text")
            ),
            None,
        )

    def go_to(self, question: str) -> Iterator[None]:
        """With the brackets, where the page has not gone there by itself."""
        for _ in range(30):
            shown = self.look()["questions"]
            names, current = (
                [one["scale"] for one in shown],
                next((n for n, one in enumerate(shown) if one["current"]), -1),
            )
            if current >= 0 and names[current] == question:
                return
            if current >= 0 and shown[current]["typed"] is not None:
                self.press("Escape")
            self.press("]" if current < names.index(question) else "[")
            yield
        raise AssertionError(f"No key leads to the question {question}.")

    def _give(self, scale: Scale) -> Any:
        if scale.kind in ("text", "digits"):
            return self._type(scale)
        keys = _keys(scale)
        if scale.kind != "several":
            value = self.draw.choice(sorted(keys, key=str))
            self.press(keys[value])
            return value
        chosen = [value for value in scale.values if value in keys and self.draw.random() < 0.3]
        self.press(*(keys[value] for value in chosen))
        return chosen

    def _type(self, scale: Scale) -> str:
        words = (
            self.given()["expected"]["digits"]
            if scale.kind == "digits"
            else f"What I would say, {self.draw.randint(0, 999)}."
        )
        self.press("Control+a")
        self.page.keyboard.type(words)
        self.press("Escape")
        return words

    def save(self) -> Iterator[None]:
        """Press the main button, and wait until the screen is gone."""
        yield from self.send()
        yield from self.until(lambda seen: not seen["left"])

    def send(self) -> Iterator[None]:
        """Press the main button once, by Enter or N."""
        while time.monotonic() - self._pressed_at < PRESS_SECONDS:
            yield
        self.page.evaluate(LEFT)
        self.press(self.draw.choice(["Enter", "n"]))
        self._pressed_at = time.monotonic()

    # -- what became of it

    def expected(self) -> dict[str, dict[str, Any]]:
        """What must be stored: assignment → answers about the item's own a and b."""
        return {name: self._righted(name, answers) for name, answers in self.pressed.items()}

    def _righted(self, assignment: str, answers: dict[str, Any]) -> dict[str, Any]:
        with self.studio.store.read() as view:
            turned = view.assignment(assignment)["flip"] < 0
        other = {"a": "b", "b": "a"}
        preference = answers.get("preference")
        return answers | ({"preference": other.get(preference, preference)} if turned and preference else {})

    def stored(self) -> list[dict[str, Any]]:
        """This rater's ratings in the task, as the store has them."""
        with self.studio.store.read() as view:
            rows = view.ratings(self.study, rater=self.rater)
        return [row for row in rows if row["kind"] not in ("sound", "training")]


def _keys(scale: Scale) -> dict[Any, str]:
    """Value → its key: the tenth has the 0, later ones none."""
    if scale.kind == "points":
        return {value: str(value) for value in scale.values}
    return {
        option.value: option.key or str(place % 10)
        for place, option in enumerate(scale.options, 1)
        if option.key or place <= 10
    }


def together(*walks: Iterator[None], page: Any, seconds: float = 150.0) -> None:
    """Let raters work at the same time, each in their own page, until all are done."""
    waiting, end = list(walks), time.monotonic() + seconds
    while waiting:
        waiting = [walk for walk in waiting if next(walk, "over") != "over"]
        page.wait_for_timeout(POLL_MS)
        if time.monotonic() > end:
            raise AssertionError(f"{len(waiting)} of {len(walks)} raters were not done after {seconds} s.")
