"""Limits on uploads and on other bodies that are sent to the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import raters
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from annotation.people.logins import COOKIE
from annotation.rating.limits import MEGABYTE
from annotation.studio import Studio
from annotation.ui import body_limits
from annotation.ui.body_limits import LARGEST_EVENT, Body, BodyLimits
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)
UPLOAD, EVENT = "/gradio_api/upload", "/gradio_api/queue/join"


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    with raters.opened(home) as one:
        yield one


async def taken(request: Request) -> Response:
    return Response(str(len(await request.body())))


def page(studio: Studio, role: str = "", only: bool = False) -> TestClient:
    routes = [Route(path, taken, methods=["POST"]) for path in (UPLOAD, EVENT, "/studio/next")]
    app = Starlette(routes=routes, middleware=[Middleware(BodyLimits, studio=studio, researchers_only=only)])
    client = TestClient(app)
    if role:
        client.cookies.set(COOKIE, studio.people.logins.issue(raters.new_rater(studio, role=role)))
    return client


def pieces(megabytes: int) -> Iterator[bytes]:
    return (b"x" * MEGABYTE for _ in range(megabytes))


def test_uploads_of_strangers_are_counted(studio: Studio) -> None:
    statuses = [page(studio).post(UPLOAD, content=b"x").status_code for _ in range(42)]
    assert statuses == [200] * 40 + [429] * 2


def test_the_bytes_of_uploads_are_counted_with_and_without_a_length(studio: Studio) -> None:
    client = page(studio)
    assert [client.post(UPLOAD, content=b"x" * 20 * MEGABYTE).status_code for _ in range(4)] == [200] * 3 + [429]
    client = page(studio, "rater")
    statuses = [client.post(UPLOAD, content=pieces(20)).status_code for _ in range(4)]
    assert statuses == [200] * 3 + [429]
    assert client.post(UPLOAD, content=b"x" * 7 * MEGABYTE).headers["retry-after"]


def test_researchers_upload_as_they_like(studio: Studio) -> None:
    client = page(studio, "researcher", only=True)
    assert {client.post(UPLOAD, content=b"x" * 2 * MEGABYTE).status_code for _ in range(45)} == {200}


@pytest.mark.parametrize("role", ["", "rater"])
def test_a_studio_for_rating_alone_takes_uploads_of_researchers_only(studio: Studio, role: str) -> None:
    answer = page(studio, role, only=True).post(UPLOAD, content=b"x")
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "forbidden"


def test_other_bodies_are_small_with_and_without_a_length(studio: Studio) -> None:
    client = page(studio)
    assert client.post(EVENT, content=b"x" * 1000).text == "1000"
    assert client.post(EVENT, content=b"x" * (LARGEST_EVENT + 1)).status_code == 413
    assert client.post(EVENT, content=pieces(6)).status_code == 413


def test_the_rating_routes_limit_themselves(studio: Studio) -> None:
    assert page(studio).post("/studio/next", content=pieces(6)).status_code == 200


def test_many_uploads_at_once_of_one_visitor_are_refused(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limits, "UPLOADS_AT_ONCE", 0)
    assert page(studio).post(UPLOAD, content=b"x").status_code == 429


def told(call: Callable[[], Any]) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        call()
    return caught.value.code


def test_a_body_that_arrives_too_slowly_is_given_up() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    body = Body(never, 0.01, lambda size: None)
    assert told(lambda: asyncio.run(body.receive())) == "slow"  # type: ignore[arg-type]


def test_the_end_of_the_connection_is_waited_for_without_a_limit() -> None:
    messages = iter([{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return next(messages)

    async def read() -> list[str]:
        body = Body(receive, 0.08, lambda size: None)
        return [(await body.receive())["type"] for _ in range(2)]

    assert asyncio.run(read()) == ["http.request", "http.disconnect"]
