"""Passwords: hashed with scrypt, two at once. How often they are tried is limited where requests come in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from typing import Any

from emotion_omni.types import EmotionOmniError

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 200
AT_ONCE = threading.BoundedSemaphore(2)  # hashing one takes a processor and 16 MB for a tenth of a second
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
    return f"{salt.hex()}:{_scrypt(password, salt).hex()}"


def is_right(password: Any, hashed: str | None) -> bool:
    """``hashed`` None: no such account; hashing takes as long, so that names cannot be probed by the time it takes."""
    salt, expected = (hashed or _NO_ACCOUNT).split(":")
    return hmac.compare_digest(_scrypt(str(password), bytes.fromhex(salt)).hex(), expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    with AT_ONCE:
        return hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
