"""Roles: who may do what."""

from __future__ import annotations

import pytest
from sign_in import PASSWORD, cookies, refused

from annotation.people.people import People

pytest_plugins = ("databases",)


@pytest.mark.parametrize(("role", "may"), [("rater", 1), ("researcher", 2), ("admin", 3)])
def test_a_role_may_do_what_lower_roles_may(people: People, role: str, may: int) -> None:
    cookie = cookies(people, people.accounts.register("Ann", PASSWORD, role))
    for number, wanted in enumerate(("rater", "researcher", "admin")):
        if number < may:
            assert people.require(cookie, wanted)["role"] == role
        else:
            assert role in refused("forbidden", people.require, cookie, wanted)


def test_a_role_that_is_taken_away_is_gone_at_once(people: People) -> None:
    ann = people.accounts.register("Ann", PASSWORD, "researcher")
    cookie = cookies(people, ann)
    people._store.write(lambda transaction: transaction.record("rater.changed", rater=ann, role="rater"))
    refused("forbidden", people.require, cookie, "researcher")
