"""The People tab, for admins: who is here and how they came in, links, signed-in browsers; each can be revoked.

Handlers first, then the layout, then the wiring. Every handler checks who asks.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from annotation.people.invites import MACHINE
from annotation.people.logins import is_alive
from annotation.people.roles import ROLES
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.ui import access
from annotation.ui.access import explained, researcher
from emotion_omni.types import EmotionOmniError

SHOWN = 200  # rows of a table at most
CAME_BY = {"local": "account", "link": "link", "hub": "Hugging Face", "hf": "Hugging Face", "machine": "terminal"}
UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"))
EMPTY = '<p class="empty">{}</p>'
# A press on a button of the list asks once more in its place: a dialog of the browser is not shown in a Space's frame.
_SCRIPT = """
element.addEventListener('click', event => {
  const pressed = event.target.closest('button[data-act]');
  if (!pressed) return;
  const cell = pressed.parentElement, kept = [...cell.childNodes];
  const option = (label, work) => {
    const button = document.createElement('button');
    Object.assign(button, {type: 'button', textContent: label, onclick: inner => { inner.stopPropagation(); work(); }});
    return button;
  };
  const yes = option(pressed.dataset.sure, () => trigger('submit', {act: pressed.dataset.act, id: pressed.dataset.id}));
  const no = option('Cancel', () => { cell.replaceChildren(...kept); pressed.focus(); });
  yes.className = 'people-sure';
  cell.replaceChildren(yes, no);
  no.focus();
});
"""


# --- handlers ---------------------------------------------------------------------------------------------------


class Handlers:
    """The behaviour of the tab."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def show(self, request: gr.Request) -> str:
        """→ people, links and logins as HTML."""
        me = researcher(self.studio, request, "admin")
        with self.studio.store.read() as view:
            people, invites, logins = view.raters(), view.invites(), view.logins()
            titles = {row["id"]: row["settings"]["title"] for row in view.studies()}
            seen = view.last_ratings()
        for row in logins:
            seen[row["rater"]] = max(seen.get(row["rater"], 0.0), row["created"])
        for rater, at in self.studio.people.logins.last_seen().items():
            seen[rater] = max(seen.get(rater, 0.0), at)
        now, names = time.time(), {row["id"]: row["name"] for row in people}
        alive = [row for row in logins if is_alive(row, now)]
        return "".join(
            [
                _people(people, seen, now, me["id"]),
                _invites(invites, names, titles, now),
                _logins(alive, names, now, self.studio.people.logins.login(_cookies(request))),
            ]
        )

    def revoke(self, act: str, name: str, request: gr.Request) -> str:
        """``act``: invite, login, person (their logins and links) or role (they become a rater)."""
        me = researcher(self.studio, request, "admin")
        people = self.studio.people
        match act:
            case "invite":
                people.invites.revoke(name)
            case "login":
                people.logins.revoke(name)
            case "person":
                people.sign_out_everywhere(name)
            case "role" if name == me["id"]:
                raise EmotionOmniError("You cannot take your own role away. Ask another admin.", "forbidden")
            case "role":
                people.give_role(name, ROLES[0])
            case _:
                raise EmotionOmniError("There is nothing of this kind to revoke.", "not-found")
        return self.show(request)


def _cookies(request: gr.Request) -> Mapping[str, str]:
    asked = getattr(request, "request", None)
    return asked.cookies if asked is not None else {}


# --- tables -----------------------------------------------------------------------------------------------------


def _people(people: Sequence[Row], seen: Mapping[str, float], now: float, me: str) -> str:
    ranked = sorted(people, key=lambda row: (-ROLES.index(row["role"]), -seen.get(row["id"], 0.0)))
    rows = [
        [
            _text(row["name"]) + (" <em>(you)</em>" if row["id"] == me else ""),
            row["role"],
            _came_by(row),
            _moment(seen.get(row["id"], row["created"]), now),
            _button("person", row["id"], "Sign out everywhere", "Sign out and end their links")
            + (_button("role", row["id"], "Take the role away", "Make a rater") if _can_fall(row, me) else ""),
        ]
        for row in ranked[:SHOWN]
    ]
    head = ("Name", "Role", "Came by", "Last seen")
    return _table("People", head, rows, len(people), "Nobody has signed in yet.")


def _can_fall(row: Row, me: str) -> bool:
    return row["role"] != ROLES[0] and row["id"] != me


def _came_by(row: Row) -> str:
    return CAME_BY.get(str(row["account"]).partition(":")[0], "guest") if row["account"] else "guest"


