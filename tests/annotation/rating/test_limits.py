"""Limits: whose requests count together, what is refused, and that their memory is bounded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import raters
from raters import Clock
from starlette.testclient import TestClient

from annotation.people import passwords
from annotation.people.logins import COOKIE
from annotation.rating import limits
from annotation.rating.limits import LIMITS, BoundedMemory, Limits, TooMany, Visitor
from annotation.rating.routes import GETS, POSTS, routes
from annotation.studio import Studio

pytest_plugins = ("databases",)
HEADERS = {"X-Studio": "1"}
HERE, THERE = Visitor("here"), Visitor("there")


@pytest.fixture
def studio(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr(passwords, "_SCRYPT", {"n": 2, "r": 1, "p": 1})
    with raters.opened(home, clock=Clock()) as one:
        yield one


def at(studio: Studio, address: str = "203.0.113.5", rater: str = "", **headers: str) -> TestClient:
    client = TestClient(routes(studio), headers=HEADERS | headers, client=(address, 50_000))
    if rater:
        client.cookies.set(COOKIE, studio.people.logins.issue(rater))
    return client


def spend(limits: Limits, name: str, visitor: Visitor) -> int:
    """How many requests pass until one is refused."""
    for number in range(10_000):
        try:
            limits.check(name, visitor)
        except TooMany:
            return number
    raise AssertionError(f"{name} is not limited")


# --- whose requests count together ------------------------------------------------------------------------------


def test_each_rater_behind_one_address_has_their_own_limit() -> None:
    one = Limits()
    assert spend(one, "/next", Visitor("here", "ann")) == 240
    assert spend(one, "/next", Visitor("here", "bob")) == 240
    assert spend(one, "/next", Visitor("there", "ann")) == 0
    assert spend(one, "/next", HERE) == 240  # who is not signed in counts for the address


def test_entering_counts_for_the_address_whoever_is_signed_in() -> None:
    one = Limits()
    one.check("guest", Visitor("here", "ann"))
    assert spend(one, "guest", HERE) == 59 and spend(one, "guest", Visitor("here", "bob")) == 0
    one.check("guest", THERE)


def test_a_refusal_says_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one, now = Limits(), time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    spend(one, "/practice", HERE)
    with pytest.raises(TooMany) as caught:
        one.check("/practice", HERE)
    assert 55 <= caught.value.seconds <= 61
    monkeypatch.setattr(time, "time", lambda: now + caught.value.seconds + 1)
    one.check("/practice", HERE)


def test_every_route_is_limited_and_every_limit_has_a_route() -> None:
    known = {f"/{path.split('/')[1]}" for path in (*POSTS, *GETS)}
    assert {name for name in LIMITS if name.startswith("/")} <= known
    assert spend(Limits(), "/a-route-without-a-line", HERE) > 0


def test_an_address_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Limits()
    assert one.hidden("203.0.113.5") == one.hidden("203.0.113.5") != Limits().hidden("203.0.113.5")
    assert "203" not in one.hidden("203.0.113.5")


# --- over HTTP --------------------------------------------------------------------------------------------------


def test_guests_of_one_address_are_refused_after_a_class(studio: Studio) -> None:
    def enter(client: TestClient) -> Any:
        return client.post("/enter", json={"guest": True, "name": "Bot"})

    statuses = [enter(at(studio, rater="")).status_code for _ in range(60)]
    assert statuses == [200] * 60
    answer = enter(at(studio, **{"X-Forwarded-For": "198.51.100.1"}))
    assert answer.status_code == 429 and answer.json()["error"]["code"] == "too-many"
    assert 1 <= int(answer.headers["retry-after"]) <= 600
    assert enter(at(studio, "203.0.113.6")).status_code == 200


def test_another_cookie_with_every_request_changes_nothing(studio: Studio) -> None:
    client = at(studio)
    statuses = []
    for number in range(40):
        client.cookies.set(COOKIE, f"made.up.{number}")
        statuses.append(client.post("/practice", json={"tab": "emotion"}).status_code)
    assert statuses == [401] * 30 + [429] * 10


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_all_methods_count(studio: Studio, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "/example", limits.Limit("3/minute"))  # type: ignore[misc]
    statuses = [at(studio).request(method, "/example/none").status_code for _ in range(5)]
    assert statuses == [404] * 3 + [429] * 2


@pytest.mark.parametrize(
    ("proxies", "forwarded", "same"),
    [
        ("", ("1.1.1.1", "2.2.2.2"), True),  # nobody is trusted
        ("1", ("1.1.1.1", "2.2.2.2"), False),
        ("1", ("9.9.9.1, 7.7.7.7", "9.9.9.2, 7.7.7.7"), True),  # what a visitor puts in front of the proxy's own entry
        ("2", ("1.1.1.1, 7.7.7.7", "2.2.2.2, 7.7.7.7"), False),
        ("1", ("2001:db8::1", "2001:db8::ffff:1"), True),  # one network of IPv6
        ("1", ("2001:db8:0:1::1", "2001:db8:0:2::1"), False),
        ("1", ("::ffff:1.2.3.4", "1.2.3.4"), True),
    ],
)
def test_the_address_is_the_one_that_the_trusted_proxies_saw(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, proxies: str, forwarded: tuple[str, str], same: bool
) -> None:
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", proxies)
    monkeypatch.setitem(LIMITS, "/practice", limits.Limit("1/minute"))  # type: ignore[misc]
    statuses = [at(studio, **{"X-Forwarded-For": chain}).post("/practice", json={}).status_code for chain in forwarded]
    assert statuses == [401, 429 if same else 401]


def test_withdrawing_from_a_study_never_begun_does_not_search_the_log(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    rater = raters.new_rater(studio)
    raters.study(studio)
    monkeypatch.setattr(Studio, "withdraw", lambda *_, **__: pytest.fail("the log was searched"))
    for study in ("nowhere", "s1"):
        assert at(studio, rater=rater).post("/withdraw", json={"study": study}).json() == {"erased": 0}


# --- passwords --------------------------------------------------------------------------------------------------


def attempt(studio: Studio, address: str, password: str = "wrong horse", name: str = "Ann") -> int:
    return at(studio, address).post("/enter", json={"name": name, "password": password}).status_code


def test_an_account_is_locked_for_an_address_after_too_many_wrong_passwords(studio: Studio) -> None:
    studio.people.accounts.register("Ann", "correct horse")
    studio.people.accounts.register("Bob", "correct horse")
    assert [attempt(studio, "203.0.113.5") for _ in range(9)] == [401] * 8 + [429]
    assert attempt(studio, "203.0.113.5", "correct horse", name=" ANN") == 429
    assert attempt(studio, "203.0.113.5", "correct horse", name="Bob") == 200
    assert attempt(studio, "203.0.113.6", "correct horse") == 200  # the owner, elsewhere


def test_a_right_password_resets_the_count_of_wrong_ones(studio: Studio) -> None:
    studio.people.accounts.register("Ann", "correct horse")
    for _ in range(3):
        assert [attempt(studio, "203.0.113.5") for _ in range(7)] == [401] * 7
        assert attempt(studio, "203.0.113.5", "correct horse") == 200


def test_many_addresses_are_slowed_down_together_but_not_the_owners_own(studio: Studio) -> None:
    studio.people.accounts.register("Ann", "correct horse")
    assert attempt(studio, "192.0.2.1", "correct horse") == 200
    statuses = [attempt(studio, f"203.0.113.{number}") for number in range(80)]
    assert 429 in statuses and attempt(studio, "192.0.2.1", "correct horse") == 200


def test_at_most_two_passwords_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def slow(*_: Any, **__: Any) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return b"x" * 64

    monkeypatch.setattr("hashlib.scrypt", slow)
    threads = [threading.Thread(target=passwords.hash_password, args=("x" * 12,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_passwords_wait_in_line_and_a_line_too_long_is_refused() -> None:
    async def trial() -> tuple[int, int]:
        one, inside, most = Limits(), 0, 0

        async def sign_in() -> str:
            nonlocal inside, most
            try:
                async with one.password_turn():
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0.001)
                    inside -= 1
                    return "in"
            except TooMany:
                return "refused"

        told = await asyncio.gather(*(sign_in() for _ in range(limits.PASSWORDS_WAITING + 5)))
        return most, told.count("refused")

    assert asyncio.run(trial()) == (limits.PASSWORDS_AT_ONCE, 5)


# --- memory -----------------------------------------------------------------------------------------------------


def test_the_memory_is_bounded_and_forgets_the_key_used_longest_ago() -> None:
    memory = BoundedMemory(100)
    assert memory.acquire_entry("first", 3, 60)
    for number in range(1_000):
        memory.acquire_entry("used", 10_000, 60) if number % 2 else memory.acquire_entry(f"key {number}", 3, 60, 2)
        assert memory.entries <= 100 or len(memory._times) == 1
    assert memory.get("first") == 0 and memory.get("used") > 0
    memory.clear("used")
    memory.reset()
    assert memory.entries == 0


def test_a_window_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    now, memory = time.time(), BoundedMemory()
    for second, passes in ((0, True), (30, True), (59, False), (61, True), (62, False), (91, True)):
        monkeypatch.setattr(time, "time", lambda second=second: now + second)
        assert memory.acquire_entry("key", 2, 60) is passes, second


def test_an_account_that_is_remembered_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KNOWN", 5)
    one = Limits()
    for number in range(20):
        one.password_was_right(f"account {number}", HERE)
    assert len(one._known) == 5
