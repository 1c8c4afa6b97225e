"""Who sends a request, and what they may do.

People come in by an invite, an account, Hugging Face or as guests, and are then known by a login. Roles are read from
the store at each request, so that taking one away works at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotation.people.accounts import Accounts
from annotation.people.hub_sign_in import hub_user, sign_in_hub_user
from annotation.people.invites import Invites
from annotation.people.logins import Logins
from annotation.people.roles import require_role
from annotation.people.signing_key import signing_key
from annotation.store.store import Store
from annotation.store.tables import Row
from emotion_omni.types import EmotionOmniError


class People:
    def __init__(self, home: Path, store: Store) -> None:
        self.key, self._store = signing_key(home), store
        self.accounts, self.invites, self.logins = Accounts(store), Invites(self.key, store), Logins(self.key)

    def rater_id(self, cookies: Mapping[str, str], web_session: Mapping[str, Any] | None = None) -> str | None:
        """The rater of a login, or of a Hugging Face user. Does not say whether that rater still exists."""
        if rater := self.logins.read(cookies):
            return rater
        username = hub_user(web_session or {})
        return sign_in_hub_user(self._store, username) if username else None

    def rater(self, cookies: Mapping[str, str], web_session: Mapping[str, Any] | None = None) -> Row | None:
        rater = self.rater_id(cookies, web_session)
        if rater is None:
            return None
        with self._store.read() as view:
            return view.rater(rater)

    def require(
        self, cookies: Mapping[str, str], role: str = "rater", web_session: Mapping[str, Any] | None = None
    ) -> Row:
        """The person, or an error: ``sign-in`` if unknown, ``forbidden`` if the role is too low."""
        known = self.rater(cookies, web_session)
        if known is None:
            raise EmotionOmniError("Please sign in first.", "sign-in")
        return require_role(known, role)