def _invites(invites: Sequence[Row], names: Mapping[str, str], titles: Mapping[str, str], now: float) -> str:
    open_first = sorted(invites, key=lambda row: _state(row, now) != "open")  # the newest first within each
    rows = [
        [
            _text(names.get(row["rater"]) or row["name"] or "not opened yet"),
            row["role"],
            _text(titles.get(row["study"], "–")),
            f"{row['uses'] - row['used']} of {row['uses']}",
            _moment(row["expires"], now) if _state(row, now) == "open" else _state(row, now),
            _text("the terminal" if row["by"] == MACHINE else names.get(row["by"], "–")),
            _button("invite", row["id"], "Revoke", "Revoke the link") if _state(row, now) == "open" else "",
        ]
        for row in open_first[:SHOWN]
    ]
    head = ("For", "Role", "Study", "Uses left", "Ends", "Made by")
    return _table("Links", head, rows, len(invites), "No link has been made. Make one on the Studies tab.")


def _state(row: Row, now: float) -> str:
    if row["revoked"] is not None:
        return "revoked"
    if row["used"] >= row["uses"]:
        return "used up"
    return "expired" if row["expires"] < now else "open"


def _logins(logins: Sequence[Row], names: Mapping[str, str], now: float, mine: str | None) -> str:
    rows = [
        [
            _text(names.get(row["rater"], "–")) + (" <em>(this browser)</em>" if row["id"] == mine else ""),
            _text(row["how"] or "–"),
            _moment(row["created"], now),
            _button("login", row["id"], "Sign out", "Sign this browser out"),
        ]
        for row in logins[:SHOWN]
    ]
    return _table("Signed-in browsers", ("Who", "By", "Since"), rows, len(logins), "No browser is signed in.")


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], total: int, empty: str) -> str:
    """Cells are HTML. On a narrow screen each row becomes a card, with the column's name before each cell."""
    heading = f"<h3>{title} <span>{total}</span></h3>"
    if not rows:
        return f"<section>{heading}{EMPTY.format(empty)}</section>"
    named = "".join(f'<th scope="col">{name}</th>' for name in head) + "<td></td>"
    body = "".join(f"<tr>{_cells(row, head)}</tr>" for row in rows)
    more = f'<p class="empty">The first {SHOWN} of {total} are shown.</p>' if total > len(rows) else ""
    return f"<section>{heading}<table><thead><tr>{named}</tr></thead><tbody>{body}</tbody></table>{more}</section>"


def _cells(row: Sequence[str], head: Sequence[str]) -> str:
    shown = "".join(f'<td data-label="{name}"><span>{cell}</span></td>' for name, cell in zip(head, row, strict=False))
    return f'{shown}<td class="people-acts">{row[-1]}</td>'


def _button(act: str, name: str, label: str, sure: str) -> str:
    return f'<button type="button" data-act="{act}" data-id="{html.escape(name)}" data-sure="{sure}">{label}</button>'


def _text(value: Any) -> str:
    return html.escape(str(value))


def _moment(at: float, now: float) -> str:
    """How long ago, or in how long; the exact time when pointed at."""
    seconds = abs(at - now)
    length, unit = next(((length, unit) for length, unit in UNITS if seconds >= length), (1, ""))
    number = round(seconds / length)
    words = f"{number} {unit}{'s' if number > 1 else ''}"
    words = ("now" if at <= now else "in a moment") if not unit else f"in {words}" if at > now else f"{words} ago"
    exact = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at))
    return f'<time datetime="{exact}" title="{exact}">{words}</time>'


# --- layout and wiring ------------------------------------------------------------------------------------------


def build(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    handlers = Handlers(studio)
    notice = access.notice()
    with gr.Column(visible=False) as inside:
        refresh = gr.Button("Refresh", elem_id="people-refresh", size="sm")
        shown = gr.HTML("", elem_id="people", container=False, js_on_load=_SCRIPT, apply_default_css=False)
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "concurrency_id": "people"}

    def entered(request: gr.Request) -> list[Any]:
        allowed, message = access.notice_for(studio, request, "admin")
        return [gr.update(visible=allowed), message, handlers.show(request) if allowed else ""]

    for event in (page.load, tab.select):
        event(entered, None, [inside, notice, shown], **private)
    refresh.click(explained(handlers.show), None, shown, **private)
    shown.submit(explained(_pressed(handlers)), None, shown, **private)


def _pressed(handlers: Handlers) -> Callable[..., str]:
    def revoke(event: gr.EventData, request: gr.Request) -> str:
        pressed = event._data if isinstance(event._data, dict) else {}
        return handlers.revoke(str(pressed.get("act")), str(pressed.get("id")), request)

    return revoke
