"""The way through a study: what comes next, what is refused, and what nobody may learn from a screen."""

from __future__ import annotations

import base64
import json
import random
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import raters
from hypothesis import given, settings
from hypothesis import strategies as st
from raters import Clock, Rater

from annotation.rating import assignment
from annotation.rating.leases import expire_assignment
from annotation.rating.submission import LONGEST_CLICKS
from annotation.studio import Studio
from annotation.study.rules import Study
from annotation.study.scales import SCALES, check_answers, meets
from annotation.study.templates import TEMPLATES
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)

NO_EXTRAS = {"traps_per_block": 0, "gold_per_block": 0, "repeats_per_block": 0}
PLAIN = NO_EXTRAS | {"training_right": 0}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def studio(home: Path, store_url: str, clock: Clock) -> Iterator[Studio]:
    with raters.opened(home, store_url, clock) as one:
        yield one


def refused(code: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        call(*arguments)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


def at_task(studio: Studio, clock: Clock, study: str = "s1", **more: Any) -> tuple[Rater, dict[str, Any]]:
    """A rater with the first item of the task in hand."""
    rater = Rater(studio, study, clock, **more)
    return rater, rater.to_task()


def known(studio: Studio, clock: Clock, number: int = 0) -> Rater:
    """A rater under a fixed name, for whom chance always falls the same."""
    return Rater(studio, "s1", clock, raters.new_rater(studio, rater=f"rater-{number}"))


def ratings(studio: Studio, study: str = "s1", **more: Any) -> list[dict[str, Any]]:
    with studio.store.read() as view:
        return view.ratings(study, **more)


def items(studio: Studio, study: str = "s1") -> list[dict[str, Any]]:
    with studio.store.read() as view:
        return view.items(study, "rate")


# --- the shape of a block ---------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(2, 40),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 10**6),
    st.booleans(),
    st.booleans(),
)
def test_a_block_has_its_extras_but_never_first_or_last(
    size: int, traps: int, gold: int, repeats: int, seed: int, has_trap: bool, has_gold: bool
) -> None:  # noqa: E501
    rules = Study(
        "t", "empathy", block_size=size, traps_per_block=traps, gold_per_block=gold, repeats_per_block=repeats
    )
    plan = assignment.block_plan(rules, random.Random(seed), {"trap": has_trap, "gold": has_gold})
    assert plan[0] == plan[-1] == "rate"
    assert Counter(plan) == Counter(rate=size, trap=traps * has_trap, gold=gold * has_gold, repeat=repeats)
    if size > assignment.REPEAT_AFTER + 1 and repeats:
        assert plan[: plan.index("repeat")].count("rate") > assignment.REPEAT_AFTER


def test_extras_stand_anywhere_in_a_block() -> None:
    rules = Study("t", "empathy")
    plans = [assignment.block_plan(rules, random.Random(seed), {"trap": True, "gold": True}) for seed in range(300)]
    assert {plan.index("trap") for plan in plans} >= set(range(1, 12))


def test_a_block_of_one_item_has_no_extras() -> None:
    assert assignment.block_plan(
        Study("t", "empathy", block_size=1), random.Random(0), {"trap": True, "gold": True}
    ) == ["rate"]


def test_a_whole_study_holds_its_extras_in_every_block(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=20, block_size=10, training_right=0)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    kinds = raters.kinds(rater)
    assert Counter(kinds) == {"rate": 20, "trap": 2, "gold": 2, "repeat": 2}
    assert kinds[0] == kinds[12] == kinds[13] == kinds[-1] == "rate"


