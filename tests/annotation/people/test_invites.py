"""Invites: signed links."""

from __future__ import annotations

from typing import Any

import pytest
from sign_in import cookies, later, refused

from annotation.people.invites import INVITE_SECONDS
from annotation.people.people import People

pytest_plugins = ("databases",)


def test_an_invite_is_one_person_wherever_it_is_opened(people: People) -> None:
    token = people.invites.create("researcher", cohort="north", name="Ann")
    rater = people.invites.accept(token)
    assert people.invites.accept(token) == rater
    known = people.require(cookies(people, rater), "researcher")
    assert (known["name"], known["cohort"]) == ("Ann", "north")
    assert people.invites.accept(people.invites.create("researcher", name="Ann")) != rater


def test_an_invite_enrols_in_its_study(people: People) -> None:
    people._store.write(
        lambda transaction: transaction.record("study.created", study="s1", settings={}, state="open", by=None)
    )
    rater = people.invites.accept(people.invites.create(study="s1"))
    people.invites.accept(people.invites.create(study="gone"))
    with people._store.read() as view:
        assert view.enrolment("s1", rater)["phase"] == "consent"


def test_an_invite_expires(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    token = people.invites.create()
    later(monkeypatch, INVITE_SECONDS - 60)
    assert people.invites.accept(token)
    later(monkeypatch, 120)
    assert "90 days" in refused("sign-in", people.invites.accept, token)


@pytest.mark.parametrize("token", ["", None, 5, "a.b.c", ["x"], "\x00"])
def test_a_token_that_is_not_an_invite_is_refused(people: People, token: Any) -> None:
    refused("sign-in", people.invites.accept, token)


def test_a_login_is_not_an_invite_and_roles_cannot_be_made_up(people: People) -> None:
    refused("sign-in", people.invites.accept, people.logins.issue(people.accounts.add_guest("Ann")))
    refused("bad-role", people.invites.create, "owner")
