"""Who sends a request, as far as limits are concerned."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from annotation.people.hub_sign_in import hub_user
from annotation.rating.limits import Visitor
from annotation.rating.request_guard import client_address
from annotation.studio import Studio


def visitor(studio: Studio, connection: HTTPConnection) -> Visitor:
    """By the signature of the login alone: asking the store would cost what the limits are to spare."""
    rater = studio.people.logins.read(connection.cookies) or hub_user(connection.scope.get("session", {}))
    return Visitor(studio.limits.hidden(client_address(connection)), rater or "")
