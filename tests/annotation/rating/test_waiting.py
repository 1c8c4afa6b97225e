"""Raters for whom nothing is free: who waits, who is first, who gets a code; the share of guests."""

from __future__ import annotations

from typing import Any

import pytest
import raters
from raters import Clock, Rater
from sessions import PLAIN, at_task, refused

from annotation.rating import guest_share, waiting_line
from annotation.rating.enrolment import Enrolment
from annotation.rating.guest_share import GuestShare
from annotation.rating.waiting_line import GONE_SECONDS, WaitingLine
from annotation.studio import Studio
from annotation.study import lifecycle

pytest_plugins = ("databases",)


def renew(studio: Studio, rater: Rater, assignment: str) -> None:
    studio.store.write(lambda transaction: studio.sessions.renew(transaction, rater.id, assignment))


def task(studio: Studio, clock: Clock, **more: str) -> Rater:
    """A rater before the first item of the task."""
    rater = Rater(studio, "s1", clock, raters.new_rater(studio, **more))
    rater.until("instructions")
    rater.confirm("instructions")
    return rater


def look(studio: Studio, rater: Rater, address: str = "") -> str:
    return studio.store.write(lambda change: studio.sessions.next(change, "s1", rater.id, address))["screen"]


# --- leases -----------------------------------------------------------------------------------------------------


def test_a_lease_ends_after_three_times_its_minutes_however_often_it_is_renewed(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, lease_minutes=10, **PLAIN)
    hoarder, screen = at_task(studio, clock)
    other = task(studio, clock)
    for _ in range(5):
        clock.on(5 * 60)
        renew(studio, hoarder, screen["assignment"])
        assert hoarder.next()["assignment"] == screen["assignment"]
        assert look(studio, other) == "wait"
    clock.on(4 * 60)
    assert look(studio, other) == "wait"
    clock.on(30)
    renew(studio, hoarder, screen["assignment"])
    assert look(studio, other) == "wait"
    clock.on(35)
    assert hoarder.next()["screen"] == "wait"  # the one who waits comes first
    assert look(studio, other) == "rate"
    refused("lease-lost", hoarder.submit, hoarder.filled(screen))


def test_an_item_let_lie_comes_back_where_nobody_waits(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, lease_minutes=10, **PLAIN)
    rater, screen = at_task(studio, clock)
    clock.on(31 * 60)
    again = rater.next()
    assert again["screen"] == "rate" and again["assignment"] != screen["assignment"]


def test_who_waits_first_comes_first_and_nobody_waits_for_those_who_have_gone(clock: Clock) -> None:
    line = WaitingLine(clock)
    for rater in ("ann", "bob", "ann"):
        line.join("s1", rater)
    assert not line.is_behind("s1", "ann") and line.is_behind("s1", "bob") and line.is_behind("s1", "new")
    assert not line.is_behind("s2", "bob")
    clock.on(GONE_SECONDS / 2)
    line.join("s1", "bob")
    clock.on(GONE_SECONDS / 2)
    assert not line.is_behind("s1", "bob")  # ann has closed the page
    line.leave("s1", "bob")
    assert not line.is_behind("s1", "new")


def test_the_line_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_line, "MOST_WAITING", 3)
    line = WaitingLine(clock)
    for number in range(10):
        line.join("s1", f"rater {number}")
    assert len(line._looked["s1"]) == 3
    clock.on(GONE_SECONDS)
    assert not line.is_behind("s1", "new") and not line._looked


# --- waiting and codes ------------------------------------------------------------------------------------------


def test_who_has_rated_less_than_the_least_waits_and_goes_on(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2, ratings_per_item=1, **PLAIN)
    (first, screen), (second, other) = at_task(studio, clock), at_task(studio, clock)
    late = task(studio, clock)
    assert late.next()["screen"] == "wait" and "code" not in late.next()
    skip(studio, first, screen)
    assert late.next()["screen"] == "rate"
    second.submit(second.filled(other))
    assert second.next()["screen"] == "survey"  # has the least already


