"""The rating routes as a browser uses them, and as an attacker does."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import raters
from httpx import Response
from raters import Clock, Rater
from starlette.testclient import TestClient

from annotation.people import passwords
from annotation.people.logins import COOKIE
from annotation.rating.request_guard import LARGEST_BODY
from annotation.rating.routes import routes
from annotation.studio import Studio
from annotation.study.practice import practice_study
from annotation.study.templates import TEMPLATES
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)
HEADERS = {"X-Studio": "1"}
POSTS = ("enter", "leave", "next", "heard", "submit", "skip", "phase", "practice", "withdraw", "take-back")
NEEDS_SESSION = ("next", "heard", "submit", "skip", "phase", "practice", "withdraw")
MARK = "Zaphod"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords hashed lightly: their cost is not what is tested here."""
    monkeypatch.setattr(passwords, "_SCRYPT", {"n": 2, "r": 1, "p": 1})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def studio(home: Path, clock: Clock) -> Iterator[Studio]:
    with raters.opened(home, clock=clock) as one:
        yield one


@pytest.fixture
def either(home: Path, store_url: str, clock: Clock) -> Iterator[Studio]:
    """A studio on each database in turn, for what a database might take amiss."""
    with raters.opened(home, store_url, clock) as one:
        yield one


def browser(studio: Studio, rater: str | None = None, base: str = "http://testserver") -> TestClient:
    """A client of its own, signed in as ``rater`` if one is given."""
    client = TestClient(routes(studio), base, headers=HEADERS)
    if rater:
        client.cookies.set(COOKIE, studio.people.logins.issue(rater))
    return client


def guest(studio: Studio, clock: Clock, study: str = "s1") -> Rater:
    client = browser(studio)
    assert client.post("/enter", json={"guest": True, "name": "Ann"}).status_code == 200
    rater = Rater(studio, study, clock, client=client)
    rater.id = client.get("/me").json()["rater"]["id"]
    return rater


def refused(response: Response, status: int, code: str) -> str:
    """The error that a route answered with, in the one form that all have."""
    assert response.status_code == status, response.text
    told = response.json()
    assert set(told) == {"error"} and set(told["error"]) == {"code", "message"}
    assert told["error"]["code"] == code
    assert (
        told["error"]["message"].endswith((".", "!", "?"))
        and "Traceback" not in response.text
        and "annotation/" not in response.text
    )
    return told["error"]["message"]


# --- the way through --------------------------------------------------------------------------------------------


def test_a_guest_walks_the_whole_way(either: Studio, clock: Clock) -> None:
    raters.study(either, items=4, block_size=2)
    rater = guest(either, clock)
    rater.walk()
    assert rater.next()["screen"] == "done"
    with either.store.read() as view:
        assert view.count_ratings("s1", rater.id) == 4
    card = rater.client.get("/me?tab=emotion").json()["studies"][0]
    assert (card["id"], card["done"], card["wanted"], card["resume"]) == ("s1", 4, 4, False)
    assert rater.client.get("/me?tab=compare").json()["studies"] == []


@pytest.mark.parametrize("tab", ["emotion", "empathy", "compare"])
def test_the_practice_of_a_tab_can_be_walked(home: Path, clock: Clock, tab: str) -> None:
    with raters.opened(home, clock=clock) as studio:
        rater = guest(studio, clock)
        rater.study = rater.post("practice", tab=tab)["study"]
        assert rater.post("practice", tab=tab)["study"] == rater.study
        screens = rater.walk()
        assert len(screens) >= 3
        assert rater.client.get(f"/{screens[0]['clips'][0]['url']}").content[:4] == b"fLaC"


