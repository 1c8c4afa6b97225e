"""Limits on what may be sent to the page itself: uploads by number, bytes and time, other bodies by size.

A middleware, since the page's own routes are Gradio's. The rating routes (annotation/rating) limit themselves.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotation.rating.limits import BUSY, MEGABYTE, TooMany
from annotation.rating.public_address import route_path
from annotation.rating.routes import refusal
from annotation.rating.visitors import visitor
from annotation.studio import Studio
from emotion_omni.types import EmotionOmniError

UPLOADS_AT_ONCE = 8  # of one visitor; a connection each, so that slow ones cannot take all
UPLOAD_SECONDS = 300.0
LARGEST_EVENT = 4 * MEGABYTE  # what the page sends with a click; sounds come as uploads
EVENT_SECONDS = 30.0


class BodyLimits:
    """``researchers_only``: whether strangers and raters may upload nothing, as where there is no Talk tab."""

    def __init__(self, app: ASGIApp, studio: Studio, researchers_only: bool) -> None:
        self._app, self._studio, self._researchers_only = app, studio, researchers_only
        self._open: Counter[str] = Counter()  # uploads in progress, by visitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS") or path.startswith("/studio/"):
            await self._app(scope, receive, send)
            return
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            connection = HTTPConnection(scope)
            if path.endswith("/upload"):
                await self._upload(connection, receive, sent)
            else:
                await self._event(connection, receive, sent)
        except EmotionOmniError as error:
            if started:
                raise
            await refusal(error)(scope, receive, send)

    async def _event(self, connection: HTTPConnection, receive: Receive, send: Send) -> None:
        if connection.scope["path"].endswith("/queue/join"):
            self._studio.limits.check("queue", visitor(self._studio, connection))
        _refuse_larger(_declared(connection), LARGEST_EVENT)
        body = Body(receive, EVENT_SECONDS, lambda size: _refuse_larger(size, LARGEST_EVENT))
        await self._app(connection.scope, body.receive, send)

    async def _upload(self, connection: HTTPConnection, receive: Receive, send: Send) -> None:
        who, limits = visitor(self._studio, connection), self._studio.limits
        if await run_in_threadpool(self._is_researcher, connection):
            await self._app(connection.scope, receive, send)
            return
        if self._researchers_only:
            raise EmotionOmniError("Only researchers can upload files here. Please sign in first.", "forbidden")
        limits.check("upload", who)
        charged = 0

        def charge(size: int) -> None:
            nonlocal charged
            if (wanted := math.ceil(size / MEGABYTE)) > charged:
                limits.check("upload megabytes", who, wanted - charged)
                charged = wanted

        charge(_declared(connection))
        with self._place(who.key):
            await self._app(connection.scope, Body(receive, UPLOAD_SECONDS, charge).receive, send)

    @contextmanager
    def _place(self, key: str) -> Iterator[None]:
        if self._open[key] >= UPLOADS_AT_ONCE:
            raise TooMany(BUSY, 5)
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def _is_researcher(self, connection: HTTPConnection) -> bool:
        try:
            self._studio.people.require(connection.cookies, "researcher", connection.scope.get("session", {}))
        except EmotionOmniError:
            return False
        return True


class Body:
    """A request's body as it arrives. ``count`` is told the bytes so far, and raises where they are too many."""

    def __init__(self, receive: Receive, seconds: float, count: Callable[[int], None]) -> None:
        self._receive, self._count = receive, count
        self._until = time.monotonic() + seconds
        self._size, self._complete = 0, False

    async def receive(self) -> Message:
        if self._complete:  # what is still waited for is the end of the connection
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            raise EmotionOmniError("The request did not arrive in time. Please send it again.", "slow") from None
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        self._count(self._size)
        return message


def _declared(connection: HTTPConnection) -> int:
    """Bytes, as the request itself says; 0 where it does not."""
    given = connection.headers.get("content-length", "")
    return int(given) if given.isdecimal() else 0


def _refuse_larger(size: int, most: int) -> None:
    if size > most:
        raise EmotionOmniError(f"A request may have {most // MEGABYTE} MB.", "too-large")
