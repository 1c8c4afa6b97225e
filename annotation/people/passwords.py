"""Passwords: hashed with scrypt, and tried only so often."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from typing import Any

from emotion_omni.types import EmotionOmniError

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 200
FAILURES, LOCKED_SECONDS = 8, 60  # after so many wrong passwords, an account is locked for so long
MOST_COUNTED = 10_000  # accounts whose attempts are kept in memory
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 2**20}
_NO_ACCOUNT = f"{'00' * 16}:{'00' * 64}"


def check_password(password: Any) -> str:
    if not isinstance(password, str) or not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise EmotionOmniError(
            f"A password needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.", "bad-password"
        )
    return password


def hash_password(password: str) -> str:
    """→ "salt:hash", both in hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT).hex()}"


def is_right(password: Any, hashed: str | None) -> bool:
    """``hashed`` None: no such account; hashing takes as long, so that names cannot be probed by the time it takes."""
    salt, expected = (hashed or _NO_ACCOUNT).split(":")
    found = hashlib.scrypt(str(password).encode(), salt=bytes.fromhex(salt), **_SCRYPT)
    return hmac.compare_digest(found.hex(), expected)


class AttemptLimit:
    """Counts the wrong passwords of each account, in memory."""

    def __init__(self) -> None:
        self._attempts: dict[str, tuple[int, float]] = {}  # account → number, time of the last
        self._lock = threading.Lock()

    def count(self, account: str) -> None:
        """Counted before it is tried, so that many at once cannot all pass. Refuses one attempt too many."""
        with self._lock:
            if len(self._attempts) > MOST_COUNTED:
                self._attempts.clear()
            number, last = self._attempts.get(account, (0, 0.0))
            if time.monotonic() - last >= LOCKED_SECONDS:
                number = 0
            if number >= FAILURES:
                raise EmotionOmniError("Too many wrong passwords. Wait a minute and try again.", "locked")
            self._attempts[account] = (number + 1, time.monotonic())

    def clear(self, account: str) -> None:
        with self._lock:
            self._attempts.pop(account, None)
