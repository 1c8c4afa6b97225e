"""The People tab, and links opened in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import raters
from starlette.requests import Request

from annotation.people.logins import COOKIE
from annotation.studio import Studio
from annotation.ui import people
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("browsers",)
LOAD_MS = 30_000
HOSTILE = "<img src=x onerror=alert(1)>"


def asking(studio: Studio, role: str | None) -> gr.Request:
    """A request by somebody new with this role; None: not signed in."""
    headers = []
    if role:
        rater = raters.new_rater(studio, f"A {role}", role=role)
        headers = [(b"cookie", f"{COOKIE}={studio.people.logins.issue(rater, 'link')}".encode())]
    return gr.Request(request=Request({"type": "http", "headers": headers}))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Studio]:
    opened = Studio.open(tmp_path / "home")
    yield opened
    opened.close()


@pytest.mark.parametrize("role", [None, "rater", "researcher"])
def test_only_admins_see_people_and_revoke(alone: Studio, role: str | None) -> None:
    handlers, request = people.Handlers(alone), asking(alone, role)
    ada = raters.new_rater(alone, "Ada", role="admin")
    with alone.store.read() as view:
        before = view.applied()
    with pytest.raises(gr.Error, match="sign in|admin"):
        handlers.show(request)
    for act in ("invite", "login", "person", "role"):
        with pytest.raises(gr.Error, match="sign in|admin"):
            handlers.revoke(act, ada, request)
    with alone.store.read() as view:
        assert view.applied() == before


def test_it_lists_people_links_and_browsers_as_text(alone: Studio) -> None:
    handlers, admin = people.Handlers(alone), asking(alone, "admin")
    alone.people.invites.create(name=HOSTILE)
    alone.people.accounts.add_guest(HOSTILE)
    shown = handlers.show(admin)
    assert "&lt;img" in shown and HOSTILE not in shown
    for words in ("A admin", "(you)", "(this browser)", "guest", "5 of 5", "in 90 days"):
        assert words in shown, words


def test_an_empty_studio_says_what_to_do(alone: Studio) -> None:
    shown = people.Handlers(alone).show(asking(alone, "admin"))
    assert "No link has been made" in shown


def test_what_is_revoked_is_gone_at_once(alone: Studio) -> None:
    handlers, admin = people.Handlers(alone), asking(alone, "admin")
    token = alone.people.invites.create("rater", name="Bo")
    bo = alone.people.invites.accept(token)
    cookies = [{COOKIE: alone.people.logins.issue(bo)} for _ in range(2)]
    login = alone.people.logins.login(cookies[0])
    assert login
    assert f'data-id="{login}"' not in handlers.revoke("login", login, admin)
    assert alone.people.rater(cookies[0]) is None and alone.people.rater(cookies[1])
    handlers.revoke("person", bo, admin)
    assert alone.people.rater(cookies[1]) is None
    with pytest.raises(EmotionOmniError, match="revoked"):
        alone.people.invites.accept(token)


def test_a_role_is_taken_away_but_not_ones_own(alone: Studio) -> None:
    handlers, admin = people.Handlers(alone), asking(alone, "admin")
    rita = raters.new_rater(alone, "Rita", role="researcher")
    handlers.revoke("role", rita, admin)
    with alone.store.read() as view:
        assert view.rater(rita)["role"] == "rater"
    me = alone.people.rater(admin.request.cookies)
    with pytest.raises(EmotionOmniError, match="own role"):
        handlers.revoke("role", me["id"], admin)
    with pytest.raises(EmotionOmniError, match="nothing of this kind"):
        handlers.revoke("everything", rita, admin)


# --- in a browser -----------------------------------------------------------------------------------------------


def test_an_admin_revokes_a_login_on_a_phone(studio, served, browser):
    guest = studio.people.accounts.add_guest("Guest with a long name that has to be broken somewhere")
    cookie = {COOKIE: studio.people.logins.issue(guest, "guest")}
    page = browser.new_context(viewport={"width": 360, "height": 780}).new_page()
    token = studio.people.invites.create("admin", name="Ada")
    page.goto(f"{served}/#invite={token}")
    page.wait_for_function("document.querySelector('#new-title')?.offsetParent", timeout=LOAD_MS)
    assert "invite" not in page.url, "the key does not stay in the address"
    open_tab(page, "People")
    page.wait_for_selector("#people h3:visible", timeout=LOAD_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    row = page.locator("#people section").nth(2).locator("tr", has_text="Guest with")
    row.get_by_role("button", name="Sign out").click()
    assert studio.people.rater(cookie), "one press revokes nothing"
    row.get_by_role("button", name="Cancel").click()
    row.get_by_role("button", name="Sign out").click()
    row.get_by_role("button", name="Sign this browser out").click()
    row.wait_for(state="detached", timeout=LOAD_MS)
    assert studio.people.rater(cookie) is None
    page.context.close()


def test_a_link_asks_before_it_replaces_a_login(studio, served, browser):
    guest = studio.people.accounts.add_guest("Guest")
    context = browser.new_context(locale="de-DE")
    context.add_cookies([{"name": COOKIE, "value": studio.people.logins.issue(guest), "url": served}])
    page = context.new_page()
    token = studio.people.invites.create("researcher", name="Rita")
    page.goto(f"{served}/#invite={token}")
    page.get_by_role("button", name="Angemeldet bleiben").click(timeout=LOAD_MS)
    me = "fetch('/studio/me').then(one => one.json()).then(one => one.rater?.name)"
    assert page.evaluate(me) == "Guest"
    page.evaluate(f"location.hash = 'invite={token}'")  # the link again, in the page that is open
    page.get_by_role("button", name="Als die neue Person anmelden").click(timeout=LOAD_MS)
    page.wait_for_function("document.querySelector('#new-title')?.offsetParent", timeout=LOAD_MS)  # for researchers
    assert page.evaluate(me) == "Rita"
    context.close()


def test_a_guest_finds_the_withdrawal_code_and_uses_it_signed_out(studio, served, browser):
    page = browser.new_context(viewport={"width": 360, "height": 780}).new_page()
    page.goto(served)
    open_tab(page, "Rate emotion")
    page.fill(".rating:visible input[autocomplete=nickname]", "Gus", timeout=LOAD_MS)
    page.get_by_role("button", name="Take part as a guest").click()
    page.locator(".rating:visible summary").click(timeout=LOAD_MS)
    code = page.inner_text(".rating:visible .rating-withdrawal")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Withdraw with a code").click(timeout=LOAD_MS)
    page.fill("dialog input", code)
    page.locator("dialog").get_by_role("button", name="Withdraw and erase").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.rating-status')].some(one => one.innerText === 'Erased.')", timeout=LOAD_MS
    )
    assert studio.people.rater_of_code(code) is None
    page.context.close()


def open_tab(page, name: str) -> None:
    """Also where the row of tabs is too narrow for it."""
    tab = page.get_by_role("tab", name=name, exact=True)
    page.wait_for_selector("button[role=tab]:visible", timeout=LOAD_MS)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=re.compile(f"^\\s*{name}\\s*$")).click()
    else:
        tab.click()
