"""Who is asking, and what they may do: signed links, local accounts, Hugging Face sign-in, guests.

Roles rise from rater over researcher to admin. A session is a signed cookie that holds a pseudonym and
nothing else; roles are read from the store at each request, so taking one away works at once. The
signing key is ``STUDIO_SECRET`` or a file only the owner can read, made at the first start.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

ROLES = ("rater", "researcher", "admin")
COOKIE = "studio"
SESSION_SECONDS = 30 * 86_400
INVITE_SECONDS = 90 * 86_400
SHORTEST_PASSWORD = 10
FAILURES, LOCKED_SECONDS = 8, 60  # so many wrong passwords, and an account waits
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 2**20}


class Identity:
    """Signs people in, and tells them by their cookie."""

    def __init__(self, home: Path, store: Store) -> None:
        self.secret, self._store = _secret(home), store
        self._sessions = URLSafeTimedSerializer(self.secret, salt="session")
        self._invites = URLSafeTimedSerializer(self.secret, salt="invite")
        self._failures: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    # -- telling who it is

    def session(self, rater: str) -> str:
        return self._sessions.dumps(rater)

    def rater_id(self, cookies: Mapping[str, str], session: Mapping[str, Any] | None = None) -> str | None:
        """The pseudonym in a valid cookie, or of whom Hugging Face has signed in. Whether it still exists, the store knows."""
        try:
            return self._sessions.loads(cookies.get(COOKIE, ""), max_age=SESSION_SECONDS)
        except BadSignature:
            username = _hub_user(session or {})
            return self.from_hub(username) if username else None

    def rater(self, cookies: Mapping[str, str], session: Mapping[str, Any] | None = None) -> Row | None:
        name = self.rater_id(cookies, session)
        if name is None:
            return None
        with self._store.read() as view:
            return view.rater(name)

    def require(self, cookies: Mapping[str, str], role: str = "rater", session: Mapping[str, Any] | None = None) -> Row:
        """The person, or an error: ``sign-in`` if unknown, ``forbidden`` if the role is too low."""
        known = self.rater(cookies, session)
        if known is None:
            raise EmotionOmniError("Please sign in first.", "sign-in")
        if ROLES.index(known["role"]) < ROLES.index(role):
            raise EmotionOmniError(
                f"This needs the role {role}; yours is {known['role']}. Ask an admin of this studio.", "forbidden"
            )
        return known

    # -- ways in

    def invite(self, role: str = "rater", study: str | None = None, cohort: str = "", name: str = "") -> str:
        """A signed token for one person. Opened again, also elsewhere, it is the same rater."""
        if role not in ROLES:
            raise EmotionOmniError(f"{role!r} is no role. Choose one of {', '.join(ROLES)}.", "bad-role")
        return self._invites.dumps(
            {"id": uuid.uuid4().hex, "role": role, "study": study, "cohort": cohort, "name": name}
        )

    def read_invite(self, token: Any) -> dict[str, Any]:
        """What a link says: id, role, study, cohort, name."""
        try:
            return self._invites.loads(str(token), max_age=INVITE_SECONDS)
        except BadSignature:
            raise EmotionOmniError(
                "This link is not valid, or is older than 90 days. Ask for a new one.", "sign-in"
            ) from None

    def accept(self, token: Any) -> str:
        """A link was opened → the rater."""
        told = self.read_invite(token)
        rater = "r" + told["id"][:16]
        return self._store.write(lambda transaction: self._accept(transaction, rater, told))

    @staticmethod
    def _accept(transaction: Transaction, rater: str, told: Mapping[str, Any]) -> str:
        account = f"link:{told['id'][:16]}"
        if transaction.rater(rater) is None:
            join(transaction, told["name"] or "Invited rater", told["role"], account, told["cohort"], rater=rater)
        if told["study"] and transaction.study(told["study"]) and transaction.enrolment(told["study"], rater) is None:
            transaction.record("enrolled", study=told["study"], rater=rater)
        return rater

    def guest(self, name: Any) -> str:
        """Anyone may rate in an open study under a name of their choice."""
        return self._store.write(lambda transaction: join(transaction, _name(name), "rater"))

    def register(self, name: Any, password: Any, role: str = "rater", cohort: str = "") -> str:
        """A new local account."""
        name = _name(name)
        if not isinstance(password, str) or not SHORTEST_PASSWORD <= len(password) <= 200:
            raise EmotionOmniError(f"A password needs {SHORTEST_PASSWORD} to 200 characters.", "bad-password")
        secret, account = _hashed(password), _account(name)

        def add(transaction: Transaction) -> str:
            if transaction.account(account):
                raise EmotionOmniError("This name is taken. Choose another.", "taken")
            return join(transaction, name, role, account, cohort, secret=secret)

        return self._store.write(add)

    def sign_in(self, name: Any, password: Any) -> str:
        account = _account(str(name))
        self._count_attempt(account)
        with self._store.read() as view:
            known = view.account(account)
        if not _matches(password, known["secret"] if known else _NOBODY):  # the same work for names that do not exist
            raise EmotionOmniError("Name or password is wrong.", "sign-in")
        with self._lock:
            self._failures.pop(account, None)
        return known["id"]

    def from_hub(self, username: str) -> str:
        account, role = f"hf:{username}", "admin" if username in hub_admins() else "rater"
        with self._store.read() as view:
            known = view.account(account)
        if known and (known["role"] == role or role == "rater"):
            return known["id"]

        def known_or_new(transaction: Transaction) -> str:
            known = transaction.account(account)
            if known:
                transaction.record("rater.changed", rater=known["id"], role=role)
            return known["id"] if known else join(transaction, username, role, account)

        return self._store.write(known_or_new)

    def _count_attempt(self, account: str) -> None:
        """Counted before it is tried, so that many at once cannot all pass; a right one clears the count."""
        with self._lock:
            if len(self._failures) > 10_000:
                self._failures.clear()
            attempts, since = self._failures.get(account, (0, 0.0))
            if time.monotonic() - since >= LOCKED_SECONDS:
                attempts = 0
            if attempts >= FAILURES:
                raise EmotionOmniError("Too many wrong passwords. Wait a minute and try again.", "locked")
            self._failures[account] = (attempts + 1, time.monotonic())


def join(
    transaction: Transaction,
    name: str,
    role: str,
    account: str | None = None,
    cohort: str = "",
    rater: str = "",
    secret: str | None = None,
) -> str:
    rater = rater or "r" + uuid.uuid4().hex[:16]
    transaction.record("rater.joined", rater=rater, name=name, role=role, account=account, cohort=cohort, secret=secret)
    return rater


def pseudonym(secret: bytes, study: str, rater: str) -> str:
    """One name for a rater within a study; another study has another, so that exports cannot be joined."""
    return "R" + hmac.new(secret, f"rater:{study}:{rater}".encode(), hashlib.sha256).hexdigest()[:10]


def oauth_is_on() -> bool:
    """Only on a Space with a secret of its own: elsewhere the session that names a user is signed with a known key."""
    return all(os.environ.get(name) for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"))


def _hub_user(session: Mapping[str, Any]) -> str | None:
    return session.get("oauth_info", {}).get("userinfo", {}).get("preferred_username") if oauth_is_on() else None


def hub_admins() -> set[str]:
    """Hugging Face names that administer this Space: STUDIO_ADMINS, or whoever owns the Space."""
    named = os.environ.get("STUDIO_ADMINS") or os.environ.get("SPACE_AUTHOR_NAME", "")
    return {name.strip() for name in named.split(",") if name.strip()}


def _name(name: Any) -> str:
    text = " ".join(name.split()) if isinstance(name, str) else ""
    if not 1 <= len(text) <= 60 or not text.isprintable():
        raise EmotionOmniError("Please give a name or nickname of 1 to 60 characters.", "bad-name")
    return text


def _account(name: str) -> str:
    """However it is spaced and capitalised, it is the same name."""
    return f"local:{' '.join(name.split()).casefold()}"[:120]


def _secret(home: Path) -> bytes:
    if told := os.environ.get("STUDIO_SECRET"):
        if len(told) < 16:
            raise EmotionOmniError("STUDIO_SECRET needs at least 16 characters.", "bad-setting")
        return told.encode()
    path = home / "secret"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"secret.{uuid.uuid4().hex}")
        new.touch(mode=0o600)
        new.write_text(secrets.token_hex(32))
        try:
            os.link(new, path)  # whoever comes first wins; the others read it
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return path.read_text().encode()


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT).hex()}"


_NOBODY = f"{'00' * 16}:{'00' * 64}"


def _matches(password: Any, secret: str | None) -> bool:
    salt, wanted = (secret or _NOBODY).split(":")
    found = hashlib.scrypt(str(password).encode(), salt=bytes.fromhex(salt), **_SCRYPT)
    return hmac.compare_digest(found.hex(), wanted)
