"""A local server that speaks the OpenAI protocol of streamed chat completions, for tests."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SENTENCES = (
    "That sounds **hard**, my friend. ",
    "I am here \N{SLIGHTLY SMILING FACE} with you. ",
    "What happened then?",
)


def answer(body: dict[str, Any]) -> Iterator[str]:
    """The default reply: fixed by messages and seed, a few letters at a time."""
    asked = json.dumps([body["messages"], body.get("seed")])
    text = f"Case {int(hashlib.sha256(asked.encode()).hexdigest(), 16) % 10_000}, I see. " + "".join(SENTENCES)
    yield from (text[at : at + 5] for at in range(0, len(text), 5))


@dataclass
class ChatServer:
    """``write``: a request's body → pieces of the reply. ``status``: other than 200 refuses with ``error``.

    ``statuses``: of the next requests, before ``status`` holds. ``raw``: instead of the events, these bytes, each piece
    as it comes; ``content_type`` of the answer.
    """

    url: str = ""
    write: Callable[[dict[str, Any]], Iterator[str]] = answer
    status: int = 200
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[dict[str, Any]], Iterator[bytes]] | None = None
    content_type: str = "text/event-stream"
    error: Any = field(default_factory=lambda: {"error": {"message": "no such model"}})
    finish: str = "stop"
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    sent: int = 0  # pieces
    broken: threading.Event = field(default_factory=threading.Event)  # set when the client has gone


@contextmanager
def serve() -> Iterator[ChatServer]:
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(body)
            state.keys.append(self.headers.get("Authorization"))
            if self.path != "/v1/chat/completions":
                self.send_error(404)
                return
            status = state.statuses.pop(0) if state.statuses else state.status
            self.send_response(status)
            for name, value in {"Content-Type": state.content_type, **state.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                if status != 200:
                    error = state.error(body) if callable(state.error) else state.error
                    self.wfile.write(json.dumps(error).encode())
                elif state.raw:
                    for piece in state.raw(body):
                        self.wfile.write(piece)
                        self.wfile.flush()
                else:
                    self._stream(body)
            except (BrokenPipeError, ConnectionResetError):
                state.broken.set()

        def _stream(self, body: dict[str, Any]) -> None:
            self._event({"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]})
            for piece in state.write(body):
                self._event({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
                state.sent += 1
            self._event({"choices": [{"delta": {}, "finish_reason": state.finish}]})
            self._event({"choices": [], "usage": {"total_tokens": 1}})
            self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, event: dict[str, Any]) -> None:
            self.wfile.write(b": keep-alive\n\ndata: " + json.dumps(event).encode() + b"\n\n")
            self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
