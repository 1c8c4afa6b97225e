"""Under which address people reach the studio, and from which address a request comes, with proxies in between.

:class:`PublicAddress` gives each request the scheme, host and path that its browser sees, so that nothing behind it has
to know about proxies. What the operator declares counts first: ``STUDIO_URL``, or ``GRADIO_ROOT_PATH`` as a URL or as a
path. Headers that a proxy adds can be added by anybody else, so X-Forwarded-For, -Host, -Port and -Prefix count only as
far as ``STUDIO_TRUSTED_PROXIES`` says: the number of proxies in front of the studio that add to them (default 0; on a
Space 1). X-Forwarded-Proto can only make the links and the cookie of its own sender stricter, and always counts.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

NETWORK_BITS = 64  # of an IPv6 address: the rest a visitor chooses at will
ADDRESS = "studio.address"  # in the scope of a request: the address that the middleware has found
ASKED_HOST = "studio.asked_host"  # in the scope of a request: its Host header as it was received
DEFAULT_PORTS = {"http": 80, "https": 443}
_FORWARDED = (b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix")
_PREFIX = re.compile(r"(/[\w.~%-]+)+/?")
_HOST = re.compile(r"[\w.-]+(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?")


@dataclass(frozen=True)
class Address:
    """``host`` with its port, where that is not the default of the scheme; ``prefix``: "" or "/path", decoded."""

    scheme: str
    host: str
    prefix: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    def __str__(self) -> str:
        return self.origin + quote(self.prefix)


# --- what the operator declares ---------------------------------------------------------------------------------


def trusted_proxies() -> int:
    given = os.environ.get("STUDIO_TRUSTED_PROXIES", "").strip() or ("1" if os.environ.get("SPACE_ID") else "0")
    if not given.isdecimal():
        raise EmotionOmniError(f"STUDIO_TRUSTED_PROXIES is a number of proxies, not {given[:20]!r}.", "bad-setting")
    return int(given)


def declared_address() -> Address | None:
    """The public address, where the operator or a Space states it. Its prefix may stand in GRADIO_ROOT_PATH alone."""
    space = os.environ.get("SPACE_HOST", "").split(",")[0].strip()
    root = os.environ.get("GRADIO_ROOT_PATH", "").strip()
    given = {
        "STUDIO_URL": os.environ.get("STUDIO_URL", "").strip(),
        "GRADIO_ROOT_PATH": root if "://" in root else "",
        "SPACE_HOST": f"https://{space}" if space else "",
    }
    name = next((name for name, url in given.items() if url), None)
    if name is None:
        return None
    address = _parsed(name, given[name])
    return Address(address.scheme, address.host, address.prefix or declared_prefix())


def declared_prefix() -> str:
    """The path of GRADIO_ROOT_PATH (also where it is a URL): "" or "/path", decoded."""
    root = os.environ.get("GRADIO_ROOT_PATH", "").strip()
    return _parsed("GRADIO_ROOT_PATH", root).prefix if "://" in root else _as_prefix(root)


@lru_cache(maxsize=8)
def _parsed(name: str, url: str) -> Address:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in DEFAULT_PORTS or parts.query or parts.fragment:
        raise EmotionOmniError(f"{name} is an address such as https://lab.example/studio, not {url!r}.", "bad-setting")
    host = f"[{host}]" if ":" in host else host
    if port not in (None, DEFAULT_PORTS[parts.scheme]):
        host += f":{port}"
    return Address(parts.scheme, host, _as_prefix(parts.path))


def _as_prefix(path: str) -> str:
    inside = unquote(path).strip("/")
    return f"/{inside}" if inside else ""


# --- the address of a request -----------------------------------------------------------------------------------


def address_of(scope: Scope) -> Address:
    """The address under which a request reached the studio: declared, or the one that was asked for."""
    return scope.get(ADDRESS) or _find_address(scope)


def _find_address(scope: Scope) -> Address:
    declared = declared_address()
    if declared and declared.prefix:
        return declared
    headers, proxies = Headers(scope=scope), trusted_proxies()
    prefix = declared_prefix() or _forwarded_prefix(headers, proxies) or scope.get("root_path", "").rstrip("/")
    if declared:
        return Address(declared.scheme, declared.host, prefix)
    forwarded_https = headers.get("x-forwarded-proto", "").split(",")[0].strip() == "https"
    https = forwarded_https or scope.get("scheme") in ("https", "wss")
    host = _forwarded_host(headers, proxies) or headers.get("host", "")
    return Address("https" if https else "http", host, prefix)


def _forwarded_host(headers: Headers, proxies: int) -> str:
    host, port = _forwarded(headers, "x-forwarded-host", proxies), _forwarded(headers, "x-forwarded-port", proxies)
    if not _HOST.fullmatch(host):
        return ""
    has_port = re.search(r":\d+$", host) is not None
    return f"{host}:{port}" if port.isdecimal() and port not in ("80", "443") and not has_port else host


def _forwarded_prefix(headers: Headers, proxies: int) -> str:
    prefix = _forwarded(headers, "x-forwarded-prefix", proxies)
    return _as_prefix(prefix) if _PREFIX.fullmatch(prefix) else ""


def _forwarded(headers: Headers, name: str, proxies: int) -> str:
    """What the outermost of the trusted proxies has added; "" where none is trusted."""
    entries = [entry.strip() for entry in ",".join(headers.getlist(name)).split(",") if entry.strip()]
    return entries[-min(proxies, len(entries))] if proxies and entries else ""


def public_url(connection: HTTPConnection) -> str:
    """The address under which people reach this studio, for links. It has no slash at its end."""
    return str(address_of(connection.scope))


def is_own_origin(connection: HTTPConnection, origin: str) -> bool:
    """Whether an Origin header names this studio: the host that was asked for, or the declared address.

    X-Forwarded-Host never counts here, trusted or not: a proxy that only passes it on would let another site choose it.
    """
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    default = DEFAULT_PORTS.get(parts.scheme)
    netloc = parts.netloc.lower().removesuffix(f":{default}") if port == default else parts.netloc.lower()
    asked = connection.scope.get(ASKED_HOST) or connection.headers.get("host", "")
    if netloc and netloc == asked.lower().removesuffix(f":{default}"):
        return True
    declared = declared_address()
    return declared is not None and f"{parts.scheme}://{netloc}" == declared.origin


def client_address(connection: HTTPConnection) -> str:
    """The address of the visitor, or of the network that is one visitor's in IPv6."""
    address = connection.client.host if connection.client else ""
    address = _forwarded(connection.headers, "x-forwarded-for", trusted_proxies()) or address
    try:
        known = ipaddress.ip_address(address.removeprefix("[").split("]")[0].split("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, NETWORK_BITS), strict=False))
    return str(known)


# --- the middleware ---------------------------------------------------------------------------------------------


class PublicAddress:
    """Each request as its browser sees it, whether a proxy has stripped the prefix, kept it, or the app is mounted."""

    def __init__(self, app: ASGIApp, own: Collection[str]) -> None:
        """``own``: the first two steps of our own paths, such as "/studio/me": they never lose a prefix."""
        self._app, self._own = app, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and ADDRESS not in scope:
            scope = _seen_from_outside(scope, self._own)
        await self._app(scope, receive, send)


def _seen_from_outside(scope: Scope, own: Collection[str]) -> Scope:
    address, headers = address_of(scope), Headers(scope=scope)
    asked = headers.get("host", "")
    if headers.get("x-forwarded-host") and not trusted_proxies() and declared_address() is None:
        _warn_of_untrusted(asked)
    dropped = (*_FORWARDED, b"host") + ((b"x-gradio-server",) if declared_address() else ())
    kept = [(name, value) for name, value in scope["headers"] if name not in dropped]
    host = [(b"host", address.host.encode("latin-1"))] if address.host else []
    secure = address.scheme == "https"
    return {
        **scope,
        "path": address.prefix + _inner_path(scope, address.prefix, own),
        "root_path": address.prefix,
        "scheme": ("wss" if secure else "ws") if scope["type"] == "websocket" else address.scheme,
        "headers": host + kept,
        ADDRESS: address,
        ASKED_HOST: asked,
    }


def _inner_path(scope: Scope, prefix: str, own: Collection[str]) -> str:
    """The path within the app. A server or mount that says what it is at has it in the path; a proxy may have."""
    path = _without(scope["path"], scope.get("root_path", "").rstrip("/"))
    return path if "/".join(path.split("/")[:3]) in own else _without(path, prefix)


def route_path(scope: Scope) -> str:
    """The path of a request without the prefix of the app."""
    return _without(scope.get("path", ""), scope.get("root_path", "").rstrip("/"))


def _without(path: str, prefix: str) -> str:
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return path[len(prefix) :] or "/"
    return path


@lru_cache(maxsize=8)
def _warn_of_untrusted(asked: str) -> None:
    """Once for each host."""
    log.warning(
        "A request for %.100r has X-Forwarded-Host, which does not count. If a proxy of yours adds it, set STUDIO_URL "
        "to the public address, or STUDIO_TRUSTED_PROXIES to the number of proxies.",
        asked,
    )
