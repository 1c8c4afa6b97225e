"""The code by which a rater can withdraw without being signed in: the pseudonym, and a signature of it.

Nothing of it is stored. It stays the same as long as the studio keeps its key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

SIGNATURE = 20  # hexadecimal digits


def make(key: bytes, rater: str) -> str:
    return f"{rater}-{hmac.new(key, f'withdraw:{rater}'.encode(), hashlib.sha256).hexdigest()[:SIGNATURE]}"


def read(key: bytes, code: Any) -> str | None:
    """The rater of a code, however it is spaced and capitalized; None if it is not one."""
    given = "".join(code.split()).lower() if isinstance(code, str) else ""
    rater, dash, _ = given.rpartition("-")
    if not dash or not given.isascii():
        return None
    return rater if hmac.compare_digest(make(key, rater), given) else None
