"""The key that signs logins, invites and receipts, and from which pseudonyms are made.

It is ``STUDIO_SECRET`` or, by default, a file that only its owner can read, made at the first start.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from contextlib import suppress
from pathlib import Path

from emotion_omni.types import EmotionOmniError

SHORTEST_KEY = 16  # characters


def signing_key(home: Path) -> bytes:
    if configured := os.environ.get("STUDIO_SECRET"):
        if len(configured) < SHORTEST_KEY:
            raise EmotionOmniError(f"STUDIO_SECRET needs at least {SHORTEST_KEY} characters.", "bad-setting")
        return configured.encode()
    path = home / "secret"
    if not path.exists():
        _make_key(path)
    return path.read_text().encode()


def require_lasting_key() -> None:
    """Without a key of its own a Space makes a new one at each restart, and would forget its raters and their codes."""
    if os.environ.get("SPACE_ID") and not os.environ.get("STUDIO_SECRET"):
        raise EmotionOmniError(
            "On a Space, studies need the secret STUDIO_SECRET: without it each restart would forget the raters, their "
            "pseudonyms and their withdrawal codes. Add it in the settings of the Space, for example the output of "
            "'python -c \"import secrets; print(secrets.token_hex(32))\"'.",
            "bad-setting",
        )


def _make_key(path: Path) -> None:
    """Of several processes that make a key at once, the first wins, and the others read its key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"secret.{uuid.uuid4().hex}")
    new.touch(mode=0o600)
    new.write_text(secrets.token_hex(32))
    with suppress(FileExistsError):
        os.link(new, path)
    new.unlink()


def pseudonym(key: bytes, study: str, rater: str) -> str:
    """A rater's name within a study. It differs between studies, so that their exports cannot be joined."""
    return "R" + hmac.new(key, f"rater:{study}:{rater}".encode(), hashlib.sha256).hexdigest()[:10]
