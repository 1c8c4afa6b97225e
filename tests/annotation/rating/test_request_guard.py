"""Whose address counts, under which address the studio is reached, and bodies that arrive too slowly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from annotation.rating import request_guard
from annotation.rating.request_guard import client_address, public_url, read_body, trusted_proxies
from emotion_omni.types import EmotionOmniError

FORGED = {"host": "lab.example:7860", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STUDIO_TRUSTED_PROXIES", "STUDIO_URL", "SPACE_HOST", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)


def request(*headers: tuple[str, str], peer: str = "10.0.0.1") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": raw, "client": (peer, 1), "path": "/"})


def test_links_are_not_made_from_a_header_that_anybody_can_send(monkeypatch: pytest.MonkeyPatch) -> None:
    assert public_url(FORGED) == "https://lab.example:7860"
    monkeypatch.setenv("STUDIO_TRUSTED_PROXIES", "1")
    assert public_url(FORGED | {"x-forwarded-host": "evil.example, studio.example"}) == "https://studio.example"
    monkeypatch.setenv("SPACE_HOST", "me-studio.hf.space")
    assert public_url(FORGED) == "https://me-studio.hf.space"
    monkeypatch.setenv("STUDIO_URL", "https://studio.lab.example/rate/")
    assert public_url(FORGED) == "https://studio.lab.example/rate"
    monkeypatch.undo()
    assert public_url({"host": "127.0.0.1:7860"}) == "http://127.0.0.1:7860"


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