def skip(studio: Studio, rater: Rater, screen: dict) -> None:
    body = {"assignment": screen["assignment"], "reason": "other"}
    studio.store.write(lambda transaction: studio.sessions.skip(transaction, rater.id, body))


def test_who_comes_when_all_is_rated_is_thanked_without_a_code(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, **PLAIN)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    assert rater.next()["code"]
    late = task(studio, clock)
    screen = late.next()
    assert (screen["screen"], screen["code"], screen["receipts"]) == ("done", None, 0)
    assert "saved" not in str(screen["text"])


@pytest.mark.parametrize(("least", "most", "coded"), [(1, 0, True), (3, 0, False), (3, 2, True), (50, 0, False)])
def test_a_code_needs_the_least_number_of_ratings(
    studio: Studio, clock: Clock, least: int, most: int, coded: bool
) -> None:
    raters.study(studio, items=4, least_per_rater=least, most_per_rater=most, **PLAIN)
    rater, screen = at_task(studio, clock)
    rater.submit(rater.filled(screen))
    screen = rater.next()
    rater.submit(rater.filled(screen))
    for _ in range(2):
        if (screen := rater.next())["screen"] == "rate":
            skip(studio, rater, screen)
    rater.until("survey")
    rater.confirm("survey", raters.phase_answers(rater.screens[-1]))
    assert bool(rater.next()["code"]) is coded


def test_the_least_is_not_more_than_there_is(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2, least_per_rater=50, **PLAIN)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    assert rater.next()["code"]


def test_a_study_that_closes_tells_those_who_wait(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, **PLAIN)
    at_task(studio, clock)
    late = task(studio, clock)
    waiting = late.next()
    lifecycle.set_state(studio.store, "s1", "closed")
    closed = late.next()
    assert waiting["screen"] == closed["screen"] == "wait" and waiting["text"] != closed["text"]


# --- guests of one address --------------------------------------------------------------------------------------


def test_guests_of_one_address_hold_at_most_half_of_the_free_places(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=4, ratings_per_item=2, **PLAIN)
    guests = [task(studio, clock) for _ in range(6)]
    seen = [look(studio, guest, "bots") for guest in guests]
    assert seen == ["rate"] * 4 + ["wait"] * 2
    assert look(studio, guests[0], "bots") == "rate"  # the same item
    assert look(studio, task(studio, clock), "elsewhere") == "rate"
    assert look(studio, task(studio, clock, account="link:1"), "bots") == "rate"  # invited
    done = guests[0].next()
    guests[0].submit(guests[0].filled(done))
    clock.on(6)  # the study is counted again
    assert look(studio, guests[5], "bots") == "wait"  # half of seven places: three are held
    skip(studio, guests[1], guests[1].next())
    assert look(studio, guests[5], "bots") == "rate"


def test_one_guest_of_an_address_can_always_rate(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, **PLAIN)
    assert look(studio, task(studio, clock), "home") == "rate"


def test_a_place_that_is_given_back_is_free_for_the_next_guest(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2, ratings_per_item=1, lease_minutes=10, **PLAIN)
    first, second = task(studio, clock), task(studio, clock)
    assert (look(studio, first, "class"), look(studio, second, "class")) == ("rate", "wait")
    skip(studio, first, first.next())
    assert look(studio, second, "class") == "rate"


def test_the_memory_of_addresses_is_bounded(studio: Studio, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_share, "MOST_GROUPS", 5)
    raters.study(studio, items=1)
    share, rater = GuestShare(), raters.new_rater(studio)

    def add(transaction: Any) -> None:
        for number in range(20):
            share.add(Enrolment.open(transaction, "s1", rater, f"address {number}"), "none")

    studio.store.write(add)
    assert len(share._held) == 5
