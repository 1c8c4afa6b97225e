"""What a rater sees: plain mappings that the browser draws. No screen tells what a rater must not know.

Traps, gold items and repeats look like any other item; clips have numbers, not names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from annotation.rating.assignment import seeded
from annotation.rating.catalog import Catalog, Catalogs
from annotation.rating.completion_codes import completion_code, least_for_code
from annotation.rating.enrolment import Enrolment, break_left
from annotation.rating.leases import HandedItem
from annotation.rating.playback import PlaybackProof
from annotation.rating.served_clips import ServedClips
from annotation.study import checks
from annotation.study.presentation import heard_roles, read_roles
from annotation.study.rules import Study
from annotation.study.scales import SCALES, SURVEY, Scale
from annotation.study.templates import ABOUT_GUESSES, CONSENT, STATEMENTS
from annotation.study.translate import translated
from emotion_omni import emotion

PHASES = ("consent", "sound", "instructions", "training", "task", "survey")
LABELS = {"speech": "Recording", "query": "What was said", "reply": "The answer", "a": "Answer A", "b": "Answer B"}
BREAK_MINUTES = 2
NOT_OPEN = {
    "paused": "This study is paused. What you have done is saved; please look again later.",
    "closed": "This study is closed. Thank you for taking part; what you have given is saved.",
}
BREAK = (
    "This block is done, and all of it is saved. Rest your ears for a moment; go on when you like, "
    "today or another day."
)
DONE = "That is all for now. Thank you: every one of your ratings is saved."
NOTHING_LEFT = "There is nothing left for you to rate in this study right now. Thank you for coming."
TOO_FEW = "A completion code is given from the study's least number of ratings on."
ALL_TAKEN = (
    "Everything in this study is with other raters at the moment. Please leave this page open: you go on here "
    "by yourself as soon as something comes free."
)

Screen = dict[str, Any]


class Screens:
    def __init__(
        self,
        secret: bytes,
        playback: PlaybackProof,
        catalogs: Catalogs,
        served: ServedClips,
        now: Callable[[], float],
    ) -> None:
        self._secret, self._playback, self._catalogs, self._served, self._now = secret, playback, catalogs, served, now

    def consent(self, enrolment: Enrolment) -> Screen:
        text = list(enrolment.rules.consent or CONSENT)
        return screen(enrolment, "consent", text=text, statements=list(STATEMENTS))

    def instructions(self, enrolment: Enrolment) -> Screen:
        rules = enrolment.rules
        text = list(rules.instructions or rules.form.instructions)
        if not self._catalog(enrolment).guesses:
            text = [line for line in text if line != ABOUT_GUESSES]
        examples = [{"caption": caption, "clip": f"example/{line}"} for caption, line in checks.examples(rules.form)]
        return screen(enrolment, "instructions", text=text, examples=examples, keys=True)

    def take_break(self, enrolment: Enrolment) -> Screen:
        left = math.ceil(break_left(enrolment.rules, enrolment.row, self._now()))
        return screen(enrolment, "break", text=BREAK, minutes=BREAK_MINUTES, seconds=left)

    def survey(self, enrolment: Enrolment) -> Screen:
        return screen(enrolment, "survey", scales=[scale.form() for scale in SURVEY])

    def done(self, enrolment: Enrolment) -> Screen:
        """A code is only for those who have given the least number of ratings, or all that there are."""
        done, given = enrolment.row["done"], enrolment.transaction.count_ratings(enrolment.study_id, enrolment.rater)
        if given >= least_for_code(enrolment.rules, self._catalog(enrolment).families):
            code = completion_code(self._secret, enrolment.study_id, enrolment.rater)
            return screen(enrolment, "done", text=DONE, code=code, receipts=done)
        return screen(enrolment, "done", text=[DONE, TOO_FEW] if done else NOTHING_LEFT, code=None, receipts=done)

    def closed(self, enrolment: Enrolment) -> Screen:
        return screen(enrolment, "wait", text=NOT_OPEN[enrolment.study["state"]])

    def wait(self, enrolment: Enrolment) -> Screen:
        """The page looks again by itself."""
        return screen(enrolment, "wait", text=ALL_TAKEN)

    def rate(self, enrolment: Enrolment, handed: HandedItem) -> Screen:
        """An item with its clips and questions, and a receipt under which nothing has been heard yet."""
        rules, content, kind = enrolment.rules, handed.item["content"], handed.assignment["kind"]
        assignment = handed.assignment["id"]
        shown = shown_clips(rules, content, handed.assignment["flip"])
        self._served.add(handed.assignment, [clip for _, clip in shown])
        clips = [
            {"n": n, "label": LABELS[role], "url": f"clip/{assignment}/{n}", "seconds": clip["seconds"]}
            for n, (role, clip) in enumerate(shown)
        ]
        guess = self._guess(enrolment, handed)
        made = screen(
            enrolment,
            "rate",
            assignment=assignment,
            kind=kind if kind in ("sound", "training") else "rate",
            title=_title(kind, rules),
            clips=clips,
            guess=guess,
            scales=[scale.form() for scale in asked_scales(rules, kind, bool(guess))],
            prefill=_prefill(rules, kind, content),
            receipt=self._playback.start(assignment, [clip["seconds"] for clip in clips]),
        )
        made["texts"] = shown_texts(rules, content, handed.assignment["flip"])  # in the language they were said in
        made["progress"] |= self._task_progress(enrolment)
        return made

    def _guess(self, enrolment: Enrolment, handed: HandedItem) -> dict[str, Any] | None:
        """The model's guess as it is shown; a made-up one for a trap or gold item, which would stand out without."""
        if not handed.assignment["guess"]:
            return None
        catalog = self._catalog(enrolment)
        guess = handed.item["content"].get("guess") or made_up_guess(catalog, handed.assignment["id"])
        return {"label": str(guess["label"]).capitalize(), "probability": guess.get("probability")}

    def _task_progress(self, enrolment: Enrolment) -> dict[str, int]:
        """Traps and repeats count like any other item, or the progress bar would give them away."""
        if enrolment.phase != "task":
            return {}
        rules, done = enrolment.rules, enrolment.row["done"]
        items = self._catalog(enrolment).families
        if rules.most_per_rater:
            items = min(items, rules.most_per_rater)
        extras = (rules.traps_per_block + rules.gold_per_block + rules.repeats_per_block) if rules.block_size > 1 else 0
        blocks = math.ceil(items / rules.block_size)
        return {
            "wanted": max(done + 1, items + blocks * extras),
            "block": enrolment.block + 1,
            "blocks": blocks,
            "in_block": enrolment.slot + 1,
            "block_size": rules.block_size + extras,
        }

    def _catalog(self, enrolment: Enrolment) -> Catalog:
        return self._catalogs.get(enrolment.transaction, enrolment.study_id)


