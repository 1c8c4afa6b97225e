"""Webhooks: tell another server what happens in the studio, by signed JSON in POST requests, in order, with retries.

Signatures follow the Standard Webhooks specification 1.0 (standardwebhooks.com): headers ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature``, "v1," and base64 of HMAC-SHA256 over "id.timestamp.body". Messages
name people by pseudonym only: of the facts given, only the fields listed here are sent. Sending neither waits nor
fails; a message that cannot be delivered is dropped with a line in the log. The queue does not survive a restart.

It does not know studies: its callers decide when something has happened.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

EVENTS: Mapping[str, tuple[str, ...]] = {  # the fields that leave: ids, counts and codes; no names, no answers
    "rating.created": ("submit", "study", "item", "rater", "kind", "at"),
    "study.completed": ("study", "ratings", "raters"),
    "rater.flagged": ("study", "rater", "reasons"),
    "exclusions.jumped": ("study", "flagged", "checked", "message"),
}
WAITS = (1.0, 4.0, 16.0, 64.0)  # seconds between five tries
MOST_WAITING = 1_000  # messages, of some 300 bytes each
TIMEOUT_SECONDS = 10.0
SHORTEST_KEY = 24  # bytes, as the specification asks


@dataclass(frozen=True)
class Message:
    name: str
    id: str
    body: bytes


class Webhooks:
    """Delivers to one ``url``. ``secret``: "whsec_" and base64 of at least 24 bytes, known to both sides."""

    def __init__(self, url: str, secret: str, waits: Sequence[float] = WAITS, most_waiting: int = MOST_WAITING) -> None:
        self._url, self._secret, self._waits, self._most = _checked(url), secret, tuple(waits), most_waiting
        _key(secret)
        self._waiting: deque[Message] = deque()
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_environment(cls) -> Webhooks | None:
        """With ``STUDIO_WEBHOOK_URL`` and ``STUDIO_WEBHOOK_SECRET``; None where no URL is set."""
        url = os.environ.get("STUDIO_WEBHOOK_URL", "").strip()
        return cls(url, os.environ.get("STUDIO_WEBHOOK_SECRET", "").strip()) if url else None

    def send(self, name: str, facts: Mapping[str, Any]) -> None:
        """Queue a message: an event of ``EVENTS`` and its facts, of which only the event's fields are sent.

        Returns at once. In a full queue it takes the place of the oldest. ``ValueError``: there is no such event.
        """
        if name not in EVENTS:
            raise ValueError(f"{name!r} is not an event. Use one of {', '.join(EVENTS)}.")
        data = {field: facts[field] for field in EVENTS[name] if field in facts}
        message = {"type": name, "timestamp": datetime.now(UTC).isoformat(), "data": data}
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"), default=str).encode()
        with self._news:
            if len(self._waiting) >= self._most:
                oldest = self._waiting.popleft()
                log.warning(
                    "More than %d webhooks wait for %s: %s %s is dropped.",
                    self._most,
                    self._url.host,
                    oldest.name,
                    oldest.id,
                )
            self._waiting.append(Message(name, "msg_" + uuid.uuid4().hex, body))
            self._news.notify()

    def start(self) -> None:
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, daemon=True, name="webhooks")
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Try each queued message once more, for at most so long."""
        if self._thread is None:
            return
        with self._news:
            self._stopping.set()
            self._news.notify()
        self._thread.join(seconds)
        self._thread = None

    def _run(self) -> None:
        # A proxy leads to other computers, not to this one.
        options: dict[str, Any] = {
            "timeout": TIMEOUT_SECONDS,
            "follow_redirects": False,
            "trust_env": not _is_loopback(self._url.host),
        }
        with httpx.Client(**options) as client:
            while message := self._next():
                self._deliver(client, message)

    def _next(self) -> Message | None:
        """The oldest message, waited for; None when stopping and nothing waits."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._stopping.is_set())
            return self._waiting.popleft() if self._waiting else None

    def _deliver(self, client: httpx.Client, message: Message) -> None:
        """Try until it is accepted, the tries are used up, or the studio stops. The others wait: order is kept."""
        for wait in (*self._waits, 0.0):
            problem = self._post(client, message)
            if not problem:
                return
            if self._stopping.wait(wait):
                break
        log.warning("The webhook %s %s to %s was given up: %s.", message.name, message.id, self._url.host, problem)

    def _post(self, client: httpx.Client, message: Message) -> str:
        """→ what went wrong, or "". The URL's path may be a secret, so it is not logged; the response is not read."""
        headers = {"content-type": "application/json"} | signed(
            message.id, int(time.time()), message.body, self._secret
        )
        try:
            with client.stream("POST", self._url, content=message.body, headers=headers) as answer:
                return "" if answer.is_success else f"it answered {answer.status_code}"
        except httpx.HTTPError as error:
            return type(error).__name__


def signed(name: str, seconds: int, body: bytes, secret: str) -> dict[str, str]:
    """The headers of a message. ``name``: its id, the same at every try; ``seconds``: when it is sent, since 1970."""
    signature = Webhook(_key(secret)).sign(name, datetime.fromtimestamp(seconds, UTC), body.decode())
    return {"webhook-id": name, "webhook-timestamp": str(seconds), "webhook-signature": signature}


def verify(headers: Mapping[str, str], body: bytes, secret: str) -> dict[str, Any]:
    """For receivers: the message, if it was signed with the secret and is at most five minutes old.

    Errors: ``bad-signature``, ``stale``. A message may arrive twice, with the same ``webhook-id``.
    """
    try:
        return Webhook(_key(secret)).verify(body, dict(headers))
    except WebhookVerificationError as error:
        if "too old" in str(error) or "too new" in str(error):
            message = "This webhook was not sent just now. Refuse it, and check this computer's clock."
            raise EmotionOmniError(message, "stale") from None
    except ValueError:  # what is no base64, no UTF-8 or no pair of version and signature
        pass
    raise EmotionOmniError(
        "The signature of this webhook does not fit. Compare the secrets, and verify the raw body.", "bad-signature"
    )


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SHORTEST_KEY:
        raise EmotionOmniError(
            f"STUDIO_WEBHOOK_SECRET must be 'whsec_' and base64 of at least {SHORTEST_KEY} random bytes. Make one: "
            "python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\"",
            "bad-setting",
        )
    return key


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if not parsed.host or not (parsed.scheme == "https" or (parsed.scheme == "http" and _is_loopback(parsed.host))):
        place = f"{parsed.scheme}://{parsed.host}" if parsed.host else "what was given"
        raise EmotionOmniError(
            f"STUDIO_WEBHOOK_URL must be https:// (or http:// on this computer), not {place}.", "bad-setting"
        )
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
