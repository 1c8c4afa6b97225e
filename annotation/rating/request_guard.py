"""Refuses requests that come from another site, and bodies that are too large, not JSON, or cannot be stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from emotion_omni.types import EmotionOmniError

LARGEST_BODY = 256 * 1024  # bytes; a rating has a few thousand


def refuse_foreign(headers: Mapping[str, str]) -> None:
    """Gradio admits scripts of any origin, with cookies. Browsers state the origin; other programs have no cookie."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = bool(origin) and urlsplit(origin).netloc != headers.get("host")
    if foreign:
        raise EmotionOmniError("This request comes from another site.", "forbidden")


async def read_body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a POST. Its headers cannot be sent by a form of another site."""
    kind = request.headers.get("content-type", "").split(";")[0]
    if request.headers.get("x-studio") != "1" or kind != "application/json":
        raise EmotionOmniError(
            "A request needs the header X-Studio: 1 and a body of type application/json.", "forbidden"
        )
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > LARGEST_BODY:
            raise EmotionOmniError(f"A request may have {LARGEST_BODY // 1024} kB.", "too-large")
    try:
        body = json.loads(data or b"{}")
        _refuse_unstorable(body)
    except (ValueError, RecursionError):
        raise EmotionOmniError("The body of the request is not JSON.", "bad-request") from None
    if not isinstance(body, dict):
        raise EmotionOmniError("The body of the request must be an object.", "bad-request")
    return body


def _refuse_unstorable(body: Any) -> None:
    """What Python reads as JSON but databases do not store: NaN, half a surrogate pair, the character 0."""
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    text.encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("The character 0 cannot be stored.")
