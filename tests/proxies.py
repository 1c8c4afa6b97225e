"""Reverse proxies of the kinds that people put before the studio, as one small server in threads."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Front:
    """``port``: of the proxy; ``backend``: the port that it forwards to."""

    port: int = 0
    backend: int = 0


@contextlib.contextmanager
def proxy(
    prefix: str = "/emo", strips: bool = True, keeps_host: bool = False, adds: Mapping[str, str] | None = None
) -> Iterator[Front]:
    """A proxy to a port of this machine, which is named later.

    ``strips``: whether it takes the prefix off the path. ``keeps_host``: otherwise the backend sees its own address as
    Host. ``adds``: headers it sets, in which "{host}" stands for the host that was asked for.
    """

    front = Front()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            path = self.path
            if not path.startswith(prefix):
                self._answer(404, [], iter(()), "0")
                return
            if strips:
                path = path.removeprefix(prefix)
                path = path if path.startswith("/") else "/" + path
            size = int(self.headers.get("content-length") or 0)
            connection = http.client.HTTPConnection("127.0.0.1", front.backend)
            with contextlib.closing(connection):
                connection.request(self.command, path, self.rfile.read(size) if size else None, self._headers())
                response = connection.getresponse()
                pieces = iter(lambda: response.read1(65_536), b"")
                self._answer(response.status, response.getheaders(), pieces, response.getheader("content-length"))

        def _headers(self) -> dict[str, str]:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP | {"host"}}
            host = self.headers["Host"]
            kept["Host"] = host if keeps_host else f"127.0.0.1:{front.backend}"
            return kept | {name: value.format(host=host) for name, value in (adds or {}).items()}

        def _answer(
            self, status: int, headers: list[tuple[str, str]], pieces: Iterator[bytes], length: str | None
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            if length is not None:
                self.send_header("Content-Length", length)
            self.end_headers()
            self.close_connection = True
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the browser has left
                for piece in pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()

        do_GET = do_POST = do_HEAD = do_OPTIONS = forward

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    front.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
