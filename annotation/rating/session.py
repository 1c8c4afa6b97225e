"""A rater's way through a study: consent → sound check → instructions → training → blocks → survey.

The server decides what comes next and refuses what does not: an item that was never handed to this rater, a
clip that was not heard, a value off its scale. Asking for the next screen again gives the same screen (a refresh
loses nothing), and sending a rating again changes nothing. Depends on the store and the study's rules; knows
nothing of HTTP. Times are seconds since 1970.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from annotation.rating import submission
from annotation.rating.assignment import Assigner, block_plan, seeded
from annotation.rating.catalog import Catalog, Catalogs
from annotation.rating.enrolment import Enrolment, known_item, known_study, refuse_short_break
from annotation.rating.leases import Leases, own_assignment
from annotation.rating.playback import PlaybackProof
from annotation.rating.screens import Screen, Screens, shown_clips
from annotation.rating.served_clips import ServedClips
from annotation.rating.waiting_line import WaitingLine
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.study.rules import Study
from annotation.study.scales import SURVEY, check_answers
from emotion_omni.types import EmotionOmniError

TRAINING_ROUNDS = 2  # a rater who fails twice goes on; traps and gold items will flag them
AFTER = {"consent": "sound", "instructions": "training", "break": "task", "survey": "done"}  # phases to confirm


class Sessions:
    """All raters' sessions. Keeps nothing that a restart would lose: what is in memory is a cache."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._playback, self._served = PlaybackProof(secret), ServedClips(secret)
        self._catalogs, self._leases = Catalogs(self._now), Leases(self._now)
        self._assigner = Assigner(self._catalogs, self._leases, WaitingLine(self._now))
        self._screens = Screens(secret, self._playback, self._catalogs, self._served, self._now)

    def _now(self) -> float:
        return self.clock()

    # -- what comes next

    def next(self, transaction: Transaction, study: str, rater: str, address: str = "") -> Screen:
        """The screen that this rater should see now. ``address``: where they are, as a name that tells nothing else."""
        while True:
            enrolment = Enrolment.open(transaction, study, rater, address)
            if enrolment.study["state"] != "open" and enrolment.phase != "done":
                return self._screens.closed(enrolment)
            screen = self._screen(enrolment)
            if screen is not None:
                return screen

    def _screen(self, enrolment: Enrolment) -> Screen | None:
        """The screen of the rater's phase. None: the phase is over, and the next one has begun."""
        match enrolment.phase:
            case "consent":
                return self._screens.consent(enrolment)
            case "sound":
                return self._check_item(enrolment, "sound")
            case "instructions":
                return self._screens.instructions(enrolment)
            case "training":
                return self._training(enrolment)
            case "task":
                return self._task(enrolment)
            case "break":
                return self._screens.take_break(enrolment)
            case "survey":
                return self._screens.survey(enrolment)
            case "done":
                return self._done(enrolment)
        raise ValueError(f"{enrolment.phase!r} is not a phase.")

    def _check_item(self, enrolment: Enrolment, kind: str) -> Screen:
        """An item of the sound check or the training."""
        handed = self._leases.held(enrolment) or self._assigner.assign_check(enrolment, kind)
        return self._screens.rate(enrolment, handed)

    def _training(self, enrolment: Enrolment) -> Screen | None:
        """Rounds of all training items, until enough were right in one round."""
        needed, right = enrolment.rules.training_right, enrolment.row["trained"]
        items = self._catalog(enrolment).checks["training"]
        rounds, in_round = divmod(enrolment.slot, max(1, len(items)))
        round_over = rounds > 0 and in_round == 0
        if not items or needed == 0 or (round_over and right >= needed) or rounds >= TRAINING_ROUNDS:
            enrolment.move(phase="task", slot=0, block=0, block_began=self._now())
            return None
        if round_over and right:
            enrolment.move(trained=0)
        return self._check_item(enrolment, "training")

    def _task(self, enrolment: Enrolment) -> Screen | None:
        """The next item of the block, or a break after it or after the block's time."""
        if held := self._leases.held(enrolment):
            return self._screens.rate(enrolment, held)
        rules, checks = enrolment.rules, self._catalog(enrolment).checks
        generator = seeded(enrolment.study_id, enrolment.rater, enrolment.block)
        plan = block_plan(rules, generator, {kind: bool(checks[kind]) for kind in ("trap", "gold")})
        if enrolment.slot >= len(plan):
            if self._assigner.items_left(enrolment):
                enrolment.move(phase="break", block=enrolment.block + 1, slot=0, block_began=self._now())
                return None
            return self._nothing_free(enrolment)
        seconds = self._now() - (enrolment.row["block_began"] or 0)
        if enrolment.slot > 0 and seconds > rules.block_minutes * 60:
            enrolment.move(phase="break", block_began=self._now())
            return None
        kind = plan[enrolment.slot]
        handed = self._assigner.assign(enrolment, kind)
        if handed is None:
            return self._nothing_free(enrolment) if kind == "rate" else None
        return self._screens.rate(enrolment, handed)

    def _nothing_free(self, enrolment: Enrolment) -> Screen | None:
        """Wait for what others hold, or come to the end; without the survey where nothing could be rated."""
        if self._assigner.must_wait(enrolment):
            return self._screens.wait(enrolment)
        enrolment.move(phase="survey" if enrolment.row["done"] else "done")
        return None

    def _done(self, enrolment: Enrolment) -> Screen | None:
        if enrolment.study["state"] == "open" and self._assigner.items_left(enrolment):  # items were added since
            enrolment.move(phase="break", block_began=0.0)  # has rested
            return None
        return self._screens.done(enrolment)

    def _catalog(self, enrolment: Enrolment) -> Catalog:
        return self._catalogs.get(enrolment.transaction, enrolment.study_id)

    # -- what a rater sends

    def heard(self, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A report of what was played. Needs no store: everything is in the receipt."""
        receipt, heard = self._playback.extend(
            body.get("receipt", ""),
            rater,
            str(body.get("assignment")),
            body.get("proofs", {}),
            body.get("played", []),
            self._now(),
        )
        return {"receipt": receipt, "heard": heard}

    def renew(self, transaction: Transaction, rater: str, assignment: str) -> None:
        """A rater who is still at work keeps the lease."""
        self._leases.renew(transaction, rater, assignment)

    def submit(self, transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store a rating, or say why not."""
        return submission.submit(transaction, self._playback, rater, body, self._now())

    def skip(self, transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return submission.skip(transaction, rater, body)

    def confirm_phase(self, transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A screen without an item is done. Sent twice, or for a phase that is over, it changes nothing."""
        study = known_study(transaction, body.get("study"))
        enrolment = transaction.enrolment(study["id"], rater)
        phase, answers = body.get("phase"), body.get("answers")
        if enrolment is None:
            raise EmotionOmniError("You have not begun this study.", "not-found")
        if not isinstance(phase, str) or phase not in AFTER:
            raise EmotionOmniError(f"{str(phase)[:20]!r} is not a phase that can be confirmed.", "bad-phase")
        if phase == enrolment["phase"]:
            if phase == "break":
                refuse_short_break(Study.read(study["settings"]), enrolment, self._now())
            self._pass(transaction, enrolment, phase, answers if isinstance(answers, Mapping) else {})
        return {"saved": True}

    def _pass(self, transaction: Transaction, enrolment: Row, phase: str, answers: Mapping[str, Any]) -> None:
        changes: dict[str, Any] = {"phase": AFTER[phase], "answers": dict(enrolment["answers"])}
        match phase:
            case "consent":
                if answers.get("agreed") is not True:
                    raise EmotionOmniError(
                        "Without your agreement nothing is stored, and the study cannot begin.", "no-consent"
                    )
                changes["answers"]["consent"] = {"at": self._now()}
                changes["slot"] = 0
            case "instructions":
                changes["slot"] = 0
            case "break":
                changes["block_began"] = self._now()
            case "survey":
                changes["answers"]["survey"] = check_answers(SURVEY, answers)
        transaction.record("phase.changed", study=enrolment["study"], rater=enrolment["rater"], **changes)

    # -- clips

    def clip(self, view: View, rater: str, assignment: str, number: int) -> str:
        """The SHA-256 of the sound behind a clip that was handed to this rater."""
        if cached := self.cached_clip(rater, assignment, number):
            return cached
        row = own_assignment(view, rater, assignment)
        rules = Study.read(known_study(view, row["study"])["settings"])
        shown = shown_clips(rules, known_item(view, row["item"])["content"], row["flip"])
        self._served.add(row, [clip for _, clip in shown])
        sha = self._served.get(rater, assignment, number)
        if sha is None:  # the rater has withdrawn at this very moment
            raise EmotionOmniError("This clip was not handed to you. Ask for the next item.", "not-yours")
        return sha

    def cached_clip(self, rater: str, assignment: str, number: int) -> str | None:
        """The same for an item that was handed out lately, without asking the store; None if it is not in memory."""
        return self._served.get(rater, assignment, number)

    def copy(self, data: bytes, assignment: str, number: int) -> bytes:
        """The sound of a clip as this assignment alone gets it."""
        return self._served.copy(data, assignment, number)

    def fetch_proof(self, rater: str, assignment: str, number: int) -> str:
        """Goes with the bytes of a clip: reports of hearing it need it."""
        return self._playback.fetch_proof(rater, assignment, number, self._now())

    def forget(self, rater: str) -> None:
        """A rater who withdrew is served nothing from memory."""
        self._served.forget(rater)