def test_all_who_want_the_first_practice_at_once_get_it(home: Path, clock: Clock) -> None:
    with raters.opened(home, clock=clock) as studio, ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: practice_study(studio.store, studio.clips, "compare"), range(4)))
    assert set(made) == {"practice-compare"}


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_no_answer_of_the_server_gives_away_what_a_rater_must_not_know(
    studio: Studio, clock: Clock, template: str
) -> None:
    made = []
    for number in range(5):
        one = raters.item(studio, template, number, family=f"{MARK}-family", contributor=f"{MARK}-code")
        one["family"] += str(number)
        secrets = {
            "systems": {"reply": f"{MARK}-engine"},
            "about": {"engine": f"{MARK}-engine"},
            "source": {
                "file": {"speech": f"{MARK}-sad.wav", "reply": f"{MARK}-cold.wav"},
                "sha256": {"speech": f"{MARK}-hash"},
                "row": {f"{MARK}-column": f"{MARK}-value"},
                "place": f"{MARK}-items.csv, row 2",
            },
            "guess": {"label": f"{MARK}-guess"},
        }
        made.append(one | {"id": f"{MARK}-item-{number}", "content": one["content"] | secrets})
    raters.study(studio, template, made, block_size=5, guess_hidden_share=1.0, training_right=1)
    rater = guest(studio, clock)
    seen: list[str] = []
    rater.client.event_hooks = {
        "response": [lambda response: seen.append(repr(response.headers) + str(response.request.url))]
    }
    fetched = rater.walk()
    told = (json.dumps(rater.screens) + "".join(seen)).casefold()
    with studio.store.read() as view:
        stored = view.items("s1")
    assert len(fetched) >= 8 and MARK.casefold() not in told
    for row in stored:
        assert row["id"].casefold() not in told
        assert not any(clip["sha"] in told for clip in row["content"]["clips"].values())


def test_a_clip_leaves_under_a_name_that_tells_nothing(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2)
    rater = guest(studio, clock)
    screen = rater.to_task()
    response = rater.client.get(f"/{screen['clips'][0]['url']}")
    assert set(response.headers) == {"content-type", "content-length", "x-proof", "cache-control"}
    assert response.headers["cache-control"] == "no-store" and response.headers["content-type"] == "audio/flac"


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", POSTS)
def test_a_post_that_another_site_could_send_is_refused(studio: Studio, path: str) -> None:
    client = TestClient(routes(studio))
    refused(client.post(f"/{path}", json={}), 403, "forbidden")
    refused(client.post(f"/{path}", json={}, headers={"X-Studio": "0"}), 403, "forbidden")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        refused(client.post(f"/{path}", content=b"{}", headers=HEADERS | {"Content-Type": kind}), 403, "forbidden")


@pytest.mark.parametrize("path", NEEDS_SESSION)
def test_without_a_session_nothing_is_told(studio: Studio, path: str) -> None:
    refused(browser(studio).post(f"/{path}", json={}), 401, "sign-in")
    client = browser(studio)
    client.cookies.set(COOKIE, "forged.cookie.value")
    refused(client.post(f"/{path}", json={}), 401, "sign-in")


