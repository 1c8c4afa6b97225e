"""The routes of talking, mounted at ``/v1`` beside the page: the realtime WebSocket and the example recordings.

They share nothing with the page's event queue. Handlers authorise, limit, and carry; :mod:`annotation.realtime.session`
answers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from annotation.rating.limits import TooMany
from annotation.rating.request_guard import refuse_foreign
from annotation.rating.visitors import visitor
from annotation.realtime import events
from annotation.realtime.session import Service, Session
from annotation.studio import Studio
from emotion_omni import zero_gpu
from emotion_omni.types import EmotionOmniError

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
IDLE_SECONDS = 900.0  # without an event of the client, after which the line is closed
LINES_OF_ONE, LINES = 24, 128  # open at once: of one visitor, who may be a class behind one address; of all
POLICY, GOING_AWAY = 1008, 1001  # why a WebSocket is closed: RFC 6455, §7.4.1
OWN_PATHS = frozenset({"/v1/realtime", "/v1/examples"})


class Lines:
    """The open WebSockets, by visitor."""

    def __init__(self, service: Service, studio: Studio) -> None:
        self._service, self._studio = service, studio
        self._open: Counter[str] = Counter()

    async def serve(self, websocket: WebSocket) -> None:
        try:
            refuse_foreign(websocket)
            who = visitor(self._studio, websocket)
            self._studio.limits.check("realtime", who)
            if self._open[who.key] >= LINES_OF_ONE or self._open.total() >= LINES:
                raise TooMany("Many people are talking to me right now. Please try again in a minute.", 60, "full")
            if zero_gpu.on_loan():
                raise EmotionOmniError("Here the GPU is lent to the page's queue alone, not to this line.", "no-gpu")
        except EmotionOmniError as error:
            await _refuse(websocket, error)
            return
        self._open[who.key] += 1
        try:
            await self._talk(websocket, lambda: self._studio.limits.check("turn", who))
        finally:
            self._open[who.key] -= 1
            if not self._open[who.key]:
                del self._open[who.key]

    async def _talk(self, websocket: WebSocket, charge: Callable[[], None]) -> None:
        protocols = [one for one in websocket.scope.get("subprotocols", []) if one == "realtime"]
        await websocket.accept(subprotocol=protocols[0] if protocols else None)
        loop, waiting = asyncio.get_running_loop(), asyncio.Queue[events.Json]()

        def send(event: events.Json) -> None:
            loop.call_soon_threadsafe(waiting.put_nowait, event)

        query = websocket.query_params
        kept = self._service.conversations.get(query.get("conversation", ""))
        session = Session(self._service, send, charge, conversation=kept)
        sender = asyncio.create_task(_send_all(websocket, waiting))
        try:
            session.begin()
            if model := query.get("model"):
                session.receive({"type": "session.update", "session": {"model": model}})
            await _receive_all(websocket, session)
        finally:
            sender.cancel()
            await run_in_threadpool(session.close)


async def _receive_all(websocket: WebSocket, session: Session) -> None:
    while True:
        try:
            text = await asyncio.wait_for(websocket.receive_text(), IDLE_SECONDS)
        except TimeoutError:
            await websocket.close(GOING_AWAY, "idle")
            return
        except (WebSocketDisconnect, KeyError, RuntimeError):  # gone, or bytes where the protocol has text
            return
        await run_in_threadpool(session.receive_text, text)  # detecting speech takes a processor for a moment


async def _send_all(websocket: WebSocket, waiting: asyncio.Queue[events.Json]) -> None:
    try:
        while True:
            await websocket.send_json(await waiting.get())
    except (WebSocketDisconnect, RuntimeError):  # the client is gone: the receiving side ends the session
        return


async def _refuse(websocket: WebSocket, error: EmotionOmniError) -> None:
    await websocket.accept()
    await websocket.send_json(events.error(error))
    await websocket.close(POLICY, error.code)


async def _example(request: Request) -> Response:
    name = request.path_params["name"]
    known = {path.name: path for path in EXAMPLES.glob("*.wav")}
    if name not in known:
        return Response(status_code=404)
    return FileResponse(known[name], media_type="audio/wav", headers={"Cache-Control": "max-age=3600"})


def routes(service: Service, studio: Studio) -> Starlette:
    """The application to mount under ``/v1``."""
    found: list[BaseRoute] = [
        WebSocketRoute("/realtime", Lines(service, studio).serve),
        Route("/examples/{name}", _example),
    ]
    return Starlette(routes=found)