def test_a_hidden_repeat_shows_an_older_item_as_it_was_shown(studio: Studio, clock: Clock) -> None:
    raters.study(
        studio,
        "compare",
        items=10,
        block_size=10,
        training_right=0,
        repeats_per_block=3,
        traps_per_block=0,
        gold_per_block=0,
    )
    rater = Rater(studio, "s1", clock)
    rater.walk()
    with studio.store.read() as view:
        given = view.assignments("s1", rater.id)
    shown = [row for row in given if row["kind"] in ("rate", "repeat")]
    repeats = [(place, row) for place, row in enumerate(shown) if row["kind"] == "repeat"]
    assert len({row["item"] for _, row in repeats}) == len(repeats) == 3
    for place, row in repeats:
        first = next(at for at, other in enumerate(shown) if other["item"] == row["item"])
        assert place - first > assignment.REPEAT_AFTER
        assert (shown[first]["flip"], shown[first]["guess"]) == (row["flip"], row["guess"])


# --- the way ----------------------------------------------------------------------------------------------------


def test_the_phases_come_in_their_order(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    names = list(dict.fromkeys(screen["progress"]["phase"] for screen in rater.screens))
    assert names == ["consent", "sound", "instructions", "training", "task", "survey", "done"]


def test_nothing_is_shown_without_consent(studio: Studio, clock: Clock) -> None:
    raters.study(studio)
    rater = Rater(studio, "s1", clock)
    for answers in ({}, {"agreed": False}, {"agreed": "true"}, {"agreed": 1}):
        refused("no-consent", rater.confirm, "consent", answers) if rater.screens else rater.next()
        assert rater.next()["screen"] == "consent"


def test_a_phase_can_be_neither_skipped_nor_made_up(studio: Studio, clock: Clock) -> None:
    raters.study(studio)
    rater = Rater(studio, "s1", clock)
    refused("not-found", rater.confirm, "consent", {"agreed": True})
    rater.next()
    for phase in ("instructions", "break", "survey"):
        rater.confirm(phase)
    assert rater.next()["screen"] == "consent"
    for phase in ("task", "done", "", None, ["consent"]):
        refused("bad-phase", rater.confirm, phase)


def test_wrong_digits_ask_for_others_until_they_are_right(studio: Studio, clock: Clock) -> None:
    raters.study(studio, training_right=0)
    rater = Rater(studio, "s1", clock)
    first = rater.until("sound")
    told = rater.submit(rater.filled(first, values={"digits": "000"}))
    assert told["feedback"]["right"] is False
    second = rater.next()
    assert second["kind"] == "sound" and rater.looked_up(second)["expected"] != rater.looked_up(first)["expected"]
    refused("no-skip", rater.skip, second)
    rater.submit(rater.filled(second))
    assert rater.next()["screen"] == "instructions"


def test_training_tells_what_was_wrong_and_leads_on_once_enough_is_right(studio: Studio, clock: Clock) -> None:
    raters.study(studio, training_right=2)
    rater = Rater(studio, "s1", clock)
    feedback = []
    while (screen := rater.until("training", "rate"))["kind"] == "training":
        right = rater.looked_up(screen)["expected"]["primary"]
        value = right if len(feedback) != 0 else "calm"
        told = rater.submit(rater.filled(screen, values=raters.first_values(screen) | {"primary": value}))
        feedback.append(told["feedback"]["right"])
        assert right in told["feedback"]["text"]
    assert feedback == [False, True, True]


def test_who_fails_training_gets_a_second_round_and_then_goes_on(studio: Studio, clock: Clock) -> None:
    raters.study(studio, training_right=3)
    rater = Rater(studio, "s1", clock, values=lambda screen: raters.first_values(screen) | {"primary": "calm"})
    count = 0
    while (screen := rater.until("training", "rate"))["kind"] == "training":
        rater.submit(rater.filled(screen))
        count += 1
    assert count == 6


def test_a_break_comes_after_a_block_and_leads_back(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, block_size=2, **PLAIN)
    rater, _ = at_task(studio, clock)
    rater.step(), rater.step()
    assert rater.next()["screen"] == "break"
    assert rater.next()["screen"] == "break"
    rater.confirm("break")
    assert rater.next()["progress"]["block"] == 2


def test_a_break_comes_when_the_time_of_a_block_is_over_and_the_block_goes_on_after_it(
    studio: Studio, clock: Clock
) -> None:
    raters.study(studio, items=6, block_size=6, block_minutes=5, **PLAIN)
    rater, _ = at_task(studio, clock)
    rater.step()
    clock.on(5 * 60 + 1)
    assert rater.next()["screen"] == "break"
    clock.on(3600)
    rater.confirm("break")
    assert rater.next()["progress"]["in_block"] == 2
    rater.step()
    assert rater.next()["screen"] == "rate"  # the time counts from the break on


def test_the_survey_is_checked_and_kept(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, **PLAIN)
    rater = Rater(studio, "s1", clock)
    rater.until("survey")
    refused("incomplete", rater.confirm, "survey", {"device": "phone"})
    refused("off-scale", rater.confirm, "survey", {"device": "phone", "language": "yes", "difficulty": 9})
    rater.confirm("survey", {"device": "phone", "language": "yes", "difficulty": 2})
    with studio.store.read() as view:
        assert view.enrolment("s1", rater.id)["answers"]["survey"] == {
            "device": "phone",
            "language": "yes",
            "difficulty": 2,
        }
    assert rater.next()["screen"] == "done"


def test_the_code_at_the_end_is_of_this_rater_and_study_alone(studio: Studio, clock: Clock) -> None:
    codes = []
    for name in ("s1", "s2"):
        raters.study(studio, items=1, name=name, **PLAIN)
        for _ in range(2):
            rater = Rater(studio, name, clock)
            rater.walk()
            codes += [rater.next()["code"], rater.next()["code"]]
    assert len(set(codes)) == 4 and codes[0] == codes[1]


def test_who_was_done_is_asked_again_when_items_are_added(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, **PLAIN)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    studio.store.write(
        lambda transaction: transaction.record(
            "items.added", study="s1", items=[raters.item(studio, "emotion-recognition", 77)]
        )
    )
    assert rater.next()["screen"] == "break"
    rater.confirm("break")
    assert rater.looked_up(rater.next())["id"] == "i0077"


def test_a_paused_study_waits_and_loses_nothing(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    studio.store.write(lambda transaction: transaction.record("study.changed", study="s1", state="paused"))
    assert rater.next()["screen"] == "wait"
    rater.submit(rater.filled(screen))  # was in hand already
    studio.store.write(lambda transaction: transaction.record("study.changed", study="s1", state="open"))
    assert rater.next()["progress"]["done"] == 1


def test_a_study_that_is_not_there_is_said_so(studio: Studio, clock: Clock) -> None:
    refused("not-found", Rater(studio, "none", clock).next)


def test_a_refresh_shows_the_same_item_and_a_restart_does_too(
    studio: Studio, clock: Clock, home: Path, store_url: str
) -> None:
    raters.study(studio, items=5, training_right=0)
    rater, screen = at_task(studio, clock)
    assert rater.next()["assignment"] == screen["assignment"]
    with raters.opened(home, store_url, clock) as restarted:
        again = Rater(restarted, "s1", clock, rater.id)
        assert again.next()["assignment"] == screen["assignment"]
        again.submit(again.filled(screen))
        assert again.next()["assignment"] != screen["assignment"]


def test_a_cap_ends_the_task_after_so_many_ratings(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=6, most_per_rater=2, block_size=2, **PLAIN)
    rater = Rater(studio, "s1", clock)
    assert len(rater.walk()) == 2
    assert rater.next()["screen"] == "done"


def test_everybody_rates_an_item_once_and_no_item_more_often_than_wanted(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, ratings_per_item=2, **PLAIN)
    people = [Rater(studio, "s1", clock) for _ in range(3)]
    given = [len(rater.walk()) for rater in people]
    assert given == [4, 4, 0]
    assert all(count == 1 for count in Counter((row["rater"], row["item"]) for row in ratings(studio)).values())


# --- who may enter ----------------------------------------------------------------------------------------------


def test_an_invited_study_opens_to_its_link_only(studio: Studio, clock: Clock) -> None:
    raters.study(studio, access="invited")
    assert "invitation" in refused("forbidden", Rater(studio, "s1", clock).next)
    guest = studio.people.invites.accept(studio.people.invites.create(study="s1"))
    assert Rater(studio, "s1", clock, guest).next()["screen"] == "consent"
    elsewhere = studio.people.invites.accept(studio.people.invites.create(study="s2"))
    refused("forbidden", Rater(studio, "s1", clock, elsewhere).next)


def test_a_study_of_cohorts_opens_to_them_only(studio: Studio, clock: Clock) -> None:
    raters.study(studio, cohorts=["north", "south"])
    refused("forbidden", Rater(studio, "s1", clock, raters.new_rater(studio, cohort="east")).next)
    refused("forbidden", Rater(studio, "s1", clock).next)
    assert Rater(studio, "s1", clock, raters.new_rater(studio, cohort="south")).next()["screen"] == "consent"


def test_who_has_withdrawn_is_asked_to_sign_in(studio: Studio, clock: Clock) -> None:
    raters.study(studio)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    studio.withdraw(rater=rater.id, study=None)
    refused("sign-in", rater.next)
    refused("not-yours", rater.submit, body)


def test_who_withdrew_from_a_study_may_begin_it_anew(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2, **PLAIN)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    studio.withdraw(rater=rater.id, study="s1")
    assert rater.next()["screen"] == "consent"
    assert len(rater.walk()) == 2


# --- leases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1, 3])
def test_raters_who_ask_at_the_same_time_never_get_more_than_an_item_needs(
    studio: Studio, clock: Clock, wanted: int
) -> None:
    raters.study(studio, "compare", items=16 // wanted + 1, ratings_per_item=wanted, **PLAIN)
    people = [Rater(studio, "s1", clock) for _ in range(16)]
    for rater in people:
        rater.until("instructions")
        rater.confirm("instructions")
    with ThreadPoolExecutor(16) as pool:
        screens = list(pool.map(Rater.next, people))
    with studio.store.read() as view:
        handed = Counter(view.assignment(screen["assignment"])["item"] for screen in screens)
    assert sum(handed.values()) == 16 and max(handed.values()) <= wanted
    assert {row["id"]: row["claimed"] for row in items(studio) if row["claimed"]} == dict(handed)
    assert all(abs(row["flipped"]) <= 1 for row in items(studio))


def test_two_servers_on_one_database_never_hand_out_an_item_twice(
    studio: Studio, clock: Clock, home: Path, store_url: str
) -> None:
    raters.study(studio, items=8, ratings_per_item=1, **PLAIN)
    with raters.opened(home, store_url, clock) as other:
        people = [Rater((studio, other)[number % 2], "s1", clock) for number in range(8)]
        for rater in people:
            rater.until("instructions")
            rater.confirm("instructions")
        with ThreadPoolExecutor(8) as pool:
            screens = list(pool.map(Rater.next, people))
        assert len({people[0].given(screen)["item"] for screen in screens}) == 8


def test_every_item_is_shown_on_both_sides_equally_often(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "compare", items=4, ratings_per_item=6, **PLAIN)
    for _ in range(5):
        Rater(studio, "s1", clock).walk()
    sides = {row["id"]: Counter(rating["flip"] for rating in ratings(studio, item=row["id"])) for row in items(studio)}
    assert all(abs(sides_[1] - sides_[-1]) == 1 and sides_.total() == 5 for sides_ in sides.values())


def test_an_abandoned_item_goes_to_somebody_else(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, lease_minutes=15, **PLAIN)
    _, screen = at_task(studio, clock)
    other = Rater(studio, "s1", clock)
    assert other.until("rate", "survey")["screen"] == "survey"  # nothing free yet
    clock.on(15 * 60 + 1)
    third, again = at_task(studio, clock)
    assert again["screen"] == "rate" and third.given(again)["item"] == third.given(screen)["item"]
    assert items(studio)[0]["claimed"] == 1


def test_an_item_that_comes_free_is_found_by_who_was_at_the_end(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, block_size=2, ratings_per_item=1, **PLAIN)
    at_task(studio, clock)  # takes one of three and goes away
    other = Rater(studio, "s1", clock)
    assert len(other.walk()) == 2
    clock.on(15 * 60 + 1)
    assert other.next()["screen"] == "break"
    assert len(other.walk()) == 1


def test_at_the_end_of_a_block_an_item_that_came_free_is_seen(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, block_size=2, ratings_per_item=1, **PLAIN)
    at_task(studio, clock)
    other, screen = at_task(studio, clock)
    other.do(screen)
    last = other.next()
    clock.on(15 * 60 + 1)
    other.submit(other.filled(last))
    assert other.next()["screen"] == "break"


def test_a_rater_at_work_keeps_the_lease(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, **PLAIN)
    rater, screen = at_task(studio, clock)
    for _ in range(4):
        clock.on(10 * 60)
        studio.store.write(lambda transaction: studio.sessions.renew(transaction, rater.id, screen["assignment"]))
    assert Rater(studio, "s1", clock).until("rate", "survey")["screen"] == "survey"
    rater.submit(rater.filled(screen))


def test_asking_for_the_screen_again_renews_the_lease(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, lease_minutes=15, **PLAIN)
    rater, screen = at_task(studio, clock)
    clock.on(10 * 60)
    assert rater.next()["assignment"] == screen["assignment"]
    clock.on(10 * 60)
    assert Rater(studio, "s1", clock).until("rate", "survey")["screen"] == "survey"


def lapsed(studio: Studio, clock: Clock, wanted: int, **more: Any) -> tuple[Rater, dict[str, Any]]:
    """A rater whose lease ran out, as others found when they asked."""
    raters.study(studio, ratings_per_item=wanted, **(PLAIN | {"items": 1} | more))
    rater, screen = at_task(studio, clock)
    clock.on(15 * 60 + 1)
    studio.store.write(
        lambda transaction: [expire_assignment(transaction, name) for name in transaction.expired(clock.now)]
    )
    return rater, screen


def test_a_late_rating_is_taken_while_the_place_is_free(studio: Studio, clock: Clock) -> None:
    rater, screen = lapsed(studio, clock, wanted=1)
    assert rater.submit(rater.filled(screen))["saved"]
    row = items(studio)[0]
    assert (row["claimed"], row["done"]) == (1, 1)
    assert rater.next()["screen"] == "survey"


def test_a_late_rating_is_refused_once_another_has_the_item(studio: Studio, clock: Clock) -> None:
    rater, screen = lapsed(studio, clock, wanted=1)
    other, taken = at_task(studio, clock)
    refused("lease-lost", rater.submit, rater.filled(screen))
    other.submit(other.filled(taken))
    refused("lease-lost", rater.submit, rater.filled(screen))
    assert [row["rater"] for row in ratings(studio, item=items(studio)[0]["id"])] == [other.id]
    assert (items(studio)[0]["claimed"], items(studio)[0]["done"]) == (1, 1)


def test_nobody_rates_an_item_twice_by_being_late(studio: Studio, clock: Clock) -> None:
    rater, screen = lapsed(studio, clock, wanted=5)
    body = rater.filled(screen)
    again = rater.next()  # the same item, in another tab
    assert rater.given(again)["item"] == rater.given(screen)["item"] and again["assignment"] != screen["assignment"]
    refused("lease-lost", rater.submit, body)
    rater.submit(rater.filled(again))
    refused("lease-lost", rater.submit, body | {"submit_id": str(uuid.uuid4())})
    assert len(ratings(studio, item=items(studio)[0]["id"])) == 1


def test_a_late_sound_check_does_not_send_a_rater_back(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, **PLAIN)
    rater = Rater(studio, "s1", clock)
    first = rater.until("sound")
    body = rater.filled(first)
    clock.on(15 * 60 + 1)
    studio.store.write(
        lambda transaction: [expire_assignment(transaction, name) for name in transaction.expired(clock.now)]
    )
    rater.to_task()
    refused("lease-lost", rater.submit, body)
    assert rater.next()["progress"]["phase"] == "task"


# --- sending ----------------------------------------------------------------------------------------------------


def test_a_rating_sent_again_changes_nothing(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    first, second = rater.submit(body), rater.submit(body | {"values": {"primary": "sad"}, "receipt": "none"})
    assert (first["id"], first["at"]) == (second["id"], second["at"]) and second["repeat_of_known"]
    other_id = rater.submit(body | {"submit_id": str(uuid.uuid4())})
    assert other_id["id"] == first["id"]
    assert len([row for row in ratings(studio) if row["kind"] == "rate"]) == 1


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
                clips = [studio.sessions.clip(view, rater.id, screen["assignment"], number)[0] for number in range(3)]
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


def test_a_log_of_clicks_and_a_time_are_kept_if_they_are_plausible(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, **PLAIN)
    rater, screen = at_task(studio, clock)
    refused("too-large", rater.submit, rater.filled(screen, clicks=["x" * LONGEST_CLICKS]))
    for seconds, kept in ((3.21, 3.21), (-1, None), (10**9, None), ("5", None)):
        rater.submit(rater.filled(screen, seconds=seconds, clicks=[["primary", 1.5]]))
        row = [row for row in ratings(studio) if row["kind"] == "rate"][-1]
        assert row["seconds"] == kept and row["clicks"] == [["primary", 1.5]]
        screen = rater.next()


# --- checks -----------------------------------------------------------------------------------------------------


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


# --- what is recorded -------------------------------------------------------------------------------------------


def recorded(studio: Studio, name: str) -> list[dict[str, Any]]:
    """Events of this name in the log."""
    return [event for event in studio.store.log.read() if event["event"] == name]


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


# --- words and voice --------------------------------------------------------------------------------------------


def in_modes(studio: Studio, families: int) -> list[dict[str, Any]]:
    made = []
    for number in range(families):
        for place, mode in enumerate(("words", "voice", "both")):
            one = raters.item(studio, "words-voice", 3 * number + place, family=f"family-{number}")
            made.append(one | {"content": one["content"] | {"mode": mode}})
    return made


def test_nobody_meets_the_same_words_in_two_modes_and_modes_are_balanced(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "words-voice", in_modes(studio, 5), ratings_per_item=5, **PLAIN)
    people = [Rater(studio, "s1", clock) for _ in range(4)]
    for rater in people:
        assert len(rater.walk()) == 5
    rows = ratings(studio)
    counts = Counter((row["rater"], row["family"]) for row in rows if row["kind"] == "rate")
    assert len(counts) == 20 and set(counts.values()) == {1}
    for number in range(5):
        per_mode = [row["done"] for row in items(studio) if row["family"] == f"family-{number}"]
        assert sum(per_mode) == 4 and max(per_mode) - min(per_mode) <= 1


def test_each_mode_shows_what_it_should(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "words-voice", in_modes(studio, 9), **PLAIN)
    rater = known(studio, clock)
    shapes = {}
    while (screen := rater.until("rate", "survey"))["screen"] == "rate":
        shapes[rater.looked_up(screen)["content"]["mode"]] = (len(screen["texts"]), len(screen["clips"]))
        rater.do(screen)
    assert shapes == {"words": (1, 0), "voice": (0, 1), "both": (1, 1)}


# --- what nobody may learn --------------------------------------------------------------------------------------

MARK = "Zaphod"


def marked(studio: Studio, template: str, number: int) -> dict[str, Any]:
    """An item whose every secret has a mark in it."""
    one = raters.item(studio, template, number, family=f"{MARK}-family-{number}", contributor=f"{MARK}-code-{number}")
    secrets = {
        "systems": {"reply": f"{MARK}-engine"},
        "about": {"engine": f"{MARK}-engine", "seed": 7},
        "planned": f"{MARK}-plan",
    }
    guess = {"guess": {"label": f"{MARK}-guess", "probability": 0.5}}
    return one | {"id": f"{MARK}-item-{number}", "content": one["content"] | secrets | guess}


def unpacked(screen: Any) -> str:
    """All that can be read in a screen, what is merely encoded included."""
    text = json.dumps(screen)
    if isinstance(screen, dict) and "receipt" in screen:
        packed, body = screen["receipt"].startswith("."), screen["receipt"].lstrip(".").split(".")[0]
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        text += (zlib.decompress(raw) if packed else raw).decode()
    return text


def shape(value: Any) -> Any:
    """Keys and kinds of values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_no_screen_gives_away_what_a_rater_must_not_know(studio: Studio, clock: Clock, template: str) -> None:
    made = [marked(studio, template, number) for number in range(6)]
    raters.study(studio, template, made, block_size=3, guess_hidden_share=1.0, training_right=1)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    told = "".join(map(unpacked, rater.screens))
    assert MARK.casefold() not in told.casefold()
    with studio.store.read() as view:
        stored = view.items("s1")
    for row in stored:
        assert row["id"] not in told
        for clip in row["content"]["clips"].values():
            assert clip["sha"] not in told and clip["played"] not in told
    hidden = (
        "flip",
        "expected",
        "systems",
        "about",
        "family",
        "item",
        "mode",
        "planned",
        "contributor",
        "gold",
        "trap",
        "repeat",
    )
    assert not any(f'"{word}"' in told for word in hidden)


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_traps_gold_and_repeats_look_like_any_other_item(studio: Studio, clock: Clock, template: str) -> None:
    raters.study(
        studio,
        template,
        items=6,
        block_size=6,
        training_right=0,
        traps_per_block=2,
        gold_per_block=2,
        repeats_per_block=2,
    )
    rater = Rater(studio, "s1", clock)
    screens = rater.walk()
    kinds = [rater.given(screen)["kind"] for screen in screens]
    assert Counter(kinds) == {"rate": 6, "trap": 2, "gold": 2, "repeat": 2}
    for screen in screens:
        assert screen["kind"] == "rate" and screen["title"] == TEMPLATES[template].title
    shapes = {
        kind: {json.dumps(shape(s), sort_keys=True) for s, k in zip(screens, kinds, strict=True) if k == kind}
        for kind in set(kinds)
    }
    for kind in ("trap", "gold", "repeat"):
        assert shapes[kind] <= shapes["rate"], kind


def test_a_trap_tells_as_little_when_it_was_answered_as_any_other_item(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=6, block_size=6, training_right=0)
    rater, screen = at_task(studio, clock)
    answers = {}
    while screen["screen"] == "rate":
        told = rater.submit(rater.filled(screen))
        answers.setdefault(rater.given(screen)["kind"], set()).add(json.dumps(told | {"id": "", "at": 0}))
        screen = rater.until("rate", "survey")
    assert len({frozenset(found) for found in answers.values()}) == 1 and len(answers) == 4


def test_the_bar_runs_on_evenly_over_traps_and_repeats(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=10, block_size=5, training_right=0)
    rater = Rater(studio, "s1", clock)
    screens = rater.walk()
    assert [screen["progress"]["done"] for screen in screens] == list(range(16))
    assert {screen["progress"]["wanted"] for screen in screens} == {16}


def test_a_guess_is_shown_to_some_and_hidden_from_others(studio: Studio, clock: Clock) -> None:
    made = [marked(studio, "emotion-recognition", number) for number in range(24)]
    raters.study(studio, items=made, block_size=24, guess_hidden_share=0.3, **PLAIN)
    screens = known(studio, clock).walk()
    assert 0.5 < sum(bool(screen["guess"]) for screen in screens) / len(screens) < 0.9
    for screen in screens:
        assert ("guess_right" in [scale["name"] for scale in screen["scales"]]) == bool(screen["guess"])


def test_later_raters_learn_nothing_of_earlier_answers(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    first = Rater(studio, "s1", clock, values=lambda screen: raters.first_values(screen) | {"note": MARK})
    second = Rater(studio, "s1", clock)
    first.walk(), second.walk()
    assert MARK not in json.dumps(second.screens)


# --- order ------------------------------------------------------------------------------------------------------


def test_items_that_divide_the_raters_come_first_where_that_is_wanted(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=6, order="disagreement", ratings_per_item=9, **PLAIN)
    for emotion in ("sad", "happy"):
        rater, screen = at_task(studio, clock)
        while screen["screen"] == "rate":
            divided = rater.looked_up(screen)["id"] in ("s1-i0002", "s1-i0004")
            rater.submit(
                rater.filled(screen, values=raters.first_values(screen) | {"primary": emotion if divided else "calm"})
            )
            screen = rater.next()
    third = Rater(studio, "s1", clock)
    assert {third.looked_up(screen)["id"] for screen in third.walk()[:2]} == {"s1-i0002", "s1-i0004"}


# --- rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"titel": "x"}, "Did you mean 'title'"),
        ({"title": ""}, "needs a title"),
        ({"template": "mos"}, "one of emotion-recognition"),
        ({"ratings_per_item": 0}, "from 1 to 1000"),
        ({"ratings_per_item": 2.5}, "from 1 to 1000"),
        ({"block_size": True}, "a number"),
        ({"guess_hidden_share": 1.5}, "from 0 to 1"),
        ({"guess_hidden_share": float("nan")}, "from 0 to 1"),
        ({"cohorts": "north"}, "a list"),
        ({"access": "secret"}, "one of open, invited"),
        ({"split": "train"}, "one of evaluation, training"),
        ({"title": "x" * 121}, "120"),
        ({"consent": [1]}, "a list of texts"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_what_is_allowed(settings: dict, told: str) -> None:
    with pytest.raises(EmotionOmniError, match=told):
        Study.read({"title": "t", "template": "empathy"} | settings)


def test_rules_read_back_as_they_were() -> None:
    rules = Study.read({"title": "t", "template": "compare", "cohorts": ["north"], "block_minutes": 12.5})
    assert Study.read(json.loads(json.dumps(rules.settings()))) == rules


@pytest.mark.parametrize("name", list(SCALES))
def test_every_value_of_a_scale_is_taken_and_stored_as_it_is(name: str) -> None:
    scale = SCALES[name]
    for value in scale.values:
        given = [value] if scale.kind == "several" else value
        assert scale.check(given) == given
    json.dumps(scale.form())


def with_guesses(studio, template: str) -> list[dict]:
    items = [raters.item(studio, template, number) for number in range(10)]
    for row in items:
        row["content"]["guess"] = {"label": "sad", "probability": 0.8}
    return items


def test_a_trap_comes_with_a_guess_where_the_items_do(studio, clock):
    """Else its absence would tell a trap before it is heard."""
    raters.study(
        studio,
        items=with_guesses(studio, "emotion-recognition"),
        guess_hidden_share=0.0,
        block_size=5,
        training_right=0,
    )
    shown = Rater(studio, "s1", clock).walk()
    assert len(shown) > 10 and all(screen["guess"] for screen in shown)
    assert all({"guess_right"} <= {scale["name"] for scale in screen["scales"]} for screen in shown)


def test_a_guess_is_shown_only_where_it_is_asked_about(studio, clock):
    raters.study(studio, "empathy", items=with_guesses(studio, "empathy"), guess_hidden_share=0.0, training_right=0)
    assert not any(screen["guess"] for screen in Rater(studio, "s1", clock).walk())
