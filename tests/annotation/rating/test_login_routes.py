"""Signing in and out over HTTP, withdrawing by a code, completion codes."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import raters
from raters import Clock, Rater
from starlette.testclient import TestClient

from annotation.people.logins import COOKIE
from annotation.rating.routes import routes
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.practice import practice_study
from annotation.study.rules import Study
from emotion_omni.types import EmotionOmniError

HEADERS = {"X-Studio": "1"}
pytest_plugins = ("databases",)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def studio(home: Path, clock: Clock) -> Iterator[Studio]:
    with raters.opened(home, clock=clock) as one:
        yield one


def browser(studio: Studio, rater: str | None = None) -> TestClient:
    client = TestClient(routes(studio), "http://testserver", headers=HEADERS)
    if rater:
        client.cookies.set(COOKIE, studio.people.logins.issue(rater))
    return client


def me(client: TestClient) -> dict:
    return client.get("/me").json()["rater"]


# --- one login for another --------------------------------------------------------------------------------------


def test_a_login_is_replaced_only_on_purpose(studio: Studio) -> None:
    ada = raters.new_rater(studio, "Ada", role="researcher")
    client, token = browser(studio, ada), studio.people.invites.create(name="Eve")
    before = client.cookies[COOKIE]
    for body in (
        {"invite": token},
        {"guest": True, "name": "Eve"},
        {"name": "x", "password": "y"},
        {"invite": token, "replace": 1},
    ):
        answer = client.post("/enter", json=body)
        assert answer.status_code == 409 and answer.json()["error"]["code"] == "signed-in"
    assert me(client)["name"] == "Ada"
    assert client.post("/enter", json={"invite": token, "replace": True}).status_code == 200
    assert me(client)["name"] == "Eve"
    assert me(TestClient(routes(studio), cookies={COOKIE: before})) is None, "the login that was replaced has ended"


def test_asking_does_not_use_a_link_up(studio: Studio) -> None:
    client, token = browser(studio, raters.new_rater(studio, "Ada")), studio.people.invites.create("researcher")
    for _ in range(3):
        assert client.post("/enter", json={"invite": token}).status_code == 409
    assert client.post("/enter", json={"invite": token, "replace": True}).status_code == 200


def test_ones_own_link_again_asks_nothing_and_costs_nothing(studio: Studio) -> None:
    raters.study(studio, items=1, access="invited")
    client, token = browser(studio), studio.people.invites.create(study="s1")
    for _ in range(9):
        assert client.post("/enter", json={"invite": token}).json()["study"] == "s1"
    assert studio.people.invites.read(token)["used"] == 1


def test_a_link_that_is_not_valid_says_so_before_it_asks(studio: Studio) -> None:
    client = browser(studio, raters.new_rater(studio, "Ada"))
    assert client.post("/enter", json={"invite": "a.b.c"}).status_code == 401


def test_a_login_is_new_whatever_cookie_came_with_the_request(studio: Studio) -> None:
    victim = browser(studio)
    victim.cookies.set(COOKIE, planted := studio.people.logins.issue(raters.new_rater(studio, "Mallory")))
    victim.post("/enter", json={"guest": True, "name": "Ada", "replace": True})
    assert me(browser_with(studio, planted)) is None
    assert me(victim)["name"] == "Ada"


def browser_with(studio: Studio, cookie: str) -> TestClient:
    return TestClient(routes(studio), headers=HEADERS, cookies={COOKIE: cookie})


def test_known_logins_are_not_looked_up_on_the_event_loop(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    client, threads = browser(studio, raters.new_rater(studio, "Ada")), set()
    read = studio.store.read

    def noted():
        threads.add(threading.current_thread().name)
        return read()

    monkeypatch.setattr(type(studio.store), "read", lambda self: noted())
    for _ in range(2):
        client.post("/next", json={"study": "nothing"})
        client.post("/heard", json={"assignment": "x"})
        studio.people.logins.forget("whoever")
    assert not any("asyncio-portal" in name for name in threads) and threads, threads


# --- codes ------------------------------------------------------------------------------------------------------


def test_a_rater_withdraws_with_the_code_from_any_browser(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, training_right=0)
    client = browser(studio, ada := raters.new_rater(studio, "Ada"))
    Rater(studio, "s1", clock, ada, client=client).walk()
    code = me(client)["withdrawal_code"]
    answer = browser(studio).post("/take-back", json={"code": code.upper()})
    assert answer.status_code == 200 and answer.json()["erased"] > 3
    assert me(client) is None
    with studio.store.read() as view:
        assert view.ratings("s1") == [] and view.raters() == []
    assert browser(studio).post("/take-back", json={"code": code}).status_code == 404


def test_the_withdrawal_code_is_told_to_its_rater_alone(studio: Studio) -> None:
    raters.study(studio, items=1)
    ada, bob = raters.new_rater(studio, "Ada"), raters.new_rater(studio, "Bob", role="researcher")
    code = me(browser(studio, ada))["withdrawal_code"]
    assert me(browser(studio, bob))["withdrawal_code"] != code
    assert code not in browser(studio, bob).get("/codes/s1").text


def test_a_researcher_looks_completion_codes_up(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, training_right=0)
    ada, bob = raters.new_rater(studio, "Ada"), raters.new_rater(studio, "Bob")
    client = browser(studio, ada)
    Rater(studio, "s1", clock, ada, client=client).walk()
    code = client.post("/next", json={"study": "s1"}).json()["code"]
    browser(studio, bob).post("/next", json={"study": "s1"})
    researcher = browser(studio, raters.new_rater(studio, "Rita", role="researcher"))
    expected = {"rater": studio.results("s1").pseudonym(ada), "code": code, "ratings": 1}
    assert researcher.get("/codes/s1").json() == {"study": "s1", "codes": [expected]}
    table = list(csv.DictReader(io.StringIO(researcher.get("/codes/s1?format=csv").text)))
    assert table == [{name: str(value) for name, value in expected.items()}]
    assert researcher.get("/codes/nothing").status_code == 404
    assert (
        browser(studio, ada).get("/codes/s1").status_code == 403 and browser(studio).get("/codes/s1").status_code == 401
    )


# --- a Space without a key --------------------------------------------------------------------------------------


def test_a_space_without_a_key_opens_no_study(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    study, rules = raters.study(studio, items=1), Study.read({"title": "T", "template": "emotion-recognition"})
    client = browser(studio, raters.new_rater(studio, "Ada"))
    monkeypatch.setenv("SPACE_ID", "me/space")
    monkeypatch.delenv("STUDIO_SECRET", raising=False)
    answer = client.post("/next", json={"study": study})
    assert answer.status_code == 422 and "STUDIO_SECRET" in answer.json()["error"]["message"]
    for refused in (
        lambda: lifecycle.create(studio.store, studio.clips, rules, []),
        lambda: lifecycle.set_state(studio.store, study, "open"),
    ):
        with pytest.raises(EmotionOmniError, match="STUDIO_SECRET") as caught:
            refused()
        assert caught.value.code == "bad-setting"
    lifecycle.set_state(studio.store, study, "closed")
    practice = practice_study(studio.store, studio.clips, "emotion")
    assert client.post("/next", json={"study": practice}).json()["screen"] == "consent"
    monkeypatch.setenv("STUDIO_SECRET", "a key of the Space")
    lifecycle.set_state(studio.store, study, "open")


def test_who_is_erased_by_a_command_is_refused_within_seconds(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser(studio, ada := raters.new_rater(studio, "Ada"))
    assert me(client)
    studio.store.withdraw_rater(ada)  # not through this studio, as another process would do it
    assert me(client) is None
    now = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert client.post("/next", json={"study": "s1"}).status_code == 401
