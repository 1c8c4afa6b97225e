"""Who rates: signing in and out, and the list of studies that a rater can open."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from annotation.people.hub_sign_in import oauth_is_on
from annotation.people.logins import COOKIE, LOGIN_SECONDS
from annotation.people.people import People
from annotation.rating.enrolment import may_enter
from annotation.rating.public_address import address_of
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.study.rules import Study
from annotation.study.templates import TABS
from annotation.study.translate import preferred, translated, words
from emotion_omni.types import EmotionOmniError

SECONDS_PER_QUESTION = 4  # of an item, for the estimate of a study's minutes


async def me(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    """The rater, the studies of a tab, and the page's texts in the language that the browser prefers."""
    tab = request.query_params.get("tab", "emotion")
    rater = await run_in_threadpool(studio.people.rater, request.cookies, web_session(request))
    cards = await run_in_threadpool(_study_cards, studio, rater, tab if tab in TABS else "emotion") if rater else []
    language = preferred(request.headers.get("accept-language", ""))
    for card in cards:  # a study's title is not translated
        card["template"] = translated(card["template"], language)
    return JSONResponse(
        {
            "rater": _shown(studio.people, rater) if rater else None,
            "can_guest": True,
            "oauth_url": oauth_url(),
            "studies": cards,
            "language": language,
            "texts": words(language),
        }
    )


def _shown(people: People, rater: Row) -> dict[str, str]:
    """What raters are told about themselves."""
    return {name: rater[name] for name in ("id", "name", "role")} | {
        "withdrawal_code": people.withdrawal_code(rater["id"])
    }


def _study_cards(studio: Studio, rater: Row, tab: str) -> list[dict[str, Any]]:
    with studio.store.read() as view:
        studies = [row for row in view.studies() if Study.read(row["settings"]).form.tab == tab]
        cards = [_study_card(view, row, rater) for row in studies]
    return [card for card in cards if card]


def _study_card(view: View, row: Row, rater: Row) -> dict[str, Any] | None:
    """A study as it appears in the list; None if this rater may not see it."""
    rules, enrolment = Study.read(row["settings"]), view.enrolment(row["id"], rater["id"])
    if enrolment is None and (row["state"] != "open" or not may_enter(rater, rules)):
        return None
    wanted = view.count_families(row["id"])
    if rules.most_per_rater:
        wanted = min(wanted, rules.most_per_rater)
    phase = enrolment["phase"] if enrolment else "consent"
    return {
        "id": row["id"],
        "title": rules.title,
        "template": rules.form.title,
        "state": row["state"],
        "wanted": wanted,
        "done": min(view.count_ratings(row["id"], rater["id"]), wanted),
        "phase": phase,
        "resume": enrolment is not None and phase != "done",
        "minutes": max(1, round(wanted * len(rules.form.scales) * SECONDS_PER_QUESTION / 60)),
    }


async def enter(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    """Sign in by an invite, as a guest, or with an account. Who is signed in already must say ``replace: true``."""
    return await run_in_threadpool(_enter, studio, request, body)


def _enter(studio: Studio, request: Request, body: Mapping[str, Any]) -> Response:
    people, session = studio.people, web_session(request)
    invite = people.invites.read(body["invite"]) if "invite" in body else None
    current = people.rater(request.cookies, session)
    if current and invite and invite["rater"] == current["id"]:  # their own link again: they only want to go there
        return JSONResponse({"rater": {"id": current["id"]}} | _destination(studio, invite))
    if current and body.get("replace") is not True:
        raise EmotionOmniError(
            f"This browser is signed in as {current['name']}. Sign out first, or confirm that the login is replaced.",
            "signed-in",
        )
    rater, how = _let_in(people, body)
    people.sign_out(request.cookies, session)
    response = JSONResponse({"rater": {"id": rater}} | (_destination(studio, invite) if invite else {}))
    session.pop("oauth_info", None)
    response.headers.append("set-cookie", cookie(people.logins.issue(rater, how), LOGIN_SECONDS, _is_https(request)))
    return response


def _let_in(people: People, body: Mapping[str, Any]) -> tuple[str, str]:
    """→ the rater, and by what they came in."""
    if "invite" in body:
        return people.invites.accept(body["invite"]), "link"
    if body.get("guest"):
        return people.accounts.add_guest(body.get("name")), "guest"
    return people.accounts.sign_in(body.get("name"), body.get("password")), "password"


def _destination(studio: Studio, invite: Row) -> dict[str, str]:
    """Where an invite leads: a rater's to its study, a researcher's to the list of studies."""
    with studio.store.read() as view:
        row = view.study(invite["study"]) if invite["study"] else None
    if row is not None:
        return {"tab": Study.read(row["settings"]).form.tab, "study": row["id"]}
    return {"tab": "emotion" if invite["role"] == "rater" else "studies"}


async def leave(studio: Studio, request: Request, _: Mapping[str, Any]) -> Response:
    await run_in_threadpool(studio.people.sign_out, request.cookies, web_session(request))
    return signed_out(request, {"left": True})


def signed_out(request: Request, content: Mapping[str, Any]) -> Response:
    """An answer that ends the login, that of Hugging Face too."""
    web_session(request).pop("oauth_info", None)
    response = JSONResponse(content)
    response.headers.append("set-cookie", cookie("", 0, _is_https(request)))
    return response


async def current_rater(studio: Studio, request: Request) -> str:
    """The rater who sends a request. What is not in memory is asked in a thread: the event loop waits for no store."""
    rater = studio.people.remembered(request.cookies, web_session(request)) or await run_in_threadpool(
        studio.people.rater_id, request.cookies, web_session(request)
    )
    if rater is None:
        raise EmotionOmniError("Please sign in first.", "sign-in")
    return rater


async def require_role(studio: Studio, request: Request, role: str) -> Row:
    return await run_in_threadpool(studio.people.require, request.cookies, role, web_session(request))


def cookie(value: str, seconds: int, https: bool) -> str:
    """In the frame of a Space a cookie must be partitioned; elsewhere it is sent to its own site alone."""
    if os.environ.get("SPACE_ID"):
        scope = "Secure; SameSite=None; Partitioned"
    else:
        scope = "SameSite=Lax" + ("; Secure" if https else "")
    return f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; {scope}"


def _is_https(request: Request) -> bool:
    """As the browser says, which states the origin of every POST: a proxy may speak of another connection."""
    origin = request.headers.get("origin", "null")
    return (str(address_of(request.scope)) if origin == "null" else origin).startswith("https:")


def web_session(request: Request) -> dict[str, Any]:
    """Gradio's record of a Hugging Face sign-in; empty where that is not set up."""
    return request.scope.get("session", {})


def oauth_url() -> str | None:
    return "/login/huggingface" if oauth_is_on() else None
