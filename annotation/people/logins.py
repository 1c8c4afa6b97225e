"""A login: a signed-in browser, known by a signed cookie that holds the rater's pseudonym and nothing else.

The cookie's name and the salt of its signature never change: that would sign everybody out.
"""

from __future__ import annotations

from collections.abc import Mapping

from itsdangerous import BadSignature, URLSafeTimedSerializer

COOKIE = "studio"
LOGIN_SECONDS = 30 * 86_400


class Logins:
    def __init__(self, key: bytes) -> None:
        self._serializer = URLSafeTimedSerializer(key, salt="session")

    def issue(self, rater: str) -> str:
        """The value of a cookie."""
        return self._serializer.dumps(rater)

    def read(self, cookies: Mapping[str, str]) -> str | None:
        """The rater that a valid cookie names. The store knows whether that rater still exists."""
        try:
            return self._serializer.loads(cookies.get(COOKIE, ""), max_age=LOGIN_SECONDS)
        except BadSignature:
            return None
