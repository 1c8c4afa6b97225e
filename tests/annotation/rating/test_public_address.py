"""Whose address counts, and under which address the studio is reached through proxies."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from annotation.rating.public_address import client_address, declared_address, public_url, trusted_proxies
from annotation.rating.routes import public_address
from emotion_omni.types import EmotionOmniError

FORGED = (("host", "lab.example:7860"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https"))


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STUDIO_TRUSTED_PROXIES", "STUDIO_URL", "GRADIO_ROOT_PATH", "SPACE_HOST", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)


def request(*headers: tuple[str, str], peer: str = "10.0.0.1") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": raw, "client": (peer, 1), "path": "/"})


def test_links_are_not_made_from_a_header_that_anybody_can_send(monkeypatch: pytest.MonkeyPatch) -> None:
    assert public_url(request(*FORGED)) == "https://lab.example:7860"
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "1")
    chain = (("host", "x"), ("x-forwarded-host", "evil.example, studio.example"), ("x-forwarded-proto", "https"))
    assert public_url(request(*chain)) == "https://studio.example"
    monkeypatch.setenv("SPACE_HOST", "me-studio.hf.space")
    assert public_url(request(*FORGED)) == "https://me-studio.hf.space"
    monkeypatch.setenv("STUDIO_URL", "https://studio.lab.example/rate/")
    assert public_url(request(*FORGED)) == "https://studio.lab.example/rate"
    monkeypatch.undo()
    assert public_url(request(("host", "127.0.0.1:7860"))) == "http://127.0.0.1:7860"


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, None),
        ({"GRADIO_ROOT_PATH": "/emo"}, None),
        ({"STUDIO_URL": "https://lab.example"}, "https://lab.example"),
        ({"STUDIO_URL": "HTTPS://Lab.Example:443/emo//"}, "https://lab.example/emo"),
        ({"STUDIO_URL": "http://lab.example:8080", "GRADIO_ROOT_PATH": "emo/"}, "http://lab.example:8080/emo"),
        ({"GRADIO_ROOT_PATH": "https://lab.example/a/b"}, "https://lab.example/a/b"),
        ({"STUDIO_URL": "http://[::1]:80/x%20y"}, "http://[::1]/x%20y"),
        ({"STUDIO_URL": "https://bücher.example/ä"}, "https://xn--bcher-kva.example/%C3%A4"),
        ({"SPACE_HOST": "me-studio.hf.space,x"}, "https://me-studio.hf.space"),
    ],
)
def test_what_the_operator_declares(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], address: str | None
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    declared = declared_address()
    assert (str(declared) if declared else None) == address


@pytest.mark.parametrize(
    "url",
    ["lab.example/emo", "ftp://lab.example", "https://", "https://lab.example:port", "https://a/?b", "https://a/#b"],
)
def test_an_address_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("STUDIO_URL", url)
    with pytest.raises(EmotionOmniError, match="STUDIO_URL is an address"):
        declared_address()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        ("0", "1.1.1.1", "10.0.0.1"),
        ("1", "9.9.9.9, 1.1.1.1", "1.1.1.1"),
        ("2", "9.9.9.9, 1.1.1.1, 7.7.7.7", "1.1.1.1"),
        ("3", "1.1.1.1", "1.1.1.1"),
        ("1", "", "10.0.0.1"),
        ("1", "not an address", "not an address"),
    ],
)
def test_only_entries_of_trusted_proxies_count(
    monkeypatch: pytest.MonkeyPatch, proxies: str, forwarded: str, address: str
) -> None:
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", proxies)
    assert client_address(request(("x-forwarded-for", forwarded))) == address


def test_a_header_sent_twice_is_one_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "1")
    assert client_address(request(("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.1.1.1"))) == "1.1.1.1"
    assert client_address(request()) == "10.0.0.1"


def test_a_network_of_ipv6_is_one_visitor() -> None:
    assert client_address(request(peer="2001:db8::1")) == client_address(request(peer="2001:db8::ffff:2"))
    assert client_address(request(peer="fe80::1%eth0")) == "fe80::/64"
    assert client_address(request(peer="::ffff:1.2.3.4")) == "1.2.3.4"


def test_a_space_has_one_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trusted_proxies() == 0
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert trusted_proxies() == 1
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "many")
    with pytest.raises(EmotionOmniError, match="STUDIO_TRUSTED_PROXIES"):
        trusted_proxies()


# --- the middleware ---------------------------------------------------------------------------------------------


async def seen(request: Request) -> JSONResponse:
    return JSONResponse({"url": str(request.url), "public": public_url(request), "headers": sorted(request.headers)})


def asked(url: str, host: str = "127.0.0.1:7877", mounted: str = "", **headers: str) -> dict[str, Any]:
    """What the app sees of a request for a path; {} for 404. ``mounted``: a path in another application."""
    inner = Starlette(routes=[Route("/me", seen), Route("/export/{study}.zip", seen)])
    routes = [Mount("/studio", app=inner), Route("/config", seen), Route("/", seen)]
    app = Starlette(routes=routes, middleware=[public_address()])
    if mounted:
        app = Starlette(routes=[Mount(mounted, app=app)])
    answer = TestClient(app, f"http://{host}").get(
        url, headers={name.replace("_", "-"): headers[name] for name in headers}
    )
    return answer.json() if answer.status_code == 200 else {}


@pytest.mark.parametrize("prefix", ["/emo", "/emo/", "emo", "/a/b", "/studio", "/me", "/my%20lab", "/st\u00fcdio"])
@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("host", ["", "https://lab.example:8443"])
def test_every_route_is_found_below_a_prefix(
    monkeypatch: pytest.MonkeyPatch, prefix: str, strips: bool, host: str
) -> None:
    if host and not prefix.startswith("/"):
        prefix = "/" + prefix
    monkeypatch.setenv("GRADIO_ROOT_PATH", host + prefix)
    clean = "/" + prefix.strip("/")
    for path in ("/", "/config", "/studio/me", "/studio/export/x.zip"):
        found = asked(path if strips else clean + path)
        public = (host or "http://127.0.0.1:7877") + clean
        assert unquote(found["url"]) == unquote(public) + path and unquote(found["public"]) == unquote(public)
    assert not asked((clean if not strips else "") + "/studio/nowhere")


def test_a_mount_tells_its_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked("/emo/studio/me", mounted="/emo")["public"] == "http://127.0.0.1:7877/emo"
    assert asked("/studio/studio/me", mounted="/studio")["public"] == "http://127.0.0.1:7877/studio"
    monkeypatch.setenv("STUDIO_URL", "https://lab.example")
    assert asked("/emo/studio/me", mounted="/emo")["public"] == "https://lab.example/emo"
    monkeypatch.setenv("STUDIO_URL", "https://lab.example/x")
    assert asked("/emo/studio/me", mounted="/emo")["public"] == "https://lab.example/x"


def test_headers_of_a_proxy_count_where_the_operator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"x_forwarded_host": "lab.example", "x_forwarded_port": "8443", "x_forwarded_prefix": "/emo"}
    forged = asked("/studio/me", **given)
    assert forged["url"] == "http://127.0.0.1:7877/studio/me" and forged["public"] == "http://127.0.0.1:7877"
    assert not [name for name in forged["headers"] if name.startswith("x-forwarded")]  # Gradio would believe them
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "1")
    trusted = asked("/studio/me", **given)
    assert (
        trusted["url"] == "http://lab.example:8443/emo/studio/me" and trusted["public"] == "http://lab.example:8443/emo"
    )
    assert asked("/emo/studio/me", **given, x_forwarded_proto="https")["public"] == "https://lab.example:8443/emo"


@pytest.mark.parametrize("prefix", ["//evil.example", "https://evil.example", '/"><script>', "/a\\b", "evil", "/a b"])
def test_a_forwarded_prefix_that_is_no_path_does_not_count(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "1")
    assert asked("/studio/me", x_forwarded_prefix=prefix)["public"] == "http://127.0.0.1:7877"
    assert asked("/studio/me", x_forwarded_host=prefix + "/")["public"] == "http://127.0.0.1:7877"
