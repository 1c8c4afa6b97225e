"""Who sends a request, and what they may do.

People come in by an invite, an account, Hugging Face or as guests, and are then known by a login. Roles are read from
the store at each request, so that taking one away works at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotation.people import withdrawal_code
from annotation.people.accounts import Accounts
from annotation.people.hub_sign_in import hub_user, sign_in_hub_user
from annotation.people.invites import Invites
from annotation.people.logins import Logins
from annotation.people.roles import check_role, require_role
from annotation.people.signing_key import signing_key
from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError


class People:
    def __init__(self, home: Path, store: Store) -> None:
        self.key, self._store = signing_key(home), store
        self.accounts, self.invites, self.logins = Accounts(store), Invites(self.key, store), Logins(self.key, store)

    def remembered(self, cookies: Mapping[str, str], web_session: Mapping[str, Any] | None = None) -> str | None:
        """The rater, if that is in memory: no database is asked, so that the event loop never waits for one."""
        user = hub_user(web_session or {})
        return self.logins.recall(user.login) if user else self.logins.remembered(cookies)

    def rater_id(self, cookies: Mapping[str, str], web_session: Mapping[str, Any] | None = None) -> str | None:
        """The rater of a Hugging Face user, or of a login. Who signs in with Hugging Face means to be that person."""
        user = hub_user(web_session or {})
        if user is None:
            return self.logins.read(cookies)
        return self.logins.recall(user.login) or self.logins.look_up(
            user.login, lambda: sign_in_hub_user(self._store, user)
        )

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

    def sign_out(self, cookies: Mapping[str, str], web_session: Mapping[str, Any] | None = None) -> None:
        """End the logins that a request names: a copy of its cookies is worth nothing from now on."""
        user = hub_user(web_session or {})
        if user:
            self.logins.revoke(user.login)
        if login := self.logins.login(cookies):
            self.logins.revoke(login)

    def sign_out_everywhere(self, rater: str) -> None:
        """End all logins of a person, and the links that lead to them."""
        self.logins.revoke_all(rater)
        self.invites.revoke_all(rater)

    def give_role(self, rater: str, role: str) -> None:
        check_role(role)

        def give(transaction: Transaction) -> None:
            if transaction.rater(rater) is None:
                raise EmotionOmniError("This person is not here any more.", "not-found")
            transaction.record("rater.changed", rater=rater, role=role)

        self._store.write(give)

    # -- withdrawing without a login

    def withdrawal_code(self, rater: str) -> str:
        return withdrawal_code.make(self.key, rater)

    def rater_of_code(self, code: Any) -> str | None:
        """The rater whose withdrawal code this is, if there is one and they are still here."""
        rater = withdrawal_code.read(self.key, code)
        if rater is None:
            return None
        with self._store.read() as view:
            return rater if view.rater(rater) else None
