"""The report of an engine that ``python -m emotion_omni evaluate`` has written: a link beside the menu, and its page.

The query names an engine of the menu, never a path; reports of other engines are not to be had. The page has no script,
and its headers forbid any.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from emotion_omni import engine
from emotion_omni.evaluate import reports

PATH = "/model-report"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
HOW = "No model report yet: python -m emotion_omni evaluate {} --out FOLDER"


def link(name: str) -> str:
    """HTML: the link to an engine's report, or how to make one. It is relative, so that it works behind any prefix."""
    if name not in _offered() or reports.page_of(name) is None:
        return f'<div class="privacy">{html.escape(HOW.format(name))}</div>'
    address = f"{PATH.lstrip('/')}?engine={quote(name, safe='')}"
    return f'<div class="privacy"><a href="{address}" target="_blank" rel="noopener">Model report</a></div>'


def _offered() -> list[str]:
    return list(dict.fromkeys([engine.public(engine.default()), *engine.offered()]))


async def _serve(request: Request) -> Response:
    name = request.query_params.get("engine", "")
    path = reports.page_of(name) if name in _offered() else None
    if path is None:
        return PlainTextResponse("There is no report of such an engine here.", 404, HEADERS)
    return FileResponse(path, media_type="text/html", headers=HEADERS)


ROUTE = Route(PATH, _serve, methods=["GET"])
