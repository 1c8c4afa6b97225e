"""Sign-in with Hugging Face, on a Space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from annotation.people.accounts import add_rater
from annotation.store.store import Store
from annotation.store.transaction import Transaction


def oauth_is_on() -> bool:
    """Only on a Space with a secret of its own: elsewhere Gradio signs the web session with a key that is public."""
    return all(os.environ.get(name) for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"))


def hub_user(web_session: Mapping[str, Any]) -> str | None:
    """The Hugging Face name in the web session that Gradio keeps in a cookie of its own."""
    if not oauth_is_on():
        return None
    return web_session.get("oauth_info", {}).get("userinfo", {}).get("preferred_username")


def hub_admins() -> set[str]:
    """Hugging Face names that administer this Space: STUDIO_ADMINS, or the owner of the Space."""
    configured = os.environ.get("STUDIO_ADMINS") or os.environ.get("SPACE_AUTHOR_NAME", "")
    return {name.strip() for name in configured.split(",") if name.strip()}


def sign_in_hub_user(store: Store, username: str) -> str:
    """The rater of a Hugging Face user, added at the first sign-in; an admin's role is kept up to date."""
    account, role = f"hf:{username}", "admin" if username in hub_admins() else "rater"
    with store.read() as view:
        known = view.account(account)
    if known and (known["role"] == role or role == "rater"):
        return known["id"]

    def find_or_add(transaction: Transaction) -> str:
        known = transaction.account(account)
        if known is None:
            return add_rater(transaction, username, role, account)
        transaction.record("rater.changed", rater=known["id"], role=role)
        return known["id"]

    return store.write(find_or_add)
