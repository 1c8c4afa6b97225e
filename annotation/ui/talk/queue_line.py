"""The realtime protocol over the page's own queue, for places where a WebSocket has no GPU: a ZeroGPU Space.

One call carries a turn: the client's events in, the server's events so far out, again and again until the reply is
done. The same session answers as on the WebSocket; only sound that streams in, and so hands-free talking, is missing.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

from annotation.realtime.session import Service, Session

WAIT_SECONDS = 0.1
LONGEST_CALL = 4 * 2**20  # letters; the limit on bodies is lower or equal


class QueueLine:
    def __init__(self, service: Service) -> None:
        self._service, self._lock = service, threading.Lock()
        self._sessions: dict[str, Session] = {}  # by conversation: a new call ends the one before

    def answer(self, message: str | None) -> Iterator[str]:
        """``message``: JSON {call, conversation, events}. Each value has all events so far, so none is lost."""
        call = _read(message)
        if call is None:
            return
        arrived: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        kept = self._service.conversations.get(str(call.get("conversation") or ""))
        session = Session(self._service, arrived.put, conversation=kept)
        name = session.conversation.identity
        with self._lock:
            before, self._sessions[name] = self._sessions.get(name), session
        if before:
            before.close()
        sent: list[dict[str, Any]] = []
        try:
            session.begin()
            for event in call["events"]:
                session.receive(event)
            while session.busy or not arrived.empty():
                try:
                    sent.append(arrived.get(timeout=WAIT_SECONDS))
                except queue.Empty:
                    continue
                while not arrived.empty():
                    sent.append(arrived.get())
                yield json.dumps({"call": call.get("call"), "sent": sent})
        finally:
            session.close()
            with self._lock:
                if self._sessions.get(name) is session:
                    del self._sessions[name]


def _read(message: str | None) -> dict[str, Any] | None:
    try:
        call = json.loads(message or "null") if len(message or "") <= LONGEST_CALL else None
    except (ValueError, RecursionError):
        call = None
    return call if isinstance(call, dict) and isinstance(call.get("events"), list) else None