def test_a_body_that_is_too_large_is_refused(studio: Studio, clock: Clock) -> None:
    client = guest(studio, clock).client
    refused(client.post("/next", json={"study": "x" * 300_000}), 413, "too-large")
    refused(
        client.post("/next", content=(b" " * 60_000 for _ in range(LARGEST_BODY // 50_000)), headers=JSON),
        413,
        "too-large",
    )


JSON = {"Content-Type": "application/json"}
BODIES = [
    b"{",
    b"[",
    b'{"study": NaN}',
    b'{"a": Infinity}',
    b'"text"',
    b"[1]",
    b"null",
    b"5",
    b"\xff\xfe",
    b'{"study": "\\ud800"}',
    b'{"study": "\\u0000"}',
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    b"[" * 100_000,
]


def test_a_body_that_is_no_storable_object_is_refused(either: Studio, clock: Clock) -> None:
    client = guest(either, clock).client
    for body in BODIES:
        for path in ("next", "submit"):
            refused(client.post(f"/{path}", content=body, headers=JSON), 422, "bad-request")


def test_an_escaped_backslash_before_u0000_is_only_text(either: Studio, clock: Clock) -> None:
    raters.study(either, items=2, training_right=0)
    rater = guest(either, clock)
    screen = rater.to_task()
    text = "a path: C:\\u0000 and an emoji \U0001f600"
    rater.submit(rater.filled(screen, values=raters.first_values(screen) | {"note": text}))
    with either.store.read() as view:
        assert [row["answers"]["note"] for row in view.ratings("s1") if row["kind"] == "rate"] == [text]


STRANGE: list[Any] = [
    None,
    5,
    -1,
    10**30,
    1.5,
    True,
    "",
    "x" * 5000,
    "../../etc/passwd",
    "' OR 1=1 --",
    [],
    ["x"],
    {},
    {"a": 1},
]
TAKES = {
    "enter": ("guest", "name", "password", "invite"),
    "next": ("study",),
    "heard": ("assignment", "receipt", "proofs", "played"),
    "submit": ("assignment", "receipt", "submit_id", "values", "seconds", "clicks"),
    "skip": ("assignment", "reason"),
    "phase": ("study", "phase", "answers"),
    "practice": ("tab",),
    "take-back": ("code",),
}


def test_strange_values_get_an_error_or_an_answer_but_break_nothing(either: Studio, clock: Clock) -> None:
    raters.study(either, items=2, training_right=0)
    rater = guest(either, clock)
    screen = rater.to_task()
    good = {
        "study": "s1",
        "assignment": screen["assignment"],
        "receipt": rater.listen(screen),
        "submit_id": str(uuid.uuid4()),
    }
    for path, name, value in [
        (path, name, value) for path, names in TAKES.items() for name in names for value in STRANGE
    ]:
        client = browser(either) if path == "enter" else rater.client  # which may make it somebody else's
        response = client.post(f"/{path}", json=good | {name: value})
        assert response.status_code < 500, (path, name, value, response.text)
        if response.status_code >= 400:
            refused(response, response.status_code, response.json()["error"]["code"])
    either.store.write(
        lambda transaction: transaction.record("study.changed", study="s1", state="open")
    )  # the writer is alive


def test_a_route_that_there_is_not_says_so_and_no_more(studio: Studio, clock: Clock) -> None:
    client = guest(studio, clock).client
    for path in ("/nothing", "/", "/export", "/clip", "/me/x"):
        assert client.get(path).status_code == 404
    assert client.post("/nothing", json={}).status_code == 404
    assert client.get("/next").status_code == 405 and client.put("/me").status_code == 405


def test_the_clip_of_another_rater_is_refused(either: Studio, clock: Clock, home: Path, store_url: str) -> None:
    raters.study(either, items=2)
    rater, thief = guest(either, clock), guest(either, clock)
    url = f"/{rater.to_task()['clips'][0]['url']}"
    refused(thief.client.get(url), 403, "not-yours")
    refused(browser(either).get(url), 401, "sign-in")
    with raters.opened(home, store_url, clock) as restarted:  # it remembers nobody
        refused(browser(restarted, thief.id).get(url), 403, "not-yours")
        assert browser(restarted, rater.id).get(url).status_code == 200
        assert browser(restarted, rater.id).get(url[:-1] + "7").status_code in (403, 404)


PATHS = (
    "../../secret/0",
    "%2e%2e%2fsecret/0",
    "..%2f..%2fsecret",
    "x/0",
    "%00/0",
    f"{'0' * 32}/-1",
    f"{'0' * 32}/0/../../secret",
    f"{'0' * 31}%00/0",
    f"{'0' * 32}/0x0",
)


def test_a_clip_route_reaches_nothing_but_clips(either: Studio, clock: Clock) -> None:
    client = guest(either, clock).client
    for path in PATHS:
        response = client.get(f"/clip/{path}")
        assert response.status_code in (403, 404), path
        assert either.people.key not in response.content


def test_a_clip_of_an_item_that_there_is_not_is_refused(studio: Studio, clock: Clock) -> None:
    refused(guest(studio, clock).client.get(f"/clip/{uuid.uuid4().hex}/0"), 403, "not-yours")
    refused(guest(studio, clock).client.get(f"/clip/{uuid.uuid4().hex}/{10**30}"), 403, "not-yours")


def test_a_sound_that_is_missing_on_disk_is_told(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, training_right=0)
    rater = guest(studio, clock)
    screen = rater.to_task()
    for path in studio.clips.folder.rglob("*.flac"):
        path.unlink()
    assert "backup" in refused(rater.client.get(f"/{screen['clips'][0]['url']}"), 422, "clip-missing")


@pytest.mark.parametrize("path", ["/export/s1.zip", "/listen/s1-i0000/speech"])
def test_what_is_for_researchers_is_refused_to_raters(studio: Studio, clock: Clock, path: str) -> None:
    raters.study(studio, items=1)
    refused(browser(studio).get(path), 401, "sign-in")
    refused(guest(studio, clock).client.get(path), 403, "forbidden")


def test_a_researcher_hears_a_clip_to_adjudicate_it(studio: Studio) -> None:
    raters.study(studio, items=1)
    client = browser(studio, raters.new_rater(studio, "Res", role="researcher"))
    assert client.get("/listen/s1-i0000/speech").status_code == 200
    refused(client.get("/listen/s1-i0000/reply"), 404, "not-found")
    refused(client.get("/listen/none/speech"), 404, "not-found")


def test_a_rating_straight_from_a_script_is_refused_and_says_why(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=1, training_right=0)
    rater = guest(studio, clock)
    screen = rater.to_task()
    given = {name: screen[name] for name in ("assignment", "receipt")}
    body = given | {"submit_id": str(uuid.uuid4()), "values": raters.first_values(screen)}
    assert "Play it to the end" in refused(rater.client.post("/submit", json=body), 409, "unheard")
    proof = rater.fetch(screen["clips"][0])
    played = [{"clip": 0, "from": 0, "to": 2, "rate": 1, "muted": False, "visible": True}]
    told = rater.post(
        "heard", assignment=screen["assignment"], receipt=screen["receipt"], proofs={"0": proof}, played=played
    )
    assert told["heard"]["0"] < 0.5 < told["needed"]  # no time has passed
    refused(rater.client.post("/submit", json=body | {"receipt": told["receipt"]}), 409, "unheard")


def test_a_full_disk_is_told_with_its_own_status(studio: Studio, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    raters.study(studio, items=1)
    rater = guest(studio, clock)

    def full(*_: Any) -> None:
        raise EmotionOmniError("The event log cannot be written (No space left on device). Free some space.", "disk")

    monkeypatch.setattr(studio.store.log, "append", full)
    refused(rater.client.post("/next", json={"study": "s1"}), 507, "disk")


# --- coming and going -------------------------------------------------------------------------------------------


def test_a_cookie_is_out_of_reach_of_scripts_and_other_sites(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"guest": True, "name": "Ann"}
    told = browser(studio).post("/enter", json=body).headers["set-cookie"]
    assert "HttpOnly" in told and "SameSite=Lax" in told and "Secure" not in told and "Path=/" in told
    assert "Secure" in browser(studio, base="https://testserver").post("/enter", json=body).headers["set-cookie"]
    assert (
        "Secure"
        in browser(studio).post("/enter", json=body, headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    )
    monkeypatch.setenv("SPACE_ID", "me/studio")
    told = browser(studio).post("/enter", json=body).headers["set-cookie"]
    assert all(flag in told for flag in ("HttpOnly", "Secure", "SameSite=None", "Partitioned"))


def test_who_leaves_is_signed_out(studio: Studio, clock: Clock) -> None:
    client = guest(studio, clock).client
    assert "Max-Age=0" in client.post("/leave", json={}).headers["set-cookie"]
    assert client.get("/me").json()["rater"] is None


def test_a_link_and_a_password_lead_in(studio: Studio) -> None:
    raters.study(studio, items=1, access="invited")
    client = browser(studio)
    told = client.post("/enter", json={"invite": studio.people.invites.create(study="s1", name="Eve")}).json()
    assert told["study"] == "s1" and client.get("/me").json()["rater"]["name"] == "Eve"
    studio.people.accounts.register("Bob", "correct horse")
    assert browser(studio).post("/enter", json={"name": "bob", "password": "correct horse"}).status_code == 200
    refused(browser(studio).post("/enter", json={"name": "bob", "password": "wrong horse"}), 401, "sign-in")
    refused(browser(studio).post("/enter", json={"invite": "x.y.z"}), 401, "sign-in")


def test_too_many_wrong_passwords_get_their_own_status(studio: Studio) -> None:
    client = browser(studio)
    for _ in range(8):
        client.post("/enter", json={"name": "bob", "password": "wrong horse"})
    refused(client.post("/enter", json={"name": "bob", "password": "wrong horse"}), 429, "locked")


def test_who_withdraws_is_erased_and_signed_out(either: Studio, clock: Clock, home: Path) -> None:
    raters.study(either, items=2, training_right=0)
    rater = guest(either, clock)
    screen = rater.to_task()
    rater.submit(rater.filled(screen, values=raters.first_values(screen) | {"note": MARK}))
    other = browser(either, rater.id)
    response = rater.client.post("/withdraw", json={})
    assert response.json()["erased"] > 5 and "Max-Age=0" in response.headers["set-cookie"]
    assert not any(MARK.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert rater.client.get("/me").json()["rater"] is None
    refused(other.post("/next", json={"study": "s1"}), 401, "sign-in")


def test_who_was_signed_in_by_hugging_face_stays_erased_after_withdrawing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"):
        monkeypatch.setenv(name, "set")
    user = {"sub": "1", "preferred_username": MARK}
    session = {"oauth_info": {"expires_at": time.time() + 60, "access_token": "t", "userinfo": user}}
    app = routes(studio)

    async def with_session(scope: dict, receive: Any, send: Any) -> None:
        await app(scope | {"session": session}, receive, send)

    client = TestClient(with_session, headers=HEADERS)
    assert client.get("/me").json()["rater"]["name"] == MARK
    assert client.post("/withdraw", json={}).status_code == 200
    assert client.get("/me").json()["rater"] is None
    with studio.store.read() as view:
        assert view.raters() == []


def test_who_withdraws_from_one_study_stays_in_the_others(studio: Studio, clock: Clock) -> None:
    for name in ("s1", "s2"):
        raters.study(studio, items=1, name=name, training_right=0)
    rater = guest(studio, clock)
    rater.walk()
    rater.study = "s2"
    rater.walk()
    assert "set-cookie" not in rater.client.post("/withdraw", json={"study": "s1"}).headers
    with studio.store.read() as view:
        assert not view.ratings("s1") and view.ratings("s2")
    assert rater.client.get("/me").json()["rater"]["id"] == rater.id


def test_a_voice_is_taken_back_by_its_code(either: Studio, clock: Clock) -> None:
    made = [raters.item(either, "emotion-recognition", number) for number in range(3)]
    made[0]["contributor"] = "code-1"
    raters.study(either, items=made, training_right=0)
    theirs, others = (either.clips.path(one["content"]["clips"]["speech"]["sha"]) for one in made[:2])
    rater = guest(either, clock)
    rater.walk()
    refused(rater.client.post("/take-back", json={"code": "wrong"}), 404, "not-found")
    refused(rater.client.post("/take-back", json={}), 404, "not-found")
    rater.post("take-back", code="code-1")
    assert not theirs.exists() and others.exists()
    with either.store.read() as view:
        assert len(view.items("s1", "rate")) == 2
        assert {row["item"] for row in view.ratings("s1", rater=rater.id) if row["kind"] == "rate"} == {
            "s1-i0001",
            "s1-i0002",
        }
    before = raters.tables_of(either.store)
    either.store.rebuild()
    assert raters.tables_of(either.store) == before
