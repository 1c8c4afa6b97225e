"""Who sends a request, as far as limits are concerned."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from annotation.people.hub_sign_in import hub_user
from annotation.rating.limits import Visitor
from annotation.rating.public_address import client_address
from annotation.studio import Studio


def visitor(studio: Studio, connection: HTTPConnection) -> Visitor:
    """By what is signed alone: asking the store would cost what the limits are to spare."""
    user = hub_user(connection.scope.get("session", {}))
    login = user.login if user else studio.people.logins.login(connection.cookies)
    return Visitor(studio.limits.hidden(client_address(connection)), login or "")
