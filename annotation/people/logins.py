"""A login: a signed-in browser. Its signed cookie names a row of the store, so that it can be revoked.

What is known about a login is kept in memory for a moment: most requests ask no database. A revocation in this
process works at once, one by another process (a command) after ``REMEMBERED_SECONDS``.

Cookies of releases before 0.2 name the rater instead. They work if they were issued before the first login with a row.
The cookie's name and the salt of its signature never change: that would sign everybody out.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotation.store.queries import View
from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

COOKIE = "studio"
LOGIN_SECONDS = 30 * 86_400
REMEMBERED_SECONDS = 5
MOST_REMEMBERED = 20_000  # logins in memory
OLD = "old-"  # before the rater's id: all cookies of an earlier release of this rater, as one login


@dataclass(frozen=True)
class SignedCookie:
    """``login``: the id of its row; ``rater``: only in cookies of earlier releases; ``issued``: seconds since 1970."""

    login: str
    rater: str
    issued: float

    @property
    def remembered_as(self) -> str:
        """Old cookies of one rater are one login, but not all of them have to be valid."""
        return f"{self.login}@{self.issued}" if self.rater else self.login


class Logins:
    def __init__(self, key: bytes, store: Store) -> None:
        self._serializer, self._store = URLSafeTimedSerializer(key, salt="session"), store
        self._known: dict[str, tuple[str, float]] = {}  # login → rater, monotonic time until which that is believed
        self._seen: dict[str, float] = {}  # rater → time of the last request
        self._changes = 0  # revocations so far: what was read before one is not remembered after it
        self._lock = threading.Lock()

    def issue(self, rater: str, how: str = "") -> str:
        """The value of a cookie, for a new login. ``how``: by what the person came in."""
        login, changes = uuid.uuid4().hex, self._changes

        def create(transaction: Transaction) -> None:
            if transaction.rater(rater) is None:  # erased at this very moment
                raise EmotionOmniError("Please sign in first.", "sign-in")
            transaction.record("login.created", login=login, rater=rater, how=how)

        self._store.write(create)
        self._remember(login, rater, changes)
        return self._serializer.dumps({"login": login})

    # -- whose login it is

    def remembered(self, cookies: Mapping[str, str]) -> str | None:
        """The rater of a login that was asked for a moment ago. Asks no database, so it says None for others."""
        cookie = self._cookie(cookies)
        return self.recall(cookie.remembered_as) if cookie else None

    def read(self, cookies: Mapping[str, str]) -> str | None:
        """The rater of a login that is not revoked."""
        cookie = self._cookie(cookies)
        if cookie is None:
            return None
        return self.recall(cookie.remembered_as) or self.look_up(cookie.remembered_as, lambda: self._stored(cookie))

    def login(self, cookies: Mapping[str, str]) -> str | None:
        """The id of the login that a cookie names, whether it is revoked or not."""
        cookie = self._cookie(cookies)
        return cookie.login if cookie else None

    def recall(self, login: str) -> str | None:
        rater, until = self._known.get(login, ("", 0.0))
        if time.monotonic() >= until:
            return None
        self._seen[rater] = time.time()
        return rater

    def look_up(self, login: str, find: Callable[[], str | None]) -> str | None:
        """Ask the store for the rater of a login, and remember the answer."""
        changes = self._changes
        rater = find()
        if rater:
            self._remember(login, rater, changes)
        return rater

    def _remember(self, login: str, rater: str, changes: int) -> None:
        """Unless something was revoked since there were so many ``changes``."""
        self._seen[rater] = time.time()
        with self._lock:
            if changes != self._changes:
                return
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[login] = (rater, time.monotonic() + REMEMBERED_SECONDS)

    def _stored(self, cookie: SignedCookie) -> str | None:
        with self._store.read() as view:
            return _rater_of(view, cookie)

    def last_seen(self) -> Mapping[str, float]:
        """When each rater last asked for something, since this process began."""
        return dict(self._seen)

    def _cookie(self, cookies: Mapping[str, str]) -> SignedCookie | None:
        try:
            content, issued = self._serializer.loads(
                cookies.get(COOKIE, ""), max_age=LOGIN_SECONDS, return_timestamp=True
            )
        except BadSignature:
            return None
        if isinstance(content, str):
            return SignedCookie(OLD + content, content, issued.timestamp())
        login = content.get("login") if isinstance(content, dict) else None
        return SignedCookie(login, "", issued.timestamp()) if isinstance(login, str) else None

    # -- revoking

    def revoke(self, login: str) -> None:
        """End one login."""
        self._store.write(lambda transaction: _revoke(transaction, login))
        self._forget_all()

    def revoke_all(self, rater: str) -> int:
        """End every login of a rater, those of earlier releases too → how many rows were revoked."""

        def revoke(transaction: Transaction) -> int:
            if transaction.rater(rater) is None:
                raise EmotionOmniError("This person is not here any more.", "not-found")
            alive = [row["id"] for row in transaction.logins(rater) if row["revoked"] is None]
            for login in alive:
                _revoke(transaction, login)
            _revoke(transaction, OLD + rater)
            return len(alive)

        revoked = self._store.write(revoke)
        self._forget_all()
        return revoked

    def forget(self, rater: str) -> None:
        """A rater who was erased is nobody at once."""
        self._forget_all()
        self._seen.pop(rater, None)

    def _forget_all(self) -> None:
        with self._lock:
            self._changes += 1
            self._known.clear()


def is_alive(row: Row, now: float) -> bool:
    return row["revoked"] is None and row["created"] + LOGIN_SECONDS > now


def _rater_of(view: View, cookie: SignedCookie) -> str | None:
    row = view.login(cookie.login)
    if row is not None:
        rater = row["rater"] if row["revoked"] is None else ""
    else:
        first = view.first_login()
        rater = cookie.rater if first is None or cookie.issued <= first else ""
    return rater if rater and view.rater(rater) else None


def _revoke(transaction: Transaction, login: str) -> None:
    row = transaction.login(login)
    if row is None and login.startswith(OLD):
        rater = login.removeprefix(OLD)
        if transaction.rater(rater) is None:
            return
        row = transaction.record("login.created", login=login, rater=rater, how="earlier release") | {"revoked": None}
    if row is not None and row["revoked"] is None:
        transaction.record("login.revoked", login=login, rater=row["rater"])
