"""The rating traffic's own path: JSON under ``/studio``, beside the page and its queue.

A rater's click must not wait behind a model's answer, so these routes share nothing with the page's event
queue. Handlers only parse, ask :mod:`journey`, and turn errors into statuses. Every handler tells who asks
from the session cookie; every POST needs ``X-Studio: 1`` and JSON, which no other site can make a browser send.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from annotation.people.hub_sign_in import oauth_is_on
from annotation.people.logins import COOKIE, LOGIN_SECONDS
from annotation.people.people import People
from annotation.rating.enrolment import may_enter
from annotation.rating.playback import NEEDED
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.studio import Studio
from annotation.study import checks
from annotation.study.practice import practice_study
from annotation.study.rules import Study
from annotation.study.templates import TABS
from annotation.study.translate import preferred, translated, words
from emotion_omni.types import EmotionOmniError

LARGEST_BODY = 256 * 1024  # bytes of a request; a rating has a few thousand
STATUSES = {
    "sign-in": 401,
    "forbidden": 403,
    "not-yours": 403,
    "not-found": 404,
    "unheard": 409,
    "lease-lost": 409,
    "conflict": 409,
    "skipped": 409,
    "too-large": 413,
    "locked": 429,
    "closed": 503,
    "disk": 507,
}


Handler = Callable[[Studio, Request, Mapping[str, Any]], Awaitable[Response]]


# --- who and what -----------------------------------------------------------------------------------------------


async def me(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    tab = request.query_params.get("tab", "emotion")
    rater = await run_in_threadpool(studio.people.rater, request.cookies, session(request))
    shown = await run_in_threadpool(_studies, studio, rater, tab if tab in TABS else "emotion") if rater else []
    known = {name: rater[name] for name in ("id", "name", "role")} if rater else None
    language = preferred(request.headers.get("accept-language", ""))
    shown = [
        card | {"template": translated(card["template"], language)} for card in shown
    ]  # titles are their makers' own
    told = {"rater": known, "can_guest": True, "oauth_url": oauth_url(), "studies": shown}
    return JSONResponse(told | {"language": language, "texts": words(language)})


def _studies(studio: Studio, rater: Row, tab: str) -> list[dict[str, Any]]:
    with studio.store.read() as view:
        found = [_card(view, row, rater) for row in view.studies() if Study.read(row["settings"]).form.tab == tab]
    return [card for card in found if card]


def _card(view: View, row: Row, rater: Row) -> dict[str, Any] | None:
    """A study as its entry in the list, if this rater may see it."""
    rules, place = Study.read(row["settings"]), view.enrolment(row["id"], rater["id"])
    if place is None and (row["state"] != "open" or not may_enter(rater, rules)):
        return None
    wanted = view.count_families(row["id"])
    wanted = min(wanted, rules.most_per_rater) if rules.most_per_rater else wanted
    return {
        "id": row["id"],
        "title": rules.title,
        "template": rules.form.title,
        "state": row["state"],
        "wanted": wanted,
        "done": min(view.count_ratings(row["id"], rater["id"]), wanted),
        "phase": place["phase"] if place else "consent",
        "resume": bool(place) and place["phase"] != "done",
        "minutes": max(1, round(wanted * len(rules.form.scales) * 4 / 60)),
    }


async def enter(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    rater = await run_in_threadpool(_enter, studio.people, body)
    told = {"rater": {"id": rater}} | await run_in_threadpool(_led_to, studio, body)
    return signed_in(studio, request, rater, told)


def _led_to(studio: Studio, body: Mapping[str, Any]) -> dict[str, str]:
    """Where a link leads: a rater's to the study, a researcher's to the studies."""
    if "invite" not in body:
        return {}
    told = studio.people.invites.read(body["invite"])
    with studio.store.read() as view:
        row = view.study(told["study"]) if told["study"] else None
    if told["role"] != "rater" and row is None:
        return {"tab": "studies"}
    return {"tab": Study.read(row["settings"]).form.tab, "study": row["id"]} if row else {"tab": "emotion"}


def _enter(people: People, body: Mapping[str, Any]) -> str:
    if "invite" in body:
        return people.invites.accept(body["invite"])
    if body.get("guest"):
        return people.accounts.add_guest(body.get("name"))
    return people.accounts.sign_in(body.get("name"), body.get("password"))


def signed_in(studio: Studio, request: Request, rater: str, told: Mapping[str, Any]) -> Response:
    response = JSONResponse(told)
    response.headers.append("set-cookie", cookie(studio.people.logins.issue(rater), LOGIN_SECONDS, _is_https(request)))
    return response


async def leave(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    session(request).pop("oauth_info", None)
    response = JSONResponse({"left": True})
    response.headers.append("set-cookie", cookie("", 0, _is_https(request)))
    return response


def cookie(value: str, seconds: int, https: bool) -> str:
    """Inside the frame of a Space a cookie must be partitioned; elsewhere it never leaves its own site."""
    framed = (
        "; Secure; SameSite=None; Partitioned"
        if os.environ.get("SPACE_ID")
        else "; SameSite=Lax" + ("; Secure" if https else "")
    )
    return f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly{framed}"


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def session(request: Request) -> dict[str, Any]:
    """Where Gradio keeps whom Hugging Face has signed in; empty where that is not set up."""
    return request.scope.get("session", {})


def oauth_url() -> str | None:
    return "/login/huggingface" if oauth_is_on() else None


# --- rating -----------------------------------------------------------------------------------------------------


async def next_screen(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    rater, study = _who(studio, request), str(body.get("study"))
    return JSONResponse(await _write(studio, lambda transaction: studio.sessions.next(transaction, study, rater)))


async def clip(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    """The bytes of a clip under a name that tells nothing; the proof that they were fetched goes in a header."""
    rater, name, number = _who(studio, request), request.path_params["assignment"].hex, request.path_params["number"]
    known = studio.sessions.cached_clip(rater, name, number)
    sha, proof = known or await run_in_threadpool(_clip, studio, rater, name, number)
    data = studio.clips.read(sha)  # small, and in the system's cache: quicker than a thread
    return Response(data, media_type="audio/flac", headers={"X-Proof": proof, "Cache-Control": "no-store"})


def _clip(studio: Studio, rater: str, name: str, number: int) -> tuple[str, str]:
    with studio.store.read() as view:
        return studio.sessions.clip(view, rater, name, number)


async def example(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    """A recording that the instructions let everybody hear."""
    data = await run_in_threadpool(checks.example, request.path_params["name"])
    return Response(data, media_type="audio/flac")


async def heard(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    rater = _who(studio, request)
    told = studio.sessions.heard(body)
    if not body.get("played"):  # a heartbeat
        await _write(studio, lambda transaction: studio.sessions.renew(transaction, rater, str(body.get("assignment"))))
    return JSONResponse(told | {"needed": NEEDED})


async def submit(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    rater = _who(studio, request)
    told = await _write(studio, lambda transaction: studio.sessions.submit(transaction, rater, body))
    fresh = studio.webhooks is not None and not told["repeat_of_known"]
    return JSONResponse(told, background=BackgroundTask(studio.announce_rating, told["id"]) if fresh else None)


async def skip(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    rater = _who(studio, request)
    return JSONResponse(await _write(studio, lambda transaction: studio.sessions.skip(transaction, rater, body)))


async def phase(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    rater = _who(studio, request)
    told = await _write(studio, lambda transaction: studio.sessions.confirm_phase(transaction, rater, body))
    over = studio.webhooks is not None and body.get("phase") == "survey"
    return JSONResponse(
        told, background=BackgroundTask(studio.announce_finished, str(body.get("study")), rater) if over else None
    )


async def practice(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    await run_in_threadpool(studio.people.require, request.cookies, "rater", session(request))
    return JSONResponse(
        {"study": await run_in_threadpool(practice_study, studio.store, studio.clips, str(body.get("tab")))}
    )


async def withdraw(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    """All that this rater gave: in one study, or everywhere and the rater too."""
    known = await run_in_threadpool(studio.people.require, request.cookies, "rater", session(request))
    rater, study = known["id"], body.get("study")
    erased = await run_in_threadpool(studio.withdraw, rater=rater, study=str(study) if study else None)
    response = JSONResponse({"erased": erased})
    if not study:
        session(request).pop("oauth_info", None)  # or the next request would make the account anew
        response.headers.append("set-cookie", cookie("", 0, _is_https(request)))
    return response


async def take_back(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    """A voice saved from the Talk tab is taken back with the code that was given for it."""
    erased = await run_in_threadpool(studio.withdraw_voice, str(body.get("code")))
    return JSONResponse({"erased": erased})


async def export(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    """A study's whole export as a zip file, for researchers."""
    from annotation.export.writing import export_zip

    await run_in_threadpool(studio.people.require, request.cookies, "researcher", session(request))
    path = await run_in_threadpool(export_zip, studio, request.path_params["study"])
    name = f"{request.path_params['study']}.zip"
    return FileResponse(path, filename=name, background=BackgroundTask(path.unlink, missing_ok=True))


