"""The HTTP routes of rating: JSON under ``/studio``, beside the page and its queue.

A rater's click must not wait for a model's answer, so these routes share nothing with the page's event queue.
Handlers only parse, ask :mod:`annotation.rating.session`, and turn errors into statuses. They know the rater by the
login's cookie; every POST needs ``X-Studio: 1`` and JSON, which another site cannot make a browser send. How often a
route may be asked for is in :data:`annotation.rating.limits.LIMITS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from annotation.people.accounts import account_of
from annotation.rating.completion_codes import as_csv, completion_codes
from annotation.rating.limits import TooMany
from annotation.rating.login_routes import current_rater, enter, leave, me, require_role, signed_out
from annotation.rating.playback import NEEDED
from annotation.rating.public_address import PublicAddress
from annotation.rating.request_guard import read_body, refuse_foreign
from annotation.rating.visitors import visitor
from annotation.store.transaction import Transaction
from annotation.studio import Studio
from annotation.study import checks
from annotation.study.practice import practice_study
from emotion_omni.types import EmotionOmniError

STATUSES = {
    "sign-in": 401,
    "forbidden": 403,
    "not-yours": 403,
    "not-found": 404,
    "unheard": 409,
    "lease-lost": 409,
    "conflict": 409,
    "skipped": 409,
    "too-early": 409,
    "signed-in": 409,
    "slow": 408,
    "too-large": 413,
    "locked": 429,
    "too-many": 429,
    "closed": 503,
    "disk": 507,
}

Body = Mapping[str, Any]
Handler = Callable[[Studio, Request, Body], Awaitable[Response]]


# --- rating -----------------------------------------------------------------------------------------------------


async def next_screen(studio: Studio, request: Request, body: Body) -> Response:
    rater, study = await current_rater(studio, request), str(body.get("study"))
    address = visitor(studio, request).address
    return JSONResponse(
        await _write(studio, lambda transaction: studio.sessions.next(transaction, study, rater, address))
    )


async def clip(studio: Studio, request: Request, _: Body) -> Response:
    """The bytes of a clip, under a name that tells nothing. A header has the proof that they were fetched."""
    rater, number = await current_rater(studio, request), request.path_params["number"]
    assignment = request.path_params["assignment"].hex
    data = await run_in_threadpool(_clip_copy, studio, rater, assignment, number)
    headers = {"Cache-Control": "no-store"}
    if request.method == "GET":  # HEAD gets no bytes
        headers["X-Proof"] = studio.sessions.fetch_proof(rater, assignment, number)
    return Response(data, media_type="audio/flac", headers=headers)


def _clip_copy(studio: Studio, rater: str, assignment: str, number: int) -> bytes:
    sha = studio.sessions.cached_clip(rater, assignment, number)
    if sha is None:
        with studio.store.read() as view:
            sha = studio.sessions.clip(view, rater, assignment, number)
    return studio.sessions.copy(studio.clips.read(sha), assignment, number)


async def example(studio: Studio, request: Request, _: Body) -> Response:
    """A recording of the instructions, open to all."""
    data = await run_in_threadpool(checks.example, request.path_params["name"])
    return Response(data, media_type="audio/flac")


async def heard(studio: Studio, request: Request, body: Body) -> Response:
    """A report of what was played. An empty one is a heartbeat: it renews the lease."""
    rater = await current_rater(studio, request)
    answer = await run_in_threadpool(studio.sessions.heard, rater, body)
    if not body.get("played"):
        await _write(studio, lambda transaction: studio.sessions.renew(transaction, rater, str(body.get("assignment"))))
    return JSONResponse(answer | {"needed": NEEDED})


async def submit(studio: Studio, request: Request, body: Body) -> Response:
    rater = await current_rater(studio, request)
    receipt = await _write(studio, lambda transaction: studio.sessions.submit(transaction, rater, body))
    announce = None
    if studio.webhooks is not None and not receipt["repeat_of_known"]:
        announce = BackgroundTask(studio.announce_rating, receipt["id"])
    return JSONResponse(receipt, background=announce)


async def skip(studio: Studio, request: Request, body: Body) -> Response:
    rater = await current_rater(studio, request)
    return JSONResponse(await _write(studio, lambda transaction: studio.sessions.skip(transaction, rater, body)))


async def phase(studio: Studio, request: Request, body: Body) -> Response:
    rater = await current_rater(studio, request)
    answer = await _write(studio, lambda transaction: studio.sessions.confirm_phase(transaction, rater, body))
    announce = None
    if studio.webhooks is not None and body.get("phase") == "survey":
        announce = BackgroundTask(studio.announce_finished, str(body.get("study")), rater)
    return JSONResponse(answer, background=announce)


async def practice(studio: Studio, request: Request, body: Body) -> Response:
    await require_role(studio, request, "rater")
    study = await run_in_threadpool(practice_study, studio.store, studio.clips, str(body.get("tab")))
    return JSONResponse({"study": study})


# --- withdrawals ------------------------------------------------------------------------------------------------


async def withdraw(studio: Studio, request: Request, body: Body) -> Response:
    """Erase what this rater gave in one study; without a study everything, the rater too."""
    rater, study = (await require_role(studio, request, "rater"))["id"], body.get("study")
    if study and not await run_in_threadpool(_is_enrolled, studio, str(study), rater):
        return JSONResponse({"erased": 0})  # without a search through the whole log
    erased = await run_in_threadpool(studio.withdraw, rater=rater, study=str(study) if study else None)
    if study:
        return JSONResponse({"erased": erased})
    return signed_out(request, {"erased": erased})  # or the next request would create the account again


def _is_enrolled(studio: Studio, study: str, rater: str) -> bool:
    with studio.store.read() as view:
        return view.enrolment(study, rater) is not None


async def take_back(studio: Studio, request: Request, body: Body) -> Response:
    """Erase by a code: a rater by their withdrawal code, or a voice that was given on the Talk tab."""
    return JSONResponse({"erased": await run_in_threadpool(studio.withdraw_by_code, str(body.get("code")))})


# --- for researchers --------------------------------------------------------------------------------------------


async def export(studio: Studio, request: Request, _: Body) -> Response:
    """A study's whole export as a zip file; ``?labels=`` unanchored (default), anchored or both."""
    from annotation.export.writing import export_zip

    await require_role(studio, request, "researcher")
    study = request.path_params["study"]
    labels = request.query_params.get("labels", "unanchored")
    path = await run_in_threadpool(export_zip, studio, study, labels)
    return FileResponse(path, filename=f"{study}.zip", background=BackgroundTask(path.unlink, missing_ok=True))


