"""Leases: k raters per item, and what becomes of an item that was left."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import raters
from raters import Clock, Rater
from sessions import PLAIN, at_task, items, lapsed, ratings, refused

from annotation.rating.leases import expire_assignment
from annotation.studio import Studio

pytest_plugins = ("databases",)


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
    assert other.until("rate", "wait")["screen"] == "wait"  # nothing free yet
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
    assert Rater(studio, "s1", clock).until("rate", "wait")["screen"] == "wait"
    rater.submit(rater.filled(screen))


def test_asking_for_the_screen_again_renews_the_lease(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, ratings_per_item=1, lease_minutes=15, **PLAIN)
    rater, screen = at_task(studio, clock)
    clock.on(10 * 60)
    assert rater.next()["assignment"] == screen["assignment"]
    clock.on(10 * 60)
    assert Rater(studio, "s1", clock).until("rate", "wait")["screen"] == "wait"


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
