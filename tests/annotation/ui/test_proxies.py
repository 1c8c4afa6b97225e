"""The whole app as a process of its own, behind proxies that strip or keep a prefix and rewrite the host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from hands import LOAD_MS, Hand, items, open_study, together
from proxies import proxy
from starlette.testclient import TestClient

import app
from annotation.bench.load import serve
from annotation.people.logins import COOKIE
from annotation.realtime.engine_pool import EnginePool
from annotation.realtime.session import Service
from annotation.studio import Studio

pytest_plugins = ("browsers",)
pytestmark = pytest.mark.page
SETTINGS = ("STUDIO_URL", "STUDIO_TRUSTED_PROXIES", "GRADIO_ROOT_PATH", "SPACE_HOST", "SPACE_ID")
PLAIN = {"training_right": 0, "traps_per_block": 0, "gold_per_block": 0, "repeats_per_block": 0}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with one short study."""
    studio = Studio.open(tmp_path)
    open_study(studio, "emotion-recognition", items(studio, "emotion-recognition", 1), "felt", **PLAIN)
    studio.close()
    yield tmp_path


def page_root(client: httpx.Client, base: str) -> str:
    page = client.get(f"{base}/")
    assert page.status_code == 200
    asset = re.search(r'src="\./(assets/[^"]+\.js)"', page.text)
    assert asset and client.get(f"{base}/{asset[1]}").status_code == 200
    found = re.search(r'"root":"([^"]*)"', page.text)
    return found[1] if found else ""


def walk(base: str, origin: str, home: Path) -> httpx.Client:
    """Use every kind of route as the page of ``origin`` does → the browser, signed in as a researcher."""
    studio = Studio.open(home)
    token = studio.people.invites.create("researcher", name="Ada")
    studio.close()
    client = httpx.Client(headers={"X-Studio": "1", "Origin": origin}, timeout=60)
    entered = client.post(f"{base}/studio/enter", json={"invite": token})
    assert entered.status_code == 200 and client.cookies.get(COOKIE), entered.text
    assert client.get(f"{base}/studio/me").json()["rater"]["name"] == "Ada"
    screen = client.post(f"{base}/studio/next", json={"study": "felt"}).json()
    assert "screen" in screen or "assignment" in screen, screen
    export = client.get(f"{base}/studio/export/felt.zip")
    assert export.status_code == 200 and export.content[:2] == b"PK"
    assert client.get(f"{base}/studio/codes/felt").json()["codes"] == []
    for path in ("studio/nowhere", "gradio_api/file=app.py"):
        assert client.get(f"{base}/{path}").status_code in (403, 404)
    foreign = {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}
    assert client.post(f"{base}/studio/next", json={"study": "felt"}, headers=foreign).status_code == 403
    assert client.post(f"{base}/studio/leave", json={}).status_code == 200
    assert client.get(f"{base}/studio/me").json()["rater"] is None
    return client


@pytest.mark.slow
@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("keeps_host", [True, False])
@pytest.mark.parametrize("how", ["root path", "root url", "studio url", "forwarded"])
def test_every_route_works_behind_a_proxy(
    bare: pytest.MonkeyPatch, home: Path, strips: bool, keeps_host: bool, how: str
) -> None:
    if how == "root path" and not keeps_host or how == "forwarded" and not (strips and keeps_host):
        pytest.skip("the public address must be declared, where the proxy does not pass it on")
    adds = {"X-Forwarded-Host": "{host}", "X-Forwarded-Prefix": "/emo"} if how == "forwarded" else None
    with proxy(strips=strips, keeps_host=keeps_host, adds=adds) as front:
        public = f"http://127.0.0.1:{front.port}"
        settings = {
            "root path": {"GRADIO_ROOT_PATH": "/emo/"},
            "root url": {"GRADIO_ROOT_PATH": f"{public}/emo"},
            "studio url": {"STUDIO_URL": f"{public}/emo"},
            "forwarded": {"STUDIO_TRUSTED_PROXIES": "1"},
        }[how]
        for name, value in settings.items():
            bare.setenv(name, value)
        with serve(home) as (port, _):
            front.backend = port
            client = walk(f"{public}/emo", public, home)
            assert page_root(client, f"{public}/emo") == f"{public}/emo"
            assert httpx.get(f"http://127.0.0.1:{port}/studio/me").status_code == 200  # without the proxy, too


def test_a_proxy_that_is_not_declared_is_named_in_the_log(bare: pytest.MonkeyPatch, home: Path) -> None:
    with proxy() as front, serve(home, page=False) as (port, _):
        front.backend = port
        public = f"http://127.0.0.1:{front.port}"
        headers = {"X-Studio": "1", "Origin": public}
        answer = httpx.post(f"{public}/emo/studio/enter", json={"guest": True, "name": "Ann"}, headers=headers)
        assert answer.status_code == 403 and "STUDIO_URL" in answer.json()["error"]["message"]
        assert public in (home / "server.txt").read_text()
        headers["Sec-Fetch-Site"] = "same-origin"  # as browsers say it over https and of this machine
        answer = httpx.post(f"{public}/emo/studio/enter", json={"guest": True, "name": "Ann"}, headers=headers)
        assert answer.status_code == 200


@pytest.mark.parametrize("prefix", ["/emo", "/studio"])
def test_the_app_mounted_in_another(bare: pytest.MonkeyPatch, home: Path, prefix: str) -> None:
    studio = Studio.open(home)
    service = Service(EnginePool(), "fake")
    page = app.build(service, studio)
    outer = gr.mount_gradio_app(FastAPI(), page, path=prefix, **app.launch_options(service, studio))
    client = TestClient(outer, headers={"X-Studio": "1", "Origin": "http://testserver"})
    assert client.get(f"{prefix}/config").json()["root"] == f"http://testserver{prefix}"
    assert "location.pathname.endsWith" in client.get(f"{prefix}/").text
    assert client.post(f"{prefix}/studio/enter", json={"guest": True, "name": "Ann"}).status_code == 200
    assert client.get(f"{prefix}/studio/me").json()["rater"]["name"] == "Ann"
    assert client.get("/studio/me").status_code == 404
    studio.close()


@pytest.mark.parametrize("slash", ["/", ""])
def test_a_rater_rates_by_an_invite_behind_a_prefix_over_plain_http(
    bare: pytest.MonkeyPatch, home: Path, browser, slash: str
) -> None:
    """By a name that is not this machine's: there browsers say nothing of the site, and the origin alone decides."""
    with proxy() as front:
        public = f"http://studio.test:{front.port}/emo"
        bare.setenv("STUDIO_URL", public)
        with serve(home) as (port, _):
            front.backend = port
            studio = Studio.open(home)
            token = studio.people.invites.create("rater", "felt", name="Ann")
            rater = "r" + studio.people.invites.read(token)["id"][:16]
            page = browser.new_context().new_page()
            page.goto(f"{public}{slash}#invite={token}")
            page.wait_for_selector(".rating[data-screen=consent]", timeout=LOAD_MS)
            hand = Hand(studio, page, "felt", rater)
            together(hand.walk(), page=page)
            assert hand.look()["screen"] == "done" and not hand.errors
            assert [row["answers"] for row in hand.stored()] == list(hand.expected().values()) != []
            page.context.close()
            studio.close()