async def codes(studio: Studio, request: Request, _: Body) -> Response:
    """The completion codes of a study, with the raters' pseudonyms: JSON, or CSV with ``?format=csv``."""
    await require_role(studio, request, "researcher")
    study = request.path_params["study"]
    rows = await run_in_threadpool(completion_codes, studio.store, studio.people.key, study)
    if request.query_params.get("format") != "csv":
        return JSONResponse({"study": study, "codes": rows})
    headers = {"Content-Disposition": f'attachment; filename="{study}-codes.csv"', "Cache-Control": "no-store"}
    return Response(as_csv(rows), media_type="text/csv", headers=headers)


async def listen(studio: Studio, request: Request, _: Body) -> Response:
    """A clip of an item that a researcher adjudicates."""
    await require_role(studio, request, "researcher")
    data = await run_in_threadpool(_item_clip, studio, request.path_params["item"], request.path_params["role"])
    return Response(data, media_type="audio/flac", headers={"Cache-Control": "no-store"})


def _item_clip(studio: Studio, name: str, role: str) -> bytes:
    with studio.store.read() as view:
        item = view.item(name)
    clips = item["content"].get("clips", {}) if item else {}
    if role not in clips:
        raise EmotionOmniError("There is no such clip.", "not-found")
    return studio.clips.read(clips[role]["played"])


async def _write(studio: Studio, operation: Callable[[Transaction], Any]) -> Any:
    return await asyncio.wrap_future(studio.store.enqueue(operation))


async def limited_enter(studio: Studio, request: Request, body: Body) -> Response:
    """:func:`enter`, as often as the visitor's address and, with a password, the account may try."""
    who = visitor(studio, request)
    if "invite" in body or body.get("guest"):
        studio.limits.check("invite" if "invite" in body else "guest", who)
        return await enter(studio, request, body)
    account = account_of(body.get("name"))
    studio.limits.check_password(account, who)
    async with studio.limits.password_turn():
        response = await enter(studio, request, body)
    studio.limits.password_was_right(account, who)
    return response


# --- wiring -----------------------------------------------------------------------------------------------------


POSTS: dict[str, Handler] = {
    "/enter": limited_enter,
    "/leave": leave,
    "/next": next_screen,
    "/heard": heard,
    "/submit": submit,
    "/skip": skip,
    "/phase": phase,
    "/practice": practice,
    "/withdraw": withdraw,
    "/take-back": take_back,
}
GETS: dict[str, Handler] = {
    "/me": me,
    "/clip/{assignment:uuid}/{number:int}": clip,
    "/example/{name}": example,
    "/listen/{item}/{role}": listen,
    "/export/{study}.zip": export,
    "/codes/{study}": codes,
}


OWN_PATHS = frozenset("/studio/" + path.split("/")[1] for path in (*POSTS, *GETS))  # without parameters


def public_address(also: Collection[str] = ()) -> Middleware:
    """For the application in which :func:`routes` is mounted: proxies and prefixes are settled before anything else.

    ``also``: the first two steps of other paths of ours.
    """
    return Middleware(PublicAddress, own=OWN_PATHS | set(also))


def routes(studio: Studio) -> Starlette:
    """The application to mount under ``/studio``."""
    found = [Route(path, _endpoint(studio, path, handler), methods=["POST"]) for path, handler in POSTS.items()]
    found += [Route(path, _endpoint(studio, path, handler)) for path, handler in GETS.items()]
    return Starlette(routes=found)


def _endpoint(studio: Studio, path: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    limit = "/" + path.split("/")[1]  # without parameters

    async def serve(request: Request) -> Response:
        try:
            refuse_foreign(request)
            if limit != "/enter":
                studio.limits.check(limit, visitor(studio, request))
            body = await read_body(request) if request.method == "POST" else {}
            return await handler(studio, request, body)
        except EmotionOmniError as error:
            return refusal(error)

    return serve


def refusal(error: EmotionOmniError) -> Response:
    content = {"error": {"code": error.code, "message": str(error)}}
    headers = {"Retry-After": str(error.seconds)} if isinstance(error, TooMany) else None
    return JSONResponse(content, STATUSES.get(error.code, 422), headers)
