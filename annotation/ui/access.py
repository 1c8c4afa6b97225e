"""Who may use a researcher's tab, and how to sign in.

A Gradio handler identifies its visitor by the same signed cookie as the rating routes. Every handler of a
researcher's tab begins with :func:`researcher`: hiding a component does not protect its handler.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from annotation.rating.login_routes import oauth_url
from annotation.rating.request_guard import refuse_foreign
from annotation.store.tables import Row
from annotation.studio import Studio
from emotion_omni.types import EmotionOmniError

_SIGN_IN = """
<div class="access"><p class="access-message"></p>
<form class="access-form"><label>Name <input name="name" autocomplete="username" maxlength="60"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" maxlength="200"></label>
<button type="submit">Sign in</button></form>
<form class="access-link"><label>or paste your sign-in link <input name="invite" autocomplete="off"></label>
<button type="submit">Open</button></form><p class="access-alert" role="alert"></p>
<button class="access-replace" type="button" hidden>End that login, and sign in</button></div>
"""
_SCRIPT = """
const base = new URL('studio/', document.baseURI).pathname;
const part = name => element.querySelector('.access-' + name);
async function enter(body) {
  const answer = await fetch(base + 'enter', {method: 'POST', body: JSON.stringify(body),
    headers: {'Content-Type': 'application/json', 'X-Studio': '1'}});
  if (answer.ok) { location.reload(); return; }
  const {error} = await answer.json();
  part('alert').textContent = error.code === 'signed-in' ? error.message.split('. ')[0] + '.' : error.message;
  part('replace').hidden = error.code !== 'signed-in';  // a login is replaced only on purpose
  part('replace').onclick = () => enter({...body, replace: true}).catch(unreachable);
}
const unreachable = () => { part('alert').textContent = 'The studio cannot be reached.'; };
element.addEventListener('submit', event => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(event.target));
  if ('invite' in given) given.invite = given.invite.split('invite=').pop().trim();
  enter(given).catch(unreachable);
});
function show() {
  const {message} = JSON.parse(props.value || '{}');
  element.querySelector('.access').hidden = !message;
  part('message').textContent = message || '';
}
watch('value', show);
show();
"""


def researcher(studio: Studio, request: gr.Request | None, role: str = "researcher") -> Row:
    """The visitor, if they have the role. Otherwise raises ``gr.Error`` with what is missing."""
    try:
        return _require(studio, request, role)
    except EmotionOmniError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _require(studio: Studio, request: gr.Request | None, role: str) -> Row:
    asked = getattr(request, "request", None)  # the Starlette request; none when a handler is called from code
    if asked is None:
        raise EmotionOmniError("Please sign in first.", "sign-in")
    refuse_foreign(asked)
    return studio.people.require(asked.cookies, role, asked.scope.get("session", {}))


def explained(handler: Callable) -> Callable:
    """Show an :class:`EmotionOmniError` in Gradio's own message box, which renders HTML; nothing else is caught."""

    @wraps(handler)
    def call(*arguments: Any, **more: Any) -> Any:
        try:
            return handler(*arguments, **more)
        except EmotionOmniError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from error

    return call


def notice() -> gr.HTML:
    """A notice that the tab is for researchers, with a form to sign in; its value is set by :func:`notice_for`."""
    return gr.HTML(value="{}", html_template=_SIGN_IN, js_on_load=_SCRIPT, container=False, apply_default_css=False)


def notice_for(studio: Studio, request: gr.Request, role: str = "researcher") -> tuple[bool, str]:
    """→ whether the visitor may enter, and the value of the notice, which is empty for who may."""
    try:
        _require(studio, request, role)
    except EmotionOmniError as error:
        where = (
            "sign in with Hugging Face"
            if oauth_url()
            else "open the link that the terminal prints when the app is started"
        )
        message = f"This tab is for {role}s. {error} To enter, {where}, or sign in here."
        return False, json.dumps({"message": message})
    return True, "{}"
