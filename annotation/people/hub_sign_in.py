"""Sign-in with Hugging Face, on a Space.

A person is known by ``sub``, which never changes; a name can be given up and taken by somebody else.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.people.accounts import add_rater
from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.store.transaction import Transaction

HOW = "Hugging Face"


@dataclass(frozen=True)
class HubUser:
    """``login``: the id of the login that this sign-in is; ``is_admin``: of this Space."""

    sub: str
    name: str
    login: str
    is_admin: bool

    @property
    def account(self) -> str:
        return f"hub:{self.sub}"[:120]


def oauth_is_on() -> bool:
    """Only on a Space with a secret of its own: elsewhere Gradio signs the web session with a key that is public."""
    return all(os.environ.get(name) for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"))


def hub_user(web_session: Mapping[str, Any]) -> HubUser | None:
    """The Hugging Face user in the web session that Gradio keeps in a cookie of its own; None once it has expired."""
    info = web_session.get("oauth_info") if oauth_is_on() else None
    if not isinstance(info, Mapping) or not _later(info.get("expires_at")):
        return None
    user = info.get("userinfo") or {}
    sub, name = user.get("sub"), user.get("preferred_username")
    if not sub or not name:
        return None
    token = hashlib.sha256(f"{info.get('access_token')}:{sub}:{info['expires_at']}".encode()).hexdigest()
    return HubUser(str(sub), str(name), f"hub-{token[:32]}", _is_admin(user))


def hub_admins() -> set[str]:
    """Who administers this Space: STUDIO_ADMINS (names or ``sub``), or the owner of the Space."""
    configured = os.environ.get("STUDIO_ADMINS") or os.environ.get("SPACE_AUTHOR_NAME", "")
    return {name.strip() for name in configured.split(",") if name.strip()}


def sign_in_hub_user(store: Store, user: HubUser) -> str | None:
    """The rater of a Hugging Face user, added at the first sign-in. None if this login was revoked."""
    with store.read() as view:
        known, login = view.account(user.account), view.login(user.login)
    if login and (login["revoked"] is not None or known is None):
        return None
    if known and login and _role(known, user) == known["role"]:
        return known["id"]
    return store.write(lambda transaction: _find_or_add(transaction, user))


def _find_or_add(transaction: Transaction, user: HubUser) -> str | None:
    login = transaction.login(user.login)
    if login and login["revoked"] is not None:
        return None
    known = transaction.account(user.account) or transaction.account(f"hf:{user.name}")
    if known is None:
        rater = add_rater(transaction, user.name[:60], "admin" if user.is_admin else "rater", user.account)
    else:
        rater = known["id"]
        _keep_current(transaction, known, user)
    if login is None:
        transaction.record("login.created", login=user.login, rater=rater, how=HOW)
    return rater


def _keep_current(transaction: Transaction, known: Row, user: HubUser) -> None:
    """Accounts of earlier releases were known by name."""
    changes = {"account": user.account, "role": _role(known, user)}
    changes = {name: value for name, value in changes.items() if known[name] != value}
    if changes:
        transaction.record("rater.changed", rater=known["id"], **changes)


def _role(known: Row, user: HubUser) -> str:
    """An admin's role follows the settings of the Space; other roles are a researcher's to give."""
    if user.is_admin:
        return "admin"
    return "rater" if known["role"] == "admin" else known["role"]


def _is_admin(user: Mapping[str, Any]) -> bool:
    """By name or ``sub``, or as an admin of an organization that administers this Space."""
    admins = hub_admins()
    if admins & {user.get("sub"), user.get("preferred_username")}:
        return True
    organizations = [one for one in user.get("orgs") or () if isinstance(one, Mapping)]
    return any(one.get("roleInOrg") == "admin" and one.get("preferred_username") in admins for one in organizations)


def _later(expires_at: Any) -> bool:
    return isinstance(expires_at, int | float) and expires_at > time.time()
