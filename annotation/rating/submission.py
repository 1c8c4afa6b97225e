"""What a rater sends about an item: a rating, or that it is skipped. Sent again, it changes nothing.

Sent again with other answers it is refused, for it would look as if they were saved.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from annotation.rating.enrolment import known_item, known_study
from annotation.rating.leases import own_assignment, reclaim
from annotation.rating.playback import PlaybackProof
from annotation.rating.screens import NOT_OPEN, asked_scales, shown_clips
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.study.rules import Study
from annotation.study.scales import check_answers, meets
from annotation.study.translate import translated
from emotion_omni.types import EmotionOmniError

LONGEST_CLICKS = 60_000  # characters of the log of clicks kept with a rating
SKIP_REASONS = ("cannot-hear", "distressing", "other")
_SUBMIT_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def submit(
    transaction: Transaction, playback: PlaybackProof, rater: str, body: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """Store a rating, or say why not. The same ``submit_id``, or the same item, again: the first rating stays."""
    submit_id = _submit_id(body)
    assignment = own_assignment(transaction, rater, body.get("assignment"))
    if stored := transaction.rating(submit_id) or transaction.rating_of(assignment["id"]):
        return _stored_receipt(transaction, stored, assignment, body)
    study, item = known_study(transaction, assignment["study"]), known_item(transaction, assignment["item"])
    if study["state"] == "closed":
        raise EmotionOmniError(NOT_OPEN["closed"], "conflict")
    rules, kind = Study.read(study["settings"]), assignment["kind"]
    reclaimed = reclaim(transaction, assignment, item, rules)
    lengths = [clip["seconds"] for _, clip in shown_clips(rules, item["content"], 1)]
    heard = playback.check(body.get("receipt", ""), assignment["id"], lengths)
    answers = check_answers(asked_scales(rules, kind, bool(assignment["guess"])), body.get("values"))
    answers = unflipped(answers, assignment["flip"])
    right = meets(item["expected"], answers) if item["expected"] and kind != "repeat" else None
    event = transaction.record(
        "rated",
        submit=submit_id,
        assignment=assignment["id"],
        study=assignment["study"],
        item=item["id"],
        rater=rater,
        kind=kind,
        answers=answers,
        right=None if right is None else int(right),
        heard=heard,
        at=now,
        seconds=round(max(0.0, now - assignment["created"]), 2),
        clicks=_clicks(body.get("clicks")),
        flip=assignment["flip"],
        reclaimed=int(reclaimed),
        disagreement=_disagreement(transaction, rules, item["id"], answers) if kind == "rate" else None,
    )
    if right:
        _advance(transaction, assignment)
    feedback = translated(_feedback(kind, bool(right), item), rules.language)
    return _receipt(submit_id, event["at"], feedback=feedback)


def skip(transaction: Transaction, rater: str, body: Mapping[str, Any]) -> dict[str, Any]:
    assignment = own_assignment(transaction, rater, body.get("assignment"))
    if assignment["state"] != "open":
        return {"saved": True}
    if assignment["kind"] == "sound":
        raise EmotionOmniError(
            "The sound check cannot be skipped: only with it is it known that you can hear the clips.", "no-skip"
        )
    reason = body.get("reason") if body.get("reason") in SKIP_REASONS else "other"
    facts = {name: assignment[name] for name in ("study", "item", "kind", "flip")}
    transaction.record("skipped", assignment=assignment["id"], rater=rater, reason=reason, **facts)
    return {"saved": True}


def unflipped(answers: dict[str, Any], flip: int) -> dict[str, Any]:
    """Answers about "A" and "B" of the page → about the item's own a and b."""
    if flip < 0 and answers.get("preference") in ("a", "b"):
        return answers | {"preference": "b" if answers["preference"] == "a" else "a"}
    return answers


def _advance(transaction: Transaction, assignment: Row) -> None:
    """After a right answer: the sound check is passed, and training counts one more."""
    study, rater = assignment["study"], assignment["rater"]
    if assignment["kind"] == "sound":
        transaction.record("phase.changed", study=study, rater=rater, phase="instructions", slot=0)
    if assignment["kind"] == "training":
        enrolment = transaction.enrolment(study, rater)
        assert enrolment is not None, "a rater with an assignment is enrolled"
        transaction.record("phase.changed", study=study, rater=rater, trained=enrolment["trained"] + 1)


def _submit_id(body: Mapping[str, Any]) -> str:
    submit_id = str(body.get("submit_id", "")).lower()
    if not _SUBMIT_ID.fullmatch(submit_id):
        raise EmotionOmniError("A rating needs a submit_id, a UUID made by the browser.", "bad-submit-id")
    return submit_id


def _clicks(value: Any) -> list | None:
    if not isinstance(value, list):
        return None
    if len(json.dumps(value)) > LONGEST_CLICKS:
        raise EmotionOmniError(f"The log of clicks may have {LONGEST_CLICKS} characters.", "too-large")
    return value


def _receipt(submit_id: str, at: float, again: bool = False, feedback: Mapping | None = None) -> dict[str, Any]:
    return {"saved": True, "id": submit_id, "at": at, "repeat_of_known": again, "feedback": feedback}


def _stored_receipt(transaction: Transaction, rating: Row, assignment: Row, body: Mapping[str, Any]) -> dict[str, Any]:
    if rating["assignment"] != assignment["id"]:
        raise EmotionOmniError("This submit_id was used for another rating. Reload the page.", "conflict")
    rules = Study.read(known_study(transaction, assignment["study"])["settings"])
    asked = asked_scales(rules, assignment["kind"], bool(assignment["guess"]))
    try:
        answers = unflipped(check_answers(asked, body.get("values")), assignment["flip"])
    except EmotionOmniError:
        answers = None
    if answers != rating["answers"]:
        raise EmotionOmniError("This item is rated already; your first answers stay. Go on with the next.", "conflict")
    return _receipt(rating["id"], rating["at"], again=True)


def _feedback(kind: str, right: bool, item: Row) -> dict[str, Any] | None:
    if kind == "training":
        return {"right": right, "text": item["content"].get("lesson", "")}
    if kind == "sound" and not right:
        text = "Those were other digits. Turn the volume up, or put on headphones, and try once more."
        return {"right": False, "text": text}
    return None


def _disagreement(transaction: Transaction, rules: Study, item: str, answers: Mapping[str, Any]) -> float | None:
    """Entropy of an item's answers on the main scale so far, in bits: -Σ p log2 p. Only where the order needs it."""
    if rules.order != "disagreement":
        return None
    main = rules.form.main
    counts = Counter(str(given.get(main)) for given in [*transaction.answers_to(item), answers])
    total = sum(counts.values())
    return round(-sum(n / total * math.log2(n / total) for n in counts.values()), 4)
