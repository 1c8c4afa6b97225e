"""A rater's way through a study: consent → sound check → instructions → training → blocks → survey.

The server decides what comes next and refuses what does not: an item that was never handed to this rater,
a clip that was not heard, a value off its scale. Each answer to ``next`` is a *screen*, a plain mapping that
the browser draws. Asking again gives the same screen (a refresh loses nothing), and sending a rating again
is a no-op. Knows the store and the rules; nothing of HTTP. Times are seconds since 1970.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from annotation.rating import assignment as assign
from annotation.rating.playback import Hearing
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.study import checks
from annotation.study.rules import Study
from annotation.study.scales import SCALES, SURVEY, Scale, check_answers, meets
from annotation.study.templates import ABOUT_GUESSES, CONSENT, STATEMENTS
from annotation.study.translate import translated
from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

PHASES = ("consent", "sound", "instructions", "training", "task", "survey")
LABELS = {"speech": "Recording", "query": "What was said", "reply": "The answer", "a": "Answer A", "b": "Answer B"}
TRAINING_ROUNDS = 2  # a rater who still errs goes on, and is flagged by traps and gold
MOST_CLICKS = 60_000  # characters of the log of clicks kept with a rating
REMEMBERED = 5.0  # seconds for which the number of a study's items is not counted anew
SWEEP_SECONDS = 1.0
FIRST_ITEMS = 20  # of a study, which tell whether its items come with a model's guess
REMEMBERED_SOUNDS = 5000  # items handed out, whose clips are served without asking the store
RESTING = {
    "paused": "This study is paused. What you have done is saved; please look again later.",
    "closed": "This study is closed. Thank you for taking part; what you have given is saved.",
}
SKIP_REASONS = ("cannot-hear", "distressing", "other")
_SUBMIT_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")

Screen = dict[str, Any]


class Sessions:
    def __init__(self, secret: bytes, now: Callable[[], float] = time.time) -> None:
        self.hearing, self._secret, self._now = Hearing(secret), secret, now
        self._catalogues: dict[str, tuple[float, Catalogue]] = {}
        self._swept = 0.0
        self._sounds: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()  # assignment → its rater, its clips

    # -- what comes next

    def next(self, transaction: Transaction, study: str, rater: str) -> Screen:
        """The screen this rater should see now."""
        row = _known_study(transaction, study)
        rules = Study.read(row["settings"])
        place = self._enrolled(transaction, row, rules, rater)
        if row["state"] != "open" and place["phase"] != "done":
            return self._screen(row, rules, place, "wait", text=RESTING[row["state"]])
        screen = getattr(self, f"_{place['phase']}")(transaction, row, rules, place)
        return screen or self.next(transaction, study, rater)  # None: that phase was over, and the next has begun

    def _consent(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen:
        return self._screen(
            row, rules, place, "consent", text=list(rules.consent or CONSENT), statements=list(STATEMENTS)
        )

    def _sound(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen:
        return self._check_item(transaction, row, rules, place, "sound")

    def _instructions(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen:
        guesses = bool(self._catalogue(transaction, row["id"]).guesses)
        text = [line for line in rules.instructions or rules.form.instructions if line != ABOUT_GUESSES or guesses]
        examples = [{"caption": caption, "clip": f"example/{line}"} for caption, line in checks.examples(rules.form)]
        return self._screen(row, rules, place, "instructions", text=text, examples=examples, keys=True)

    def _training(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen | None:
        lessons = self._catalogue(transaction, row["id"]).checks["training"]
        rounds, within = divmod(place["slot"], max(1, len(lessons)))
        passed = within == 0 and rounds > 0 and place["trained"] >= rules.training_right
        if not lessons or rules.training_right == 0 or passed or rounds >= TRAINING_ROUNDS:
            return self._move(transaction, place, phase="task", slot=0, block=0, block_began=self._now())
        if within == 0 and rounds > 0 and place["trained"]:
            self._move(transaction, place, trained=0)
        return self._check_item(transaction, row, rules, place, "training")

    def _task(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen | None:
        catalogue = self._catalogue(transaction, row["id"])
        if held := self._held(transaction, row, rules, place):
            return held
        has = {kind: bool(catalogue.checks[kind]) for kind in ("trap", "gold")}
        plan = assign.block_plan(rules, assign.generator(row["id"], place["rater"], place["block"]), has)
        tired = place["slot"] > 0 and self._now() - (place["block_began"] or 0) > rules.block_minutes * 60
        if place["slot"] >= len(plan) or tired:
            over = place["slot"] >= len(plan)
            if over and not self._left(transaction, row, rules, place):
                return self._move(transaction, place, phase="survey")
            after = {"block": place["block"] + 1, "slot": 0} if over else {}
            return self._move(transaction, place, phase="break", **after)
        return self._assign(transaction, row, rules, place, plan[place["slot"]])

    def _break(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen:
        text = "This block is done, and all of it is saved. Rest your ears for a moment; go on when you like, today or another day."
        return self._screen(row, rules, place, "break", text=text, minutes=2)

    def _survey(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen:
        return self._screen(row, rules, place, "survey", scales=[scale.form() for scale in SURVEY])

    def _done(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen | None:
        if row["state"] == "open" and self._left(transaction, row, rules, place):  # more has been added since
            return self._move(transaction, place, phase="break")
        text = "That is all for now. Thank you: every one of your ratings is saved."
        return self._screen(
            row, rules, place, "done", text=text, code=self._code(row["id"], place["rater"]), receipts=place["done"]
        )

    def _left(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> bool:
        self._expire(transaction)
        found = transaction.candidates(row["id"], place["rater"], rules.ratings_per_item, False, limit=1)
        return bool(found) and not _has_enough(transaction, rules, place)

    # -- handing out

    def _held(self, transaction: Transaction, row: Row, rules: Study, place: Row) -> Screen | None:
        """What the rater has in hand already, its lease made longer."""
        held = transaction.open_assignment(row["id"], place["rater"])
        if held is None:
            return None
        transaction.extend_lease(held["id"], self._now() + rules.lease_minutes * 60)
        return self._item_screen(row, rules, place, held, transaction.item(held["item"]))

    def _assign(self, transaction: Transaction, row: Row, rules: Study, place: Row, kind: str) -> Screen | None:
        draw = assign.generator(row["id"], place["rater"], place["block"], place["slot"], kind)
        self._expire(transaction)
        if kind == "rate":
            return self._assign_ordinary(transaction, row, rules, place, draw)
        if kind == "repeat":
            again = assign.repeatable(transaction.assignments(row["id"], place["rater"]), place["block"])
            if not again:
                return self._move(transaction, place, slot=place["slot"] + 1)
            first = draw.choice(again)
            return self._hand(
                transaction, row, rules, place, kind, transaction.item(first["item"]), first["flip"], first["guess"]
            )
        seen = [given["item"] for given in transaction.assignments(row["id"], place["rater"]) if given["kind"] == kind]
        catalogue = self._catalogue(transaction, row["id"])
        item = assign.unused(catalogue.checks[kind], seen, draw)
        guess = "guess_right" in rules.form.scales and bool(catalogue.guesses) and not assign.hides_guess(rules, draw)
        return self._hand(transaction, row, rules, place, kind, item, 1, int(guess))

    def _assign_ordinary(
        self, transaction: Transaction, row: Row, rules: Study, place: Row, draw: Any
    ) -> Screen | None:
        by_disagreement = rules.order == "disagreement"
        found = transaction.candidates(row["id"], place["rater"], rules.ratings_per_item, by_disagreement)
        if not found or _has_enough(transaction, rules, place):
            return self._move(transaction, place, phase="survey")
        item = assign.choose(found, draw, by_disagreement)
        side = assign.flip(item, draw) if "a" in item["content"].get("clips", {}) else 1
        guess = (
            "guess_right" in rules.form.scales and "guess" in item["content"] and not assign.hides_guess(rules, draw)
        )
        return self._hand(transaction, row, rules, place, "rate", item, side, int(guess))

    def _check_item(self, transaction: Transaction, row: Row, rules: Study, place: Row, kind: str) -> Screen:
        if held := self._held(transaction, row, rules, place):
            return held
        checks = self._catalogue(transaction, row["id"]).checks[kind]
        return self._hand(transaction, row, rules, place, kind, checks[place["slot"] % len(checks)], 1, 0)

    def _hand(
        self,
        transaction: Transaction,
        row: Row,
        rules: Study,
        place: Row,
        kind: str,
        item: Mapping,
        flip: int,
        guess: int,
    ) -> Screen:
        event = transaction.record(
            "assigned",
            assignment=uuid.uuid4().hex,
            study=row["id"],
            rater=place["rater"],
            item=item["id"],
            family=item["family"],
            kind=kind,
            block=place["block"],
            slot=place["slot"],
            flip=flip,
            guess=guess,
            leased_until=self._now() + rules.lease_minutes * 60,
        )
        return self._item_screen(row, rules, place, event | {"id": event["assignment"]}, item)

    def _expire(self, transaction: Transaction) -> None:
        """Free what raters have left lying; looked for once a second at most."""
        if self._now() - self._swept < SWEEP_SECONDS:
            return
        self._swept = self._now()
        for name in transaction.expired(self._now()):
            self._expire_one(transaction, transaction.assignment(name))

    @staticmethod
    def _expire_one(transaction: Transaction, row: Row) -> None:
        facts = {name: row[name] for name in ("study", "rater", "item", "kind", "flip")}
        transaction.record("expired", assignment=row["id"], **facts)

    # -- screens

    def _screen(self, row: Row, rules: Study, place: Row, name: str, /, **more: Any) -> Screen:
        phase = "task" if place["phase"] == "break" else place["phase"]
        progress = {"done": place["done"], "wanted": place["done"], "phase": phase, "phases": list(PHASES)}
        words = translated(more, rules.language)
        return {"screen": name, "study": {"id": row["id"], "title": rules.title}, "progress": progress, **words}

    def _item_screen(self, row: Row, rules: Study, place: Row, given: Mapping, item: Mapping) -> Screen:
        shown = shown_clips(rules, item["content"], given["flip"])
        self._remember(given, shown)
        clips = [
            {"n": n, "label": LABELS[role], "url": f"clip/{given['id']}/{n}", "seconds": clip["seconds"]}
            for n, (role, clip) in enumerate(shown)
        ]
        content, kind = item["content"], given["kind"]
        guess = (content.get("guess") or self._decoy(row["id"], given["id"])) if given["guess"] else None
        screen = self._screen(
            row,
            rules,
            place,
            "rate",
            assignment=given["id"],
            kind=kind if kind in ("sound", "training") else "rate",
            title=_title(kind, rules),
            clips=clips,
            guess=guess and _guess_in_words(guess),
            scales=[scale.form() for scale in asked(rules, kind, bool(guess))],
            prefill=_prefill(rules, kind, content),
            receipt=self.hearing.begin(given["id"], [clip["seconds"] for clip in clips], self._now()),
        )
        screen["texts"] = shown_texts(rules, content)  # what somebody said stays in their own language
        screen["progress"] |= self._progress(row, rules, place)
        return screen

    def _decoy(self, study: str, assignment: str) -> dict[str, Any]:
        """What a model might have heard in a trap or gold item, which would stand out without. In the manner of the study's own."""
        draw = assign.generator("decoy", assignment)
        like = draw.choice(self._catalogues[study][1].guesses)
        return {
            "label": draw.choice(emotion.NAMES),
            "probability": like.get("probability") and round(draw.uniform(0.3, 0.95), 2),
        }

    def _progress(self, row: Row, rules: Study, place: Row) -> dict[str, int]:
        """Traps and repeats count like any other item, or the bar would give them away."""
        if place["phase"] != "task":
            return {}
        items = self._catalogues[row["id"]][1].families
        items = min(items, rules.most_per_rater) if rules.most_per_rater else items
        extras = (rules.traps_per_block + rules.gold_per_block + rules.repeats_per_block) if rules.block_size > 1 else 0
        blocks = math.ceil(items / rules.block_size)
        return {
            "wanted": max(place["done"] + 1, items + blocks * extras),
            "block": place["block"] + 1,
            "blocks": blocks,
            "in_block": place["slot"] + 1,
            "block_size": rules.block_size + extras,
        }

    # -- what a rater sends

    def heard(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A report of what was played. Needs no store: the receipt holds it all."""
        name = str(body.get("assignment"))
        receipt, heard = self.hearing.extend(
            body.get("receipt", ""), name, body.get("proofs", {}), body.get("played", []), self._now()
        )
        return {"receipt": receipt, "heard": heard}

    def renew(self, transaction: Transaction, rater: str, name: str) -> None:
        """A rater still at work keeps the lease."""
        given = _own(transaction, rater, name)
        if given["state"] == "open":
            rules = Study.read(_known_study(transaction, given["study"])["settings"])
            transaction.extend_lease(given["id"], self._now() + rules.lease_minutes * 60)

    def submit(self, transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store a rating, or say why not. The same ``submit_id`` again, or the same item again, changes nothing."""
        submit, given = _submit_id(body), _own(transaction, rater, body.get("assignment"))
        if known := transaction.rating(submit) or transaction.rating_of(given["id"]):
            return self._known(known, given)
        row, item = _known_study(transaction, given["study"]), transaction.item(given["item"])
        if row["state"] == "closed":
            raise EmotionOmniError(RESTING["closed"], "conflict")
        rules = Study.read(row["settings"])
        reclaimed = self._reclaimed(transaction, given, item, rules)
        heard = self.hearing.check(
            body.get("receipt", ""),
            given["id"],
            [clip["seconds"] for _, clip in shown_clips(rules, item["content"], 1)],
        )
        answers = check_answers(asked(rules, given["kind"], bool(given["guess"])), body.get("values"))
        answers = corrected(answers, given["flip"])
        right = meets(item["expected"], answers) if item["expected"] and given["kind"] != "repeat" else None
        event = transaction.record(
            "rated",
            submit=submit,
            assignment=given["id"],
            study=given["study"],
            item=item["id"],
            rater=rater,
            kind=given["kind"],
            answers=answers,
            right=None if right is None else int(right),
            heard=heard,
            seconds=_seconds(body.get("seconds")),
            clicks=_clicks(body.get("clicks")),
            flip=given["flip"],
            reclaimed=reclaimed,
            disagreement=_disagreement(transaction, rules, item["id"], answers) if given["kind"] == "rate" else None,
        )
        self._after(transaction, given, bool(right))
        feedback = translated(_feedback(given["kind"], right, item), rules.language)
        return _receipt(event["submit"], event["at"], feedback=feedback)

    def skip(self, transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        given = _own(transaction, rater, body.get("assignment"))
        if given["state"] != "open":
            return {"saved": True}
        if given["kind"] == "sound":
            raise EmotionOmniError(
                "The sound check cannot be skipped: without it nobody knows that you can hear the clips.", "no-skip"
            )
        reason = body.get("reason") if body.get("reason") in SKIP_REASONS else "other"
        facts = {name: given[name] for name in ("study", "item", "kind", "flip")}
        transaction.record("skipped", assignment=given["id"], rater=rater, reason=reason, **facts)
        return {"saved": True}

    def phase(self, transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A screen without an item is done. Sent twice, or for a phase that is over, it changes nothing."""
        row = _known_study(transaction, body.get("study"))
        place = transaction.enrolment(row["id"], rater)
        phase, answers = body.get("phase"), body.get("answers")
        if place is None:
            raise EmotionOmniError("You have not begun this study.", "not-found")
        if phase not in ("consent", "instructions", "break", "survey"):
            raise EmotionOmniError(f"{str(phase)[:20]!r} is no phase that can be confirmed.", "bad-phase")
        if phase == place["phase"]:
            self._pass(transaction, place, phase, answers if isinstance(answers, Mapping) else {})
        return {"saved": True}

    def _pass(self, transaction: Transaction, place: Row, phase: str, answers: Mapping[str, Any]) -> None:
        if phase == "consent" and answers.get("agreed") is not True:
            raise EmotionOmniError(
                "Without your agreement nothing is stored, and the study cannot begin.", "no-consent"
            )
        kept = {"consent": {"at": self._now()}} if phase == "consent" else {}
        kept = {"survey": check_answers(SURVEY, answers)} if phase == "survey" else kept
        after = {"consent": "sound", "instructions": "training", "break": "task", "survey": "done"}[phase]
        more = {"block_began": self._now()} if phase == "break" else {"slot": 0} if phase != "survey" else {}
        self._move(transaction, place, phase=after, answers=place["answers"] | kept, **more)

    def clip(self, view: View, rater: str, name: str, number: int) -> tuple[str, str]:
        """→ the SHA-256 of the sound to send, and the proof that goes with it."""
        if told := self.known_clip(rater, name, number):
            return told
        given = _own(view, rater, name)
        rules = Study.read(_known_study(view, given["study"])["settings"])
        known = self._remember(given, shown_clips(rules, view.item(given["item"])["content"], given["flip"]))
        return self._own_clip(known, rater, name, number)

    def known_clip(self, rater: str, name: str, number: int) -> tuple[str, str] | None:
        """The same for an item handed out a moment ago, without asking the store; None if it is not remembered."""
        known = self._sounds.get(name)  # once: another thread may forget it at any moment
        return None if known is None else self._own_clip(known, rater, name, number)

    def _own_clip(self, known: tuple[str, list[str]], rater: str, name: str, number: int) -> tuple[str, str]:
        owner, sounds = known
        if owner != rater or not 0 <= number < len(sounds):
            raise EmotionOmniError("This clip was not handed to you. Ask for the next item.", "not-yours")
        return sounds[number], self.hearing.proof(name, number)

    def _remember(
        self, given: Mapping[str, Any], shown: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> tuple[str, list[str]]:
        known = self._sounds[given["id"]] = (given["rater"], [clip["played"] for _, clip in shown])
        while len(self._sounds) > REMEMBERED_SOUNDS:
            self._sounds.popitem(last=False)
        return known

    def forget(self, rater: str) -> None:
        """Whoever withdrew is served nothing from memory."""
        for name in [name for name, (owner, _) in list(self._sounds.items()) if owner == rater]:
            self._sounds.pop(name, None)

    # -- helpers that move a rater on

    def _enrolled(self, transaction: Transaction, row: Row, rules: Study, rater: str) -> Row:
        if place := transaction.enrolment(row["id"], rater):
            return place
        known = transaction.rater(rater)
        if known is None:
            raise EmotionOmniError("Please sign in first.", "sign-in")
        if not may_enter(known, rules):
            raise EmotionOmniError("This study is by invitation. Open the link that you were sent.", "forbidden")
        transaction.record("enrolled", study=row["id"], rater=rater)
        return transaction.enrolment(row["id"], rater)

    def _move(self, transaction: Transaction, place: Row, **changes: Any) -> None:
        transaction.record("phase.changed", study=place["study"], rater=place["rater"], **changes)

    def _after(self, transaction: Transaction, given: Row, right: bool) -> None:
        """The sound check leads on once it is right; training counts what was right."""
        if not right or given["kind"] not in ("sound", "training"):
            return
        place = transaction.enrolment(given["study"], given["rater"])
        after = {"phase": "instructions", "slot": 0} if given["kind"] == "sound" else {"trained": place["trained"] + 1}
        self._move(transaction, place, **after)

    def _reclaimed(self, transaction: Transaction, given: Row, item: Row, rules: Study) -> int:
        """1 if the lease had run out but the place is still free; refused if it is taken, or this rater has been given another item."""
        if given["state"] == "open":
            return 0
        if given["state"] == "skipped":
            raise EmotionOmniError("You have skipped this item. It is not asked again.", "skipped")
        place = transaction.enrolment(given["study"], given["rater"])
        moved_on = (given["block"], given["slot"]) != (place["block"], place["slot"]) or transaction.open_assignment(
            given["study"], given["rater"]
        )
        if moved_on or given["kind"] == "rate" and item["claimed"] >= rules.ratings_per_item:
            raise EmotionOmniError(
                "You were away for long, and this item went to somebody else. Please go on with the next.", "lease-lost"
            )
        return int(given["kind"] == "rate")

    def _known(self, known: Row, given: Row) -> dict[str, Any]:
        if known["assignment"] != given["id"]:
            raise EmotionOmniError("This number was used for another rating. Reload the page.", "conflict")
        return _receipt(known["id"], known["at"], again=True)

    def _catalogue(self, view: View, study: str) -> Catalogue:
        expires, known = self._catalogues.get(study, (0.0, None))
        if known is None or expires < self._now():
            known = Catalogue(view, study)
            self._catalogues[study] = (self._now() + REMEMBERED, known)
        return known

    def _code(self, study: str, rater: str) -> str:
        """Shown at the end, for platforms that pay on proof of having finished."""
        return hmac.new(self._secret, f"done:{study}:{rater}".encode(), hashlib.sha256).hexdigest()[:8].upper()


class Catalogue:
    """What a study holds besides its ordinary items, and how many of those."""

    def __init__(self, view: View, study: str) -> None:
        self.families = view.count_families(study)
        self.checks = {kind: view.items(study, kind) for kind in ("sound", "training", "trap", "gold")}
        first = view.items(study, "rate", limit=FIRST_ITEMS)
        self.guesses = [item["content"]["guess"] for item in first if "guess" in item["content"]]


def may_enter(rater: Row | None, rules: Study) -> bool:
    if rater is None:
        return False
    invited = rules.access == "open" or rater["role"] != "rater"
    return invited and (not rules.cohorts or rater["cohort"] in rules.cohorts or rater["role"] != "rater")


def asked(rules: Study, kind: str, guess: bool) -> tuple[Scale, ...]:
    return (SCALES["digits"],) if kind == "sound" else rules.form.asked(guess)


def shown_clips(rules: Study, content: Mapping[str, Any], flip: int) -> list[tuple[str, Mapping[str, Any]]]:
    """(role on the page, clip) in the order of the page. With ``flip`` -1 the answers have changed sides."""
    clips = content.get("clips", {})
    if content.get("mode") == "words":
        return []
    if set(clips) == {"speech"}:
        return [("speech", clips["speech"])]
    order = {"a": "b", "b": "a"} if flip < 0 else {}
    return [(role, clips[order.get(role, role)]) for role in rules.form.clips]


def shown_texts(rules: Study, content: Mapping[str, Any]) -> list[dict[str, str]]:
    """The words, where a template shows them."""
    texts = content.get("texts", {})
    if rules.template == "words-voice" and content.get("mode") in ("words", "both") and texts.get("speech"):
        return [{"label": translated("The words", rules.language), "text": texts["speech"]}]
    return []


def corrected(answers: dict[str, Any], flip: int) -> dict[str, Any]:
    """Answers about "A" and "B" of the page → about the item's own a and b."""
    if flip < 0 and answers.get("preference") in ("a", "b"):
        return answers | {"preference": "b" if answers["preference"] == "a" else "a"}
    return answers


def _known_study(view: View, study: Any) -> Row:
    row = view.study(str(study))
    if row is None:
        raise EmotionOmniError("There is no such study. It may have been deleted.", "not-found")
    return row


def _has_enough(view: View, rules: Study, place: Row) -> bool:
    """Whether a rater was given as many items as the study lets one rate; 0 lets one rate them all."""
    return bool(rules.most_per_rater) and view.count_ratings(place["study"], place["rater"]) >= rules.most_per_rater


def _own(view: View, rater: str, name: Any) -> Row:
    """An assignment of this rater. Another's, and one that does not exist, look the same from outside."""
    given = view.assignment(str(name))
    if given is None or given["rater"] != rater:
        raise EmotionOmniError("This item was not handed to you. Ask for the next one.", "not-yours")
    return given


def _submit_id(body: Mapping[str, Any]) -> str:
    submit = str(body.get("submit_id", "")).lower()
    if not _SUBMIT_ID.fullmatch(submit):
        raise EmotionOmniError("A rating needs a submit_id, a UUID made by the browser.", "bad-submit-id")
    return submit


def _title(kind: str, rules: Study) -> str:
    return {"sound": "Sound check", "training": "Training"}.get(kind, rules.form.title)


def _prefill(rules: Study, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    wanted = rules.template == "correction" and kind != "sound"
    return {"rewrite": content.get("texts", {}).get("reply", "")} if wanted else {}


def _guess_in_words(guess: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": str(guess["label"]).capitalize(), "probability": guess.get("probability")}


def _seconds(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 86_400
    return round(float(value), 2) if good else None


def _clicks(value: Any) -> list | None:
    if not isinstance(value, list):
        return None
    if len(json.dumps(value)) > MOST_CLICKS:
        raise EmotionOmniError(f"The log of clicks may have {MOST_CLICKS} characters.", "too-large")
    return value


def _receipt(submit: str, at: float, again: bool = False, feedback: Mapping | None = None) -> dict[str, Any]:
    return {"saved": True, "id": submit, "at": at, "repeat_of_known": again, "feedback": feedback}


def _feedback(kind: str, right: bool | None, item: Row) -> dict[str, Any] | None:
    if kind == "training":
        return {"right": bool(right), "text": item["content"].get("lesson", "")}
    if kind == "sound" and not right:
        return {
            "right": False,
            "text": "Those were other digits. Turn the volume up, or put on headphones, and try once more.",
        }
    return None


def _disagreement(transaction: Transaction, rules: Study, item: str, answers: Mapping[str, Any]) -> float | None:
    """How much the raters of an item differ so far: entropy of the main answer, in bits. Only where the order asks for it."""
    if rules.order != "disagreement":
        return None
    main = rules.form.main
    given = Counter(str(other.get(main)) for other in [*transaction.answers_to(item), answers])
    total = sum(given.values())
    return round(-sum(n / total * math.log2(n / total) for n in given.values()), 4)
