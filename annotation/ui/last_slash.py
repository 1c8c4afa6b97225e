"""Sends a browser that opened the page as ``/path`` to ``/path/``, below which the page's own files lie.

A proxy that strips the path asks the app for ``/`` either way, so only the browser knows what it was asked for.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotation.rating.public_address import route_path

BASE = b"<base "  # before it no file is asked for
SCRIPT = b"""<script>
if (!location.pathname.endsWith('/')) location.replace(location.pathname + '/' + location.search + location.hash);
</script>
"""


class LastSlash:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or route_path(scope) != "/":
            await self._app(scope, receive, send)
            return
        start: Message = {}

        async def sent(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start:
                if not message.get("more_body") and BASE in message.get("body", b""):
                    message = {**message, "body": message["body"].replace(BASE, SCRIPT + BASE, 1)}
                    MutableHeaders(raw=start["headers"])["content-length"] = str(len(message["body"]))
                await send(start)
                start = {}
            await send(message)

        await self._app(scope, receive, sent)
