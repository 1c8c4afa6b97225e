"""What a stranger, a rater or a hostile file may not do, tried with real requests on the served page.

It does not cover what stands in front of the server (a proxy may limit rates and bodies) nor Gradio's internals.
"""

from __future__ import annotations

import io
import json
import threading
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import raters
import soundfile
from conftest import tone

from annotation.people.logins import COOKIE
from annotation.realtime.conversation import Conversations
from annotation.studio import Studio
from annotation.study import importing
from annotation.study.clips import Clips
from annotation.study.source import Source
from annotation.ui.talk import contribute as donate
from emotion_omni import audio
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("browsers",)

HEADERS = {"X-Studio": "1"}
FOREIGN = {
    "Host": "studio.example",
    "Origin": "http://evil.example",
}  # Gradio lets any origin in where the host is not local
MARK = "Zebra"  # in the title of the study that only researchers may see
TAG = "<img src=x onerror=alert(1)>"
WAV = audio.wav_bytes(tone(0.5))
VOICE = ("", 1, 1)  # of the reply: its name, the intensity, the rate
# Private endpoints of the researchers' tabs with inputs that pass Gradio's own checks.
RESEARCHERS = {
    "invite": [None, "rater", "", ""],
    "register": ["Eve", "password1234", "researcher", ""],
    "plan": [20, 30, 0, 0.3],
    "create": ["T", "empathy", "files", None, ["fake"], 0, 1, 5, "open", "evaluation", ""],
    "stop": [],
    "set_state": [None, "paused"],
    "delete": [None, MARK],
    "show": [None, True],
    "show_1": [None, True],
    "show_2": [None, True],
    "show_3": [],
    "revoke": [],
    "listen": [None, None],
    "decide": [None, None, None, "slip", True],
    "judge": [None, None, "flagged", "because", True],
}
FOR_ALL = (
    "entered",
    "entered_1",
    "entered_2",
    "entered_3",
    "entered_4",
    "entered_5",
    "call",
    "lambda_1",
)  # answer everybody, but differently


# --- people, and requests as a browser sends them -----------------------------------------------------------------


@pytest.fixture(scope="module")
def clock(studio: Studio) -> raters.Clock:
    """Moves the clock of the served studio, so that clips need not be waited for."""
    studio.sessions.clock = raters.Clock()
    return studio.sessions.clock


@pytest.fixture(scope="module")
def secret_study(studio: Studio) -> str:
    return raters.study(studio, name="secret", title=f"{MARK} {TAG}", access="invited")


@pytest.fixture(scope="module")
def open_study(studio: Studio) -> str:
    return raters.study(studio, name="running", title="Running", training_right=0, traps_per_block=0, gold_per_block=0)


@pytest.fixture(scope="module")
def addresses(served: str) -> dict[str, int]:
    """The number of each endpoint by its name."""
    return {one["api_name"]: one["id"] for one in httpx.get(f"{served}/config").json()["dependencies"]}


@pytest.fixture(scope="module")
def people(studio: Studio, served: str, secret_study: str, open_study: str) -> dict[str, httpx.Client]:
    invited = studio.people.invites.accept(studio.people.invites.create("rater", open_study))
    known = {
        "stranger": None,
        "guest": studio.people.accounts.add_guest("Guest"),
        "invited elsewhere": invited,
        "researcher": raters.new_rater(studio, "Rita", role="researcher"),
    }
    return {name: signed_in(studio, served, rater) for name, rater in known.items()}


def signed_in(studio: Studio, served: str, rater: str | None) -> httpx.Client:
    cookies = {COOKIE: studio.people.logins.issue(rater)} if rater else {}
    return httpx.Client(base_url=served, cookies=cookies, timeout=30)