async def listen(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    """A clip of an item, for the researcher who adjudicates it."""
    await run_in_threadpool(studio.people.require, request.cookies, "researcher", session(request))
    with studio.store.read() as view:
        item = view.item(request.path_params["item"])
    played = (item or {"content": {}})["content"].get("clips", {}).get(request.path_params["role"])
    if played is None:
        raise EmotionOmniError("There is no such clip.", "not-found")
    data = await run_in_threadpool(studio.clips.read, played["played"])
    return Response(data, media_type="audio/flac", headers={"Cache-Control": "no-store"})


def _who(studio: Studio, request: Request) -> str:
    rater = studio.people.rater_id(request.cookies, session(request))
    if rater is None:
        raise EmotionOmniError("Please sign in first.", "sign-in")
    return rater


async def _write(studio: Studio, operation: Callable[[Transaction], Any]) -> Any:
    return await asyncio.wrap_future(studio.store.enqueue(operation))


# --- wiring -----------------------------------------------------------------------------------------------------


def routes(studio: Studio) -> Starlette:
    """The application to mount under ``/studio``."""
    posts: dict[str, Handler] = {
        "enter": enter,
        "leave": leave,
        "next": next_screen,
        "heard": heard,
        "submit": submit,
        "skip": skip,
        "phase": phase,
        "practice": practice,
        "withdraw": withdraw,
        "take-back": take_back,
    }
    found = [Route(f"/{name}", _endpoint(studio, handler), methods=["POST"]) for name, handler in posts.items()]
    found += [
        Route("/me", _endpoint(studio, me)),
        Route("/clip/{assignment:uuid}/{number:int}", _endpoint(studio, clip)),
        Route("/example/{name}", _endpoint(studio, example)),
        Route("/listen/{item}/{role}", _endpoint(studio, listen)),
        Route("/export/{study}.zip", _endpoint(studio, export)),
    ]
    return Starlette(routes=found)


def _endpoint(studio: Studio, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            refuse_foreign(request.headers)
            body = await _body(request) if request.method == "POST" else {}
            return await handler(studio, request, body)
        except EmotionOmniError as error:
            told = {"error": {"code": error.code, "message": str(error)}}
            return JSONResponse(told, STATUSES.get(error.code, 422))

    return serve


def refuse_foreign(headers: Mapping[str, str]) -> None:
    """Gradio lets scripts of any origin in, with cookies. A browser says itself where they come from; what is no browser has no cookie."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = (
        site not in ("same-origin", "none") if site else bool(origin) and urlsplit(origin).netloc != headers.get("host")
    )
    if foreign:
        raise EmotionOmniError("This request comes from another site.", "forbidden")


async def _body(request: Request) -> Mapping[str, Any]:
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
        raise EmotionOmniError("The body of the request is no JSON.", "bad-request") from None
    if not isinstance(body, dict):
        raise EmotionOmniError("The body of the request must be an object.", "bad-request")
    return body


def _refuse_unstorable(body: Any) -> None:
    """What Python reads as JSON but no database keeps: NaN, half a surrogate pair, the character 0."""
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    text.encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("The character 0 cannot be stored.")
