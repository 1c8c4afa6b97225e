"""Refuses requests that come from another site, and bodies that are too large, not JSON, or cannot be stored.

Also which address a request comes from, and under which address it reached the studio. Headers that a proxy adds can
be added by anybody else, so they count only as far as ``STUDIO_TRUSTED_PROXIES`` says: the number of proxies in front
of the studio that add to X-Forwarded-For (default 0; on a Space 1).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from emotion_omni.types import EmotionOmniError

LARGEST_BODY = 256 * 1024  # bytes; a rating has a few thousand
BODY_SECONDS = 20.0  # in which a body must have arrived
NETWORK_BITS = 64  # of an IPv6 address: the rest a visitor chooses at will


def trusted_proxies() -> int:
    given = os.environ.get("STUDIO_TRUSTED_PROXIES", "").strip() or ("1" if os.environ.get("SPACE_ID") else "0")
    if not given.isdecimal():
        raise EmotionOmniError(f"STUDIO_TRUSTED_PROXIES is a number of proxies, not {given[:20]!r}.", "bad-setting")
    return int(given)


def client_address(connection: HTTPConnection) -> str:
    """The address of the visitor, or of the network that is one visitor's in IPv6."""
    address, proxies = connection.client.host if connection.client else "", trusted_proxies()
    if proxies:
        entries = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        chain = [entry.strip() for entry in entries if entry.strip()]
        address = chain[-min(proxies, len(chain))] if chain else address
    try:
        known = ipaddress.ip_address(address.removeprefix("[").split("]")[0].split("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, NETWORK_BITS), strict=False))
    return str(known)


def public_url(headers: Mapping[str, str]) -> str:
    """The address under which people reach this studio, for links: configured, or the one that was asked for."""
    if configured := os.environ.get("STUDIO_URL", "").strip().rstrip("/"):
        return configured
    if space := os.environ.get("SPACE_HOST", "").split(",")[0].strip():
        return f"https://{space}"
    host, scheme = headers.get("host", ""), headers.get("x-forwarded-proto", "").split(",")[0].strip()
    if trusted_proxies():
        host = headers.get("x-forwarded-host", "").split(",")[-1].strip() or host
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


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