def call(client: httpx.Client, number: int, data: list[Any], session: str = "", **headers: str) -> tuple[bool, str]:
    """An event of the page through its queue → (done, what came back)."""
    session = session or uuid.uuid4().hex
    body = {"data": data, "fn_index": number, "session_hash": session}
    joined = client.post("/gradio_api/queue/join", json=body, headers=headers)
    if joined.status_code != 200:
        return False, joined.text
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}, headers=headers) as stream:
        messages = (json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:"))
        last = next(one for one in messages if one["msg"] in ("process_completed", "close_stream"))
    return bool(last.get("success")), json.dumps(last.get("output"))


def uploaded(client: httpx.Client, name: str, data: bytes) -> dict[str, Any]:
    path = client.post("/gradio_api/upload", files={"files": (name, data)}).json()[0]
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def post(client: httpx.Client, path: str, **body: Any) -> httpx.Response:
    return client.post(f"/studio/{path}", json=body, headers=HEADERS)


def first_item(
    studio: Studio, client: httpx.Client, study: str, clock: raters.Clock
) -> tuple[raters.Rater, dict[str, Any]]:
    """A rater over HTTP and the sound check that is the first thing to rate."""
    routed = httpx.Client(
        base_url=f"{client.base_url}/studio/".replace("//studio", "/studio"), cookies=client.cookies, headers=HEADERS
    )
    rater = raters.Rater(studio, study, clock, client=routed)
    return rater, rater.until("sound")


@pytest.fixture
def inside() -> Iterator[tuple[str, list[str]]]:
    """A server that only this machine can reach → (its address, what was asked of it)."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(WAV)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


# --- roles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["stranger", "invited elsewhere"])  # a guest has the role of one who is invited
@pytest.mark.parametrize("endpoint", RESEARCHERS)
def test_no_endpoint_of_a_researcher_answers_anybody_below(
    people: dict, addresses: dict, studio: Studio, who: str, endpoint: str
) -> None:
    with studio.store.read() as view:
        before = view.applied()
    done, reply = call(people[who], addresses[endpoint], RESEARCHERS[endpoint])
    assert not done and ("Please sign in first" in reply or "needs the role" in reply) and MARK not in reply
    with studio.store.read() as view:
        assert view.applied() == before


@pytest.mark.parametrize("who", ["stranger", "guest", "invited elsewhere"])
def test_what_answers_everybody_names_no_study_of_others(
    people: dict, addresses: dict, secret_study: str, who: str
) -> None:
    reply = "".join(call(people[who], addresses[endpoint], [])[1] for endpoint in FOR_ALL)
    reply += people[who].get("/studio/me?tab=emotion").text + people[who].get("/config").text
    assert MARK not in reply and secret_study not in reply
    assert post(people[who], "next", study=secret_study).status_code in (401, 403)


def test_a_researcher_sees_titles_but_may_not_delete_or_raise(people: dict, addresses: dict, secret_study: str) -> None:
    session = uuid.uuid4().hex
    assert MARK in call(people["researcher"], addresses["entered_1"], [], session)[1]
    done, reply = call(people["researcher"], addresses["delete"], [secret_study, f"{MARK} {TAG}"], session)
    assert not done and "needs the role admin" in reply
    assert not call(people["researcher"], addresses["invite"], [None, "admin", "", ""])[0]
    assert not call(people["researcher"], addresses["register"], ["Eve", "password1234", "admin", ""])[0]


def test_who_is_no_researcher_any_more_is_refused_at_the_next_request(
    studio: Studio, served: str, addresses: dict
) -> None:
    name = raters.new_rater(studio, "Former", role="researcher")
    client = signed_in(studio, served, name)
    assert call(client, addresses["show"], [None, True])[0]
    studio.store.write(lambda transaction: transaction.record("rater.changed", rater=name, role="rater"))
    assert not call(client, addresses["show"], [None, True])[0]
    assert client.get("/studio/export/secret.zip").status_code == 403


# --- files and addresses ------------------------------------------------------------------------------------------


def test_no_visitor_reads_a_file_of_the_server(studio: Studio, people: dict, addresses: dict) -> None:
    home, client = studio.home.resolve(), people["stranger"]
    assert call(client, addresses["talk"], [uploaded(client, "a.wav", WAV), "fake", 0, "", "", None])[0]
    for path in (
        home / "secret",
        home / "studio.db",
        "/etc/passwd",
        Path(importing.__file__),
        f"file://{home}/secret",
        "app.py",
    ):
        asked = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        assert not call(client, addresses["talk"], [asked, "fake", 0, "", "", None])[0]
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_no_visitor_reaches_an_address_inside_through_the_server(inside: tuple, people: dict, addresses: dict) -> None:
    address, asked = inside
    for place in (
        address,
        address.replace("127.0.0.1", "localhost"),
        address.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
    ):
        call(
            people["stranger"],
            addresses["talk"],
            [{"path": f"{place}/a", "meta": {"_type": "gradio.FileData"}}, "fake", 0, "", "", None],
        )
        people["stranger"].get(f"/gradio_api/file={place}/b")
        people["stranger"].get(f"/gradio_api/proxy={place}/c")
    assert asked == []


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xml"])
def test_an_upload_never_comes_back_as_a_page(people: dict, name: str) -> None:
    path = uploaded(people["stranger"], name, b"<svg onload='alert(1)'/>")["path"]
    answer = people["stranger"].get(f"/gradio_api/file={path}")
    assert answer.headers["content-type"] == "application/octet-stream" and answer.headers[
        "content-disposition"
    ].startswith("attachment")


def test_an_upload_is_kept_under_a_name_without_folders(people: dict) -> None:
    path = Path(uploaded(people["stranger"], f"../../{TAG}.wav", WAV)["path"])
    assert ".." not in path.parts and not set("<>") & set(path.name)


CLIMBING = ["clip/..%2f..%2fsecret/0", "example/..%2fangry", "export/..%2f..%2fx.zip", "listen/..%2fx/y", "example/%00"]


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_that_climbs_finds_nothing(people: dict, path: str) -> None:
    answer = people["researcher"].get(f"/studio/{path}")
    assert answer.status_code == 404 and "Traceback" not in answer.text


# --- cookies, links, other sites ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, header", [("text/plain", "1"), ("application/x-www-form-urlencoded", "1"), ("application/json", "")]
)
def test_a_request_that_a_plain_form_can_make_changes_nothing(people: dict, kind: str, header: str) -> None:
    answer = people["guest"].post("/studio/withdraw", content="{}", headers={"Content-Type": kind, "X-Studio": header})
    assert answer.status_code == 403 and people["guest"].get("/studio/me").json()["rater"]


def test_a_plain_form_cannot_start_an_event_of_the_page(people: dict, addresses: dict) -> None:
    body = json.dumps({"data": RESEARCHERS["register"], "fn_index": addresses["register"], "session_hash": "z"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = people["researcher"].post("/gradio_api/queue/join", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422


def test_links_and_cookies_are_no_substitute_for_each_other(studio: Studio, served: str) -> None:
    link = studio.people.invites.create("admin")
    assert httpx.get(f"{served}/studio/me", cookies={COOKIE: link}).json()["rater"] is None
    session = studio.people.logins.issue(raters.new_rater(studio))
    assert httpx.post(f"{served}/studio/enter", json={"invite": session}, headers=HEADERS).status_code == 401


@pytest.mark.parametrize("path", ["me", "export/secret.zip"])
def test_another_site_cannot_read_with_a_researchers_cookie(people: dict, path: str) -> None:
    assert (
        people["researcher"].get(f"/studio/{path}", headers=FOREIGN | {"Sec-Fetch-Site": "cross-site"}).status_code
        == 403
    )


def test_another_site_cannot_withdraw_a_rater(studio: Studio, served: str) -> None:
    client = signed_in(studio, served, raters.new_rater(studio, "Victim"))
    answer = client.post("/studio/withdraw", json={}, headers=HEADERS | FOREIGN | {"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_another_site_cannot_make_an_account_with_a_researchers_cookie(people: dict, addresses: dict) -> None:
    wanted = [f"Eve {uuid.uuid4().hex}", *RESEARCHERS["register"][1:]]
    assert not call(people["researcher"], addresses["register"], wanted, **FOREIGN | {"Sec-Fetch-Site": "cross-site"})[
        0
    ]


def test_a_link_has_a_scheme_of_the_web(people: dict, addresses: dict) -> None:
    done, reply = call(
        people["researcher"], addresses["invite"], [None, "researcher", "", ""], **{"X-Forwarded-Proto": "javascript"}
    )
    assert done and "://" in reply and "javascript:" not in reply


# --- ratings ------------------------------------------------------------------------------------------------------


def test_fifty_sendings_of_one_rating_store_one(
    studio: Studio, served: str, open_study: str, clock: raters.Clock
) -> None:
    client = signed_in(studio, served, studio.people.accounts.add_guest("Twice"))
    rater, screen = first_item(studio, client, open_study, clock)
    body = rater.filled(screen)
    bodies = [body | ({} if number % 2 else {"submit_id": str(uuid.uuid4())}) for number in range(50)]
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda one: rater.client.post("/submit", json=one), bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert Counter(answer.json()["repeat_of_known"] for answer in answers) == {False: 1, True: 49}
    with studio.store.read() as view:
        assert len(view.ratings(open_study, rater=view.assignment(screen["assignment"])["rater"])) == 1


def test_a_receipt_and_a_clip_are_of_no_use_to_another_rater(
    studio: Studio, served: str, open_study: str, clock: raters.Clock
) -> None:
    rater, screen = first_item(
        studio, signed_in(studio, served, studio.people.accounts.add_guest("One")), open_study, clock
    )
    thief = signed_in(studio, served, studio.people.accounts.add_guest("Two"))
    assert post(thief, "submit", **rater.filled(screen)).status_code == 403
    assert thief.get(f"/studio/{screen['clips'][0]['url']}").status_code == 403


def test_the_cookie_of_a_rater_who_withdrew_plays_nothing(
    studio: Studio, served: str, open_study: str, clock: raters.Clock
) -> None:
    client = signed_in(studio, served, studio.people.accounts.add_guest("Gone"))
    _, screen = first_item(studio, client, open_study, clock)
    kept = {COOKIE: client.cookies[COOKIE]}
    assert post(client, "withdraw").status_code == 200
    assert httpx.get(f"{served}/studio/{screen['clips'][0]['url']}", cookies=kept).status_code in (401, 403)


def test_the_cookie_of_a_rater_who_withdrew_writes_nothing(studio: Studio, served: str) -> None:
    name = studio.people.accounts.add_guest("Gone")
    client, other = signed_in(studio, served, name), signed_in(studio, served, name)
    studio.withdraw(name)
    with studio.store.read() as view:
        before = view.applied()
    statuses = [post(client, "withdraw").status_code, post(other, "practice", tab="compare").status_code]
    with studio.store.read() as view:
        assert (statuses, view.applied()) == ([401, 401], before)


def test_many_wrong_passwords_at_once_are_too_many(studio: Studio, served: str) -> None:
    studio.people.accounts.register("Target", "password1234")
    attempts = [{"name": "Target", "password": f"wrong {number}"} for number in range(14)]
    with ThreadPoolExecutor(14) as pool:
        answers = list(
            pool.map(lambda one: httpx.post(f"{served}/studio/enter", json=one, headers=HEADERS, timeout=30), attempts)
        )
    assert sum(answer.status_code == 401 for answer in answers) <= 8


@pytest.mark.parametrize("name", ["\u202eevil", "\x1b[2Jx", "a\x07b"])
def test_a_name_has_no_characters_that_act(served: str, name: str) -> None:
    assert httpx.post(f"{served}/studio/enter", json={"guest": True, "name": name}, headers=HEADERS).status_code == 422


# --- what strangers leave here ------------------------------------------------------------------------------------


def test_html_in_a_title_is_text_in_the_pictures(people: dict, addresses: dict, secret_study: str) -> None:
    done, reply = call(people["researcher"], addresses["entered_1"], [])
    drawn = json.loads(reply)["data"][2]
    assert done and MARK in drawn and "<img" not in drawn and "&lt;img" in drawn


def test_html_in_an_error_is_text(people: dict, addresses: dict) -> None:
    wanted = RESEARCHERS["create"][:-1] + [f"'{TAG}': 1"]
    wanted[3] = [uploaded(people["researcher"], "a.wav", WAV)]
    done, reply = call(people["researcher"], addresses["create"], wanted)
    assert not done and "&lt;img" in reply and "<img" not in reply


def test_a_study_takes_turns_of_strangers_only_if_its_maker_says_so(studio: Studio, open_study: str) -> None:
    raters.study(studio, "empathy", name="replies", title="Replies")
    assert {name for _, name in donate.Handlers(studio, Conversations()).studies()} == {""}


def test_what_the_studio_does_not_use_is_closed(people: dict) -> None:
    statuses = [
        people["stranger"].get("/monitoring/summary").status_code,
        people["stranger"].post("/gradio_api/process_recording", files={"video": ("a.mp4", b"x")}).status_code,
    ]
    assert all(status in (403, 404) for status in statuses)


# --- hostile files ------------------------------------------------------------------------------------------------


def packed(files: dict[str, Any], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def imported(folder: Path, data: bytes) -> list[dict[str, Any]]:
    (folder / "study.zip").write_bytes(data)
    settings = {"title": "T", "template": "emotion-recognition"}
    return importing.read_source(Source.archive(folder / "study.zip"), Clips(folder / "audio"), settings)[1]


def test_entries_that_climb_or_are_links_write_and_read_nothing_outside(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert len(imported(home, packed({"../../up.wav": WAV, "/etc/up.wav": WAV}))) == 2
    assert not list(tmp_path.rglob("up.wav"))
    link = zipfile.ZipInfo("link.wav")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(EmotionOmniError) as refused:
        imported(home, buffer.getvalue())
    assert refused.value.code == "not-audio"


def test_an_archive_of_very_many_entries_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation.study.source.MOST_ITEMS", 10)
    with pytest.raises(EmotionOmniError) as refused:
        imported(tmp_path, packed({f"{number}.txt": "" for number in range(21)}))
    assert refused.value.code == "too-large"


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(EmotionOmniError) as refused:
        importing.read_yaml(b"title: !!python/object/apply:os.getcwd []")
    assert refused.value.code == "bad-yaml"


def test_yaml_aliases_are_refused() -> None:
    with pytest.raises(EmotionOmniError) as refused:
        importing.read_yaml(b"title: t\ncohorts: [&a [x, x], &b [*a, *a], &c [*b, *b]]")
    assert refused.value.code == "bad-yaml"


def test_yaml_that_is_too_deep_is_refused() -> None:
    with pytest.raises(EmotionOmniError):
        importing.read_yaml(b"title: " + b"[" * 1000)


def test_a_manifest_is_read_no_further_than_a_study_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MOST_ITEMS", 3)
    with pytest.raises(EmotionOmniError) as refused:
        imported(tmp_path, packed({"items.jsonl": '{"speech": "a.wav"}\n' * 20 + "not reached", "a.wav": WAV}))
    assert refused.value.code == "too-large"


def test_a_field_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmotionOmniError):
        imported(tmp_path, packed({"items.csv": "speech,x\na.wav," + "y" * 200_000, "a.wav": WAV}))


def broken(kind: str) -> bytes:
    method = {"lzma": zipfile.ZIP_LZMA, "bzip2": zipfile.ZIP_BZIP2}.get(kind, zipfile.ZIP_DEFLATED)
    data = bytearray(packed({"a.wav": WAV}, method))
    entry = data.find(b"PK\x01\x02")
    match kind:
        case "version":
            data[entry + 6] = 99
        case "name":
            data[entry + 8 : entry + 10], data[entry + 46] = b"\x00\x08", 0xFF  # said to be UTF-8, and is not
        case _:
            data[60:100] = b"\xff" * 40
    return bytes(data)


@pytest.mark.parametrize("kind", ["lzma", "bzip2", "version", "name"])
def test_an_archive_broken_in_an_unusual_way_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(EmotionOmniError):
        imported(tmp_path, broken(kind))


def test_a_sound_of_very_many_samples_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 655_350, 8, "PCM_16", format="FLAC") as file:
        for _ in range(10):
            file.write(np.zeros((655_350, 8), np.int16))
    asked: list[int] = []
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda *_, **__: asked.append(1) or np.zeros((48_000, 1), np.float32)
    )
    with pytest.raises(EmotionOmniError) as refused:
        audio.decode(buffer.getvalue())
    assert refused.value.code in ("too-large", "too-long") and not asked
