"""Refuses requests that come from another site, and bodies that are too large, not JSON, or cannot be stored."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from starlette.requests import HTTPConnection, Request

from annotation.rating.public_address import ASKED_HOST, is_own_origin
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

LARGEST_BODY = 256 * 1024  # bytes; a rating has a few thousand
BODY_SECONDS = 20.0  # in which a body must have arrived
ANOTHER_SITE = (
    "This request comes from another site. If you opened the studio itself, its operator has to set STUDIO_URL to the "
    "address that you see."
)


def refuse_foreign(connection: HTTPConnection) -> None:
    """Gradio admits scripts of any origin, with cookies. Browsers state the origin; other programs have no cookie."""
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    if site:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = bool(origin) and not is_own_origin(connection, origin or "")
    if foreign:
        _tell_operator(origin or "", connection.scope.get(ASKED_HOST) or connection.headers.get("host", ""))
        raise EmotionOmniError(ANOTHER_SITE, "forbidden")


@lru_cache(maxsize=64)
def _tell_operator(origin: str, host: str) -> None:
    """Once for each origin: the address of a proxy that nobody has declared looks like another site."""
    log.warning(
        "Refused a request from %.100r to %.100r: another site. If that is the address of a proxy of yours, start the "
        "studio with STUDIO_URL set to it.",
        origin,
        host,
    )


async def read_body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a POST. Its headers cannot be sent by a form of another site."""
    kind = request.headers.get("content-type", "").split(";")[0]
    if request.headers.get("x-studio") != "1" or kind != "application/json":
        raise EmotionOmniError(
            "A request needs the header X-Studio: 1 and a body of type application/json.", "forbidden"
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await _read(request)
    except TimeoutError:
        raise EmotionOmniError("The request did not arrive in time. Please send it again.", "slow") from None
    try:
        body = json.loads(data or b"{}")
        _refuse_unstorable(body)
    except (ValueError, RecursionError):
        raise EmotionOmniError("The body of the request is not JSON.", "bad-request") from None
    if not isinstance(body, dict):
        raise EmotionOmniError("The body of the request must be an object.", "bad-request")
    return body


async def _read(request: Request) -> bytes:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > LARGEST_BODY:
            raise EmotionOmniError(f"A request may have {LARGEST_BODY // 1024} kB.", "too-large")
    return bytes(data)


def _refuse_unstorable(body: Any) -> None:
    """What Python reads as JSON but databases do not store: NaN, half a surrogate pair, the character 0."""
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    text.encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("The character 0 cannot be stored.")
