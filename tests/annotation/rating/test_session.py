"""What comes next, phase by phase."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import raters
from raters import Clock, Rater
from sessions import PLAIN, at_task, ratings, refused

from annotation.studio import Studio

pytest_plugins = ("databases",)


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
    assert rater.next()["seconds"] == 30
    refused("too-early", rater.confirm, "break")
    clock.on(20)
    assert (rater.next()["screen"], rater.next()["seconds"]) == ("break", 10)
    refused("too-early", rater.confirm, "break")
    clock.on(10)
    assert rater.next()["seconds"] == 0
    rater.confirm("break")
    assert rater.next()["progress"]["block"] == 2


def test_a_study_may_do_without_a_least_break(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, block_size=2, break_seconds=0, **PLAIN)
    rater, _ = at_task(studio, clock)
    rater.step(), rater.step()
    assert rater.next()["screen"] == "break"
    rater.confirm("break")
    assert rater.next()["screen"] == "rate"


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
