"""Ratings and skips: what is refused, and what is stored."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import raters
from raters import Clock, Rater
from sessions import PLAIN, at_task, items, known, ratings, recorded, refused

from annotation.rating.leases import expire_assignment
from annotation.rating.submission import LONGEST_CLICKS
from annotation.studio import Studio
from annotation.study.scales import SCALES, check_answers, meets
from annotation.study.templates import TEMPLATES
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)


def test_a_rating_sent_again_changes_nothing(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    first, second = rater.submit(body), rater.submit(body | {"receipt": "none"})
    assert (first["id"], first["at"]) == (second["id"], second["at"]) and second["repeat_of_known"]
    other_id = rater.submit(body | {"submit_id": str(uuid.uuid4())})
    assert other_id["id"] == first["id"]
    assert len([row for row in ratings(studio) if row["kind"] == "rate"]) == 1


def test_a_rating_sent_again_with_other_answers_is_not_called_saved(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    rater.submit(body)
    for changes in ({"note": "changed"}, {"primary": "sad"}, {"intensity": 99}):
        for submit_id in (body["submit_id"], str(uuid.uuid4())):
            changed = body | {"values": body["values"] | changes, "submit_id": submit_id}
            refused("conflict", rater.submit, changed)
    refused("conflict", rater.submit, body | {"values": {}})
    assert [row["answers"] for row in ratings(studio) if row["kind"] == "rate"] == [body["values"]]


def test_an_answer_on_the_other_side_can_be_sent_again(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "compare", items=4, **PLAIN)
    rater = Rater(studio, "s1", clock)
    for _ in range(4):
        screen = rater.to_task()
        body = rater.filled(screen)
        assert rater.submit(body)["id"] == rater.submit(body)["id"]


def test_the_same_rating_sent_by_many_threads_is_stored_once(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(rater.submit, [body] * 8))
    assert len({one["id"] for one in told}) == 1 and sum(not one["repeat_of_known"] for one in told) == 1
    assert len([row for row in ratings(studio) if row["kind"] == "rate"]) == 1


def test_an_id_that_was_used_for_another_rating_is_refused(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    rater.submit(body)
    other, theirs = at_task(studio, clock)
    refused("conflict", other.submit, other.filled(theirs, submit_id=body["submit_id"]))
    refused("conflict", rater.submit, rater.filled(rater.next(), submit_id=body["submit_id"]))


def test_an_id_that_is_no_uuid_is_refused(studio: Studio, clock: Clock) -> None:
    rater = Rater(studio, "s1", clock)
    for submit_id in ("", None, 5, "x" * 36, "../../etc", "g" * 32, f"{uuid.uuid4()}\n"):
        refused("bad-submit-id", rater.submit, {"submit_id": submit_id, "assignment": "x"})


def test_the_item_of_another_rater_is_out_of_reach(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    thief = Rater(studio, "s1", clock)
    body = rater.filled(screen)
    for call, arguments in ((thief.submit, [body]), (thief.skip, [screen]), (thief.fetch, [screen["clips"][0]])):
        refused("not-yours", call, *arguments)
    with pytest.raises(EmotionOmniError):
        studio.store.write(lambda transaction: studio.sessions.renew(transaction, thief.id, screen["assignment"]))
    refused("not-yours", thief.submit, body | {"assignment": "no such"})


def test_a_rating_without_hearing_is_refused(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "empathy", items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    for receipt in (screen["receipt"], rater.listen(screen, share=0.9), "", None, 5):
        refused("unheard", rater.submit, rater.filled(screen, receipt=receipt))
    assert rater.submit(rater.filled(screen))["saved"]


def test_the_receipt_of_an_earlier_item_is_refused(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    rater.submit(body)
    refused("unheard", rater.submit, rater.filled(rater.next(), receipt=body["receipt"]))


OFF_SCALE = (
    ({"primary": "furious"}, "off-scale"),
    ({"primary": ["sad"]}, "off-scale"),
    ({"intensity": 6}, "off-scale"),
    ({"intensity": 0}, "off-scale"),
    ({"intensity": 2.5}, "off-scale"),
    ({"intensity": True}, "off-scale"),
    ({"intensity": "3"}, "off-scale"),
    ({"secondary": "sad"}, "off-scale"),
    ({"secondary": ["sad", "x"]}, "off-scale"),
    ({"note": "x" * 2001}, "off-scale"),
    ({"note": 5}, "off-scale"),
    ({"warmth": 3}, "off-scale"),
    ({"guess_right": "right"}, "off-scale"),
    ({"intensity": None}, "incomplete"),
    ({"primary": ""}, "incomplete"),
)


def test_an_answer_off_its_scale_is_refused_and_the_item_stays(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    for change, code in OFF_SCALE:
        refused(code, rater.submit, body | {"values": body["values"] | change})
    assert rater.next()["assignment"] == screen["assignment"]
    assert rater.submit(body)["saved"]


@pytest.mark.parametrize("values", [None, [], "x", 5])
def test_answers_that_are_no_object_are_refused(values: Any) -> None:
    refused("off-scale", check_answers, (SCALES["primary"],), values)


def test_blank_words_are_no_answer_where_one_is_needed() -> None:
    refused("incomplete", check_answers, (SCALES["rewrite"],), {"rewrite": "  \n "})


def test_a_question_is_asked_only_where_it_applies() -> None:
    scales = TEMPLATES["compare"].asked(False)
    assert check_answers(scales, {"preference": "tie", "certainty": 2}) == {"preference": "tie"}
    refused("incomplete", check_answers, scales, {"preference": "a"})
    assert check_answers(scales, {"preference": "a", "certainty": 2}) == {"preference": "a", "certainty": 2}


def test_a_choice_is_stored_for_the_answer_that_was_meant_on_whatever_side_it_stood(
    studio: Studio, clock: Clock
) -> None:
    raters.study(studio, "compare", items=2, ratings_per_item=8, **PLAIN)
    sides = Counter()
    for number, pick in enumerate(("a", "b", "tie") * 2):
        rater = known(studio, clock, number)
        screen = rater.to_task()
        while screen["screen"] == "rate":
            item, flip = rater.looked_up(screen), rater.given(screen)["flip"]
            with studio.store.read() as view:
                clips = [studio.sessions.clip(view, rater.id, screen["assignment"], number) for number in range(3)]
            heard_as = dict(zip(("query", "a", "b"), clips, strict=True))
            values = {"preference": pick} | ({} if pick == "tie" else {"certainty": 2})
            rater.submit(rater.filled(screen, values=values))
            stored = ratings(studio, rater=rater.id, item=item["id"])[0]["answers"]["preference"]
            meant = (
                "tie"
                if pick == "tie"
                else next(r for r in ("a", "b") if item["content"]["clips"][r]["played"] == heard_as[pick])
            )
            assert stored == meant
            sides[pick, flip] += 1
            screen = rater.next()
    assert all(sides["a", flip] and sides["b", flip] for flip in (1, -1))


def test_a_skipped_item_goes_to_others_and_never_comes_back(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    rater.skip(screen, "distressing")
    assert rater.skip(screen)["saved"]
    refused("skipped", rater.submit, rater.filled(screen))
    assert {row["claimed"] for row in items(studio)} == {0}
    assert len(rater.walk()) == 2


def test_a_log_of_clicks_is_kept_if_it_is_not_too_long(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, **PLAIN)
    rater, screen = at_task(studio, clock)
    refused("too-large", rater.submit, rater.filled(screen, clicks=["x" * LONGEST_CLICKS]))
    rater.submit(rater.filled(screen, clicks=[["primary", 1.5]]))
    assert [row["clicks"] for row in ratings(studio) if row["kind"] == "rate"] == [[["primary", 1.5]]]


@pytest.mark.parametrize("claimed", [0.001, -1, 10**9, "5", None])
def test_the_seconds_of_a_rating_are_the_servers(studio: Studio, clock: Clock, claimed: Any) -> None:
    raters.study(studio, items=2, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen, seconds=claimed)
    clock.on(4.5)
    rater.submit(body)
    heard = raters.CLIP_SECONDS + 1  # until the clip was played
    assert [row["seconds"] for row in ratings(studio) if row["kind"] == "rate"] == [heard + 4.5]


@pytest.mark.parametrize("given", ["472", "4 7 2", " 4-7-2 ", "4, 7, 2.", "4/7/2", "４７２", "4\u00a07\u20142"])
def test_digits_are_the_same_however_they_are_separated(given: str) -> None:
    assert check_answers((SCALES["digits"],), {"digits": given}) == {"digits": "472"}


@pytest.mark.parametrize("given", ["47", "4727", "4 7 x 2", "four", "²"])
def test_other_digits_are_others(given: str) -> None:
    assert check_answers((SCALES["digits"],), {"digits": given}) != {"digits": "472"}


@pytest.mark.parametrize("kind", ["trap", "gold"])
@pytest.mark.parametrize("answered", ["as expected", "otherwise"])
def test_a_trap_or_gold_item_is_stored_as_right_only_where_the_answer_was(
    studio: Studio, clock: Clock, kind: str, answered: str
) -> None:
    raters.study(studio, items=4, block_size=4, training_right=0, repeats_per_block=0)
    rater, screen = at_task(studio, clock)
    while rater.given(screen)["kind"] != kind:
        rater.do(screen)
        screen = rater.next()
    expected = rater.looked_up(screen)["expected"]["primary"]
    value = expected if answered == "as expected" else next(name for name in ("calm", "happy") if name != expected)
    rater.submit(rater.filled(screen, values=raters.first_values(screen) | {"primary": value}))
    (row,) = [row for row in ratings(studio) if row["kind"] == kind]
    assert row["right"] == (answered == "as expected")


def test_an_ordinary_item_is_neither_right_nor_wrong(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, **PLAIN)
    rater, screen = at_task(studio, clock)
    rater.do(screen)
    assert [row["right"] for row in ratings(studio) if row["kind"] == "rate"] == [None]


@pytest.mark.parametrize(
    ("expected", "value", "is_met"),
    [
        ("sad", "sad", True),
        ("sad", "calm", False),
        (["sad", "calm"], "calm", True),
        (["sad", "calm"], "happy", False),
        ({"low": 3, "high": 5}, 3, True),
        ({"low": 3, "high": 5}, 5, True),
        ({"low": 3, "high": 5}, 2, False),
        ({"low": 3, "high": 5}, 6, False),
        ({"low": 3}, 9, True),
        ({"high": 3}, 4, False),
        ({"low": 3, "high": 5}, None, False),
    ],
)
def test_an_expectation_is_a_value_a_list_or_a_range(expected: Any, value: Any, is_met: bool) -> None:
    assert meets({"scale": expected}, {"scale": value}) == is_met


def test_every_expectation_must_be_met() -> None:
    assert not meets({"empathy": 1, "relevance": 1}, {"empathy": 1, "relevance": 2})


@pytest.mark.parametrize(
    ("given", "stored"), [("distressing", "distressing"), ("cannot-hear", "cannot-hear"), ("x", "other")]
)
def test_a_skip_is_recorded_with_its_reason(studio: Studio, clock: Clock, given: str, stored: str) -> None:
    raters.study(studio, items=2, **PLAIN)
    rater, screen = at_task(studio, clock)
    rater.skip(screen, given)
    (event,) = recorded(studio, "skipped")
    assert event["reason"] == stored


def test_consent_is_stored_with_its_time(studio: Studio, clock: Clock) -> None:
    raters.study(studio)
    rater = Rater(studio, "s1", clock)
    rater.next()
    clock.on(7)
    rater.confirm("consent", {"agreed": True})
    with studio.store.read() as view:
        assert view.enrolment("s1", rater.id)["answers"]["consent"] == {"at": clock.now}


def test_a_rating_is_stored_with_the_sides_that_were_shown(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "compare", items=6, ratings_per_item=4, **PLAIN)
    for number in range(2):
        rater = known(studio, clock, number)
        shown = {screen["assignment"]: rater.given(screen)["flip"] for screen in rater.walk()}
        stored = {row["assignment"]: row["flip"] for row in ratings(studio, rater=rater.id) if row["kind"] == "rate"}
        assert stored == shown and set(shown.values()) == {1, -1}
        events = [
            event for event in recorded(studio, "rated") if event["rater"] == rater.id and event["kind"] == "rate"
        ]
        assert {event["assignment"]: event["flip"] for event in events} == shown


def test_a_late_rating_counts_for_the_side_that_was_shown(studio: Studio, clock: Clock) -> None:
    sides = set()
    raters.study(studio, "compare", items=6, ratings_per_item=1, **PLAIN)
    for number in range(6):
        rater = known(studio, clock, number)
        screen = rater.to_task()
        given = rater.given(screen)
        clock.on(15 * 60 + 1)
        studio.store.write(lambda transaction, name=given["id"]: expire_assignment(transaction, name))
        assert {row["id"]: row["flipped"] for row in items(studio)}[given["item"]] == 0
        rater.submit(rater.filled(screen))
        assert {row["id"]: row["flipped"] for row in items(studio)}[given["item"]] == given["flip"]
        sides.add(given["flip"])
    assert sides == {1, -1}
