"""Streamed chat completions over HTTP, with time limits: what any OpenAI-compatible server sends → its choices."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

MAX_ERROR = 200  # characters of a server's own message in ours
MAX_LINE = 1 << 20  # bytes of one event
BACKOFF = 0.4  # seconds before the second attempt; doubled for each further one
MAX_BACKOFF = 4.0  # also where the server asks for more: a person is waiting
BUSY = (408, 425, 429, 500, 502, 503, 504, 529)  # statuses after which another attempt may succeed
OPTIONAL = ("seed", "top_p", "temperature", "stream", "max_tokens", "response_format")  # what a server may refuse


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, to the first token, between tokens and for the whole reply; further attempts."""

    connect: float
    first: float
    gap: float
    total: float
    retries: int


class ServerError(EmotionOmniError):
    """``again``: whether another attempt may succeed; ``wait``: seconds that the server asks for."""

    def __init__(self, message: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(message, "server")
        self.again, self.wait = again, wait


class Watchdog:
    """Calls ``expire`` once, from another thread, when the time that was last allowed has passed."""

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._changed = threading.Condition()
        self._end, self._closed, self.expired = float("inf"), False, False
        threading.Thread(target=self._run, daemon=True).start()

    def allow(self, seconds: float) -> None:
        with self._changed:
            self._end = time.monotonic() + seconds
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed and (left := self._end - time.monotonic()) > 0:
                self._changed.wait(min(left, 3600.0))
            if self._closed:
                return
            self.expired = True
        self._expire()


class ChatStream:
    """One model of one server. ``key_name``: the variable with its key, for errors. ``transport``: for tests."""

    def __init__(
        self, base_url: str, model: str, key_name: str, limits: Limits, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.base_url, self.model, self.key_name, self.limits = base_url.rstrip("/"), model, key_name, limits
        self._transport = transport
        self._dialect: set[str] = set()  # optional parameters that this server has refused

    def choices(self, body: dict[str, Any], key: str) -> Generator[dict[str, Any], None, None]:
        """The first choice of each event. Closing it closes the connection.

        Connection errors and a busy server are tried again until something has arrived. Raises :class:`ServerError`.
        """
        end = time.monotonic() + self.limits.total
        for attempt in range(self.limits.retries + 1):
            arrived = False
            try:
                with closing(self._accepted(body, key, end)) as events:
                    for choice in events:
                        arrived = arrived or _has_token(choice)
                        yield choice
                return
            except ServerError as error:
                wait = min(max(error.wait, BACKOFF * 2**attempt), MAX_BACKOFF)
                last = attempt == self.limits.retries or time.monotonic() + wait >= end
                if arrived or last or not error.again:
                    raise
                log.info("Trying the language model server again in %.1f s: %s", wait, error)
                time.sleep(wait)

    def _accepted(self, body: dict[str, Any], key: str, end: float) -> Generator[dict[str, Any], None, None]:
        """The events of a request without the optional parameters that the server refuses."""
        while True:
            try:
                yield from self._events(_without(body, self._dialect), key, end)
                return
            except _ParameterRefused as refusal:
                if refusal.name in self._dialect:
                    raise refusal.error from refusal
                self._dialect.add(refusal.name)

    def _events(self, body: dict[str, Any], key: str, end: float) -> Generator[dict[str, Any], None, None]:
        limits = self.limits
        timeout = httpx.Timeout(limits.first, connect=limits.connect)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with (
                httpx.Client(timeout=timeout, transport=self._transport) as client,
                client.stream("POST", f"{self.base_url}/chat/completions", json=body, headers=headers) as response,
            ):
                watchdog = Watchdog(lambda: _shut_down(response))
                try:
                    yield from self._watched(response, body, watchdog, end)
                except httpx.HTTPError as error:
                    raise self._late(end) if watchdog.expired else self._broken(type(error).__name__) from error
                finally:
                    watchdog.close()
        except httpx.ConnectTimeout as error:
            raise self._absent(f"no connection within {limits.connect:g} s") from error
        except httpx.TimeoutException as error:
            raise self._late(end) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._absent(type(error).__name__) from error

    def _watched(
        self, response: httpx.Response, body: dict[str, Any], watchdog: Watchdog, end: float
    ) -> Generator[dict[str, Any], None, None]:
        first, finished = time.monotonic() + self.limits.first, False
        watchdog.allow(min(first, end) - time.monotonic())
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response.status_code, _text(response), response, body)
        kind = response.headers.get("content-type", "text/event-stream").partition(";")[0].strip().lower()
        if kind == "application/json":  # a server that does not stream
            yield self._whole(_text(response))
            return
        if kind not in ("text/event-stream", "text/plain", "application/x-ndjson", "application/octet-stream"):
            raise self._not_ours(kind)
        for line in _lines(response.iter_bytes()):
            if watchdog.expired or time.monotonic() > end:
                raise self._late(end)
            field, _, data = line.partition(":")
            data = data.strip()
            if field == "data" and data == "[DONE]":
                return
            if field != "data" or not data:
                continue  # comments that keep the connection open, and fields of no use here: they do not count as life
            for choice in self._parsed(data):
                finished = finished or bool(choice.get("finish_reason"))
                if _has_token(choice):
                    watchdog.allow(min(self.limits.gap, end - time.monotonic()))
                yield choice
        if watchdog.expired:
            raise self._late(end)
        if not finished:
            raise self._broken("the stream ended in the middle")

    def _parsed(self, data: str) -> list[dict[str, Any]]:
        try:
            event = json.loads(data)
            if event.get("error"):
                raise ValueError
            return [dict(choice) for choice in event["choices"][:1]]  # none where usage is reported
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._broken(_short(_message(data) or data)) from error

    def _whole(self, text: str) -> dict[str, Any]:
        choices = self._parsed(text)
        if not choices:
            raise self._broken("a completion without choices")
        return {"delta": choices[0].get("message") or {}, "finish_reason": choices[0].get("finish_reason") or "stop"}

    # --- errors, each with what to do -----------------------------------------------------------------------------

    @property
    def _server(self) -> str:
        return f"The language model server at {self.base_url}"

    def _absent(self, why: str) -> ServerError:
        return ServerError(f"{self._server} cannot be reached ({why}). Start it, or correct base_url.", again=True)

    def _late(self, end: float) -> ServerError:
        limits = self.limits
        if time.monotonic() >= end - 0.01:
            return ServerError(f"{self._server} did not finish within {limits.total:g} s. Raise total_timeout.")
        return ServerError(
            f"{self._server} sent nothing for {limits.first:g} s before a reply, or {limits.gap:g} s inside it. Check "
            "that it is not overloaded, or raise timeout and gap_timeout."
        )

    def _broken(self, why: str) -> ServerError:
        return ServerError(f"{self._server} broke off: {_short(why)} See its log.", again=True)

    def _not_ours(self, kind: str) -> ServerError:
        return ServerError(
            f"{self._server} answered with {kind or 'nothing'}, not with a chat completion. Correct base_url, "
            f"which ends "
            "where /chat/completions follows, often in /v1."
        )

    def _refusal(
        self, status: int, text: str, response: httpx.Response, body: dict[str, Any]
    ) -> ServerError | _ParameterRefused:
        said = _short(_message(text) or response.reason_phrase)
        fix = {
            401: f"Set the environment variable {self.key_name} to a valid key.",
            403: f"Set the environment variable {self.key_name} to a key that may use this model.",
            404: "Check the name of the model, and base_url, which ends where /chat/completions follows.",
            429: "It is out of quota or overloaded; try again later.",
        }.get(status, "Check the name of the model and the log of the server.")
        error = ServerError(
            f"{self._server} refused the request for {self.model!r}: {status}, {said} {fix}",
            again=status in BUSY,
            wait=_seconds(response.headers.get("retry-after", "")),
        )
        named = _refused_parameter(text, body) if status in (400, 422) else ""
        return _ParameterRefused(named, error) if named else error


class _ParameterRefused(Exception):
    def __init__(self, name: str, error: ServerError) -> None:
        super().__init__(name)
        self.name, self.error = name, error


def _has_token(choice: dict[str, Any]) -> bool:
    """Whether a choice holds more than a role: words or thoughts."""
    delta = choice.get("delta") or {}
    return any(delta.get(name) for name in ("content", "reasoning_content", "reasoning"))


def _without(body: dict[str, Any], refused: set[str]) -> dict[str, Any]:
    """The request in the dialect of a server: newer ones call ``max_tokens`` ``max_completion_tokens``."""
    found = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused and "max_tokens" in body:
        found["max_completion_tokens"] = body["max_tokens"]
    return found


def _refused_parameter(text: str, body: dict[str, Any]) -> str:
    """The optional parameter of ours that a refusal names, if any."""
    said = (_message(text) or text).lower()
    if "max_completion_tokens" in said and "max_tokens" in body:
        return "max_tokens"
    return next((name for name in OPTIONAL if name in body and name != "stream" and name in said), "")


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Lines that end in LF or CRLF. Not by str.splitlines: JSON may hold U+2028 and the like as they are."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise ServerError("The language model server sent a line without end. Correct base_url.")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace").lstrip("\ufeff")
    if rest.strip():
        yield rest.decode("utf-8", "replace")


def _shut_down(response: httpx.Response) -> None:
    """Wakes a read that waits in another thread: closing the socket would not."""
    stream = response.extensions.get("network_stream")
    found = stream.get_extra_info("socket") if stream else None
    if found is not None:
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)


def _text(response: httpx.Response) -> str:
    """The body of an answer that is no stream, as far as :data:`MAX_LINE`."""
    found = b""
    for chunk in response.iter_bytes():
        found += chunk
        if len(found) > MAX_LINE:
            break
    return found.decode("utf-8", "replace")


def _message(text: str) -> str:
    """The message in a server's error, in the forms of OpenAI, vLLM, Ollama and FastAPI."""
    try:
        found = json.loads(text)
        error = found.get("error") or found.get("message") or found.get("detail")
    except (ValueError, AttributeError):
        return ""
    if isinstance(error, dict):
        error = error.get("message", "")
    return str(error or "")


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0  # a date, or nothing


def _short(text: str) -> str:
    text = " ".join(text.split())[:MAX_ERROR] or "no reason given"
    return text if text.endswith((".", "!", "?")) else text + "."