def screen(enrolment: Enrolment, name: str, /, **content: Any) -> Screen:
    """A screen in the language of the study, with the rater's progress."""
    phase = "task" if enrolment.phase == "break" else enrolment.phase
    done = enrolment.row["done"]
    progress = {"done": done, "wanted": done, "phase": phase, "phases": list(PHASES)}
    study = {"id": enrolment.study_id, "title": enrolment.rules.title}
    return {"screen": name, "study": study, "progress": progress} | translated(content, enrolment.rules.language)


def asked_scales(rules: Study, kind: str, guess: bool) -> tuple[Scale, ...]:
    return (SCALES["digits"],) if kind == "sound" else rules.form.asked(guess)


def shown_clips(rules: Study, content: Mapping[str, Any], flip: int) -> list[tuple[str, Mapping[str, Any]]]:
    """(role on the page, clip) in the order of the page. With ``flip`` -1 the answers have changed sides."""
    clips = content.get("clips", {})
    if set(clips) == {"speech"}:  # also the sound check of any study
        return [("speech", clips["speech"])] if content.get("mode") != "words" else []
    return [(role, clips[_stored(role, flip)]) for role in heard_roles(rules.form, content)]


def shown_texts(rules: Study, content: Mapping[str, Any], flip: int = 1) -> list[dict[str, str]]:
    """The words that an item shows, in the order of the page."""
    texts, found = content.get("texts", {}), []
    for role in read_roles(rules.form, content):
        label = LABELS[role] if role != "speech" else "The words"
        if text := texts.get(_stored(role, flip)):
            found.append({"label": translated(label, rules.language), "text": text})
    return found


def _stored(role: str, flip: int) -> str:
    """The item's own role of one on the page."""
    return {"a": "b", "b": "a"}.get(role, role) if flip < 0 else role


def made_up_guess(catalog: Catalog, assignment: str) -> dict[str, Any]:
    """What a model might have heard; with a probability where the study's own guesses have one."""
    generator = seeded("decoy", assignment)
    model = generator.choice(catalog.guesses)
    return {
        "label": generator.choice(emotion.NAMES),
        "probability": model.get("probability") and round(generator.uniform(0.3, 0.95), 2),
    }


def _title(kind: str, rules: Study) -> str:
    return {"sound": "Sound check", "training": "Training"}.get(kind, rules.form.title)


def _prefill(rules: Study, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The answer that the rater rewrites."""
    if rules.template != "correction" or kind == "sound":
        return {}
    return {"rewrite": content.get("texts", {}).get("reply", "")}
