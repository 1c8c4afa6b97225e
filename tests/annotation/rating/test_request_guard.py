"""Bodies that arrive too slowly, and requests of other sites."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from annotation.rating import request_guard
from annotation.rating.public_address import ASKED_HOST
from annotation.rating.request_guard import read_body, refuse_foreign
from emotion_omni.types import EmotionOmniError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STUDIO_TRUSTED_PROXIES", "STUDIO_URL", "GRADIO_ROOT_PATH", "SPACE_HOST", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)


def request(*headers: tuple[str, str], **more: Any) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": raw, "client": ("10.0.0.1", 1), "path": "/"} | more)


def is_refused(*headers: tuple[str, str], **more: Any) -> bool:
    try:
        refuse_foreign(request(*headers, **more))
    except EmotionOmniError as error:
        assert error.code == "forbidden"
        return True
    return False


@pytest.mark.parametrize(
    ("origin", "host", "refused"),
    [
        ("http://lab.example:7860", "lab.example:7860", False),
        ("http://LAB.example", "lab.example:80", False),
        ("https://lab.example", "lab.example", False),
        ("http://lab.example:8899", "lab.example:7860", True),
        ("http://lab.example:8899", "lab.example", True),
        ("http://evil.example", "lab.example", True),
        ("http://lab.example.evil.example", "lab.example", True),
        ("http://lab.example@evil.example", "lab.example", True),
        ("null", "lab.example", True),
        ("null", "", True),
        ("http://[", "lab.example", True),
        ("http://lab.example:port", "lab.example", True),
    ],
)
def test_an_origin_is_the_host_that_was_asked_for(origin: str, host: str, refused: bool) -> None:
    assert is_refused(("origin", origin), ("host", host)) is refused


@pytest.mark.parametrize("name", ["STUDIO_URL", "GRADIO_ROOT_PATH"])
def test_the_declared_address_is_an_origin_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "https://lab.example:8443/emo/")
    host = ("host", "127.0.0.1:7877")
    assert not is_refused(("origin", "https://lab.example:8443"), host)
    assert not is_refused(("origin", "http://127.0.0.1:7877"), host)  # asked for directly, without the proxy
    for other in ("http://lab.example:8443", "https://lab.example", "https://evil.example", "https://lab.example:844"):
        assert is_refused(("origin", other), host), other


def test_no_header_of_a_proxy_makes_an_origin_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that only passes X-Forwarded-Host on would let a script of another site choose it."""
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "1")
    forged = (("origin", "http://evil.example"), ("x-forwarded-host", "evil.example"))
    assert is_refused(("host", "lab.example"), *forged)
    assert is_refused(("host", "evil.example"), *forged, **{ASKED_HOST: "lab.example"})


@pytest.mark.parametrize(("site", "refused"), [("same-origin", False), ("none", False), ("same-site", True)])
def test_what_the_browser_says_itself_comes_first(site: str, refused: bool) -> None:
    headers = (("sec-fetch-site", site), ("origin", "http://studio.example"), ("host", "127.0.0.1:7877"))
    assert is_refused(*headers) is refused


def test_a_body_that_arrives_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_guard, "BODY_SECONDS", 0.01)

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    slow = request(("x-studio", "1"), ("content-type", "application/json"))
    slow._receive = never
    with pytest.raises(EmotionOmniError) as caught:
        asyncio.run(read_body(slow))
    assert caught.value.code == "slow"
