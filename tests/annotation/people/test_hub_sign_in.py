"""Sign-in with Hugging Face."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sign_in import PASSWORD, cookies, later, refused

from annotation.people.people import People

pytest_plugins = ("databases",)


@pytest.fixture(autouse=True)
def space(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"):
        monkeypatch.setenv(name, "set")
    monkeypatch.setenv("STUDIO_ADMINS", "ann, carol")


def session(name: str, sub: str = "", token: str = "t", seconds: float = 3600, **user: Any) -> dict[str, Any]:
    """The web session that Gradio keeps after a sign-in."""
    userinfo = {"sub": sub or f"sub-{name}", "preferred_username": name} | user
    return {"oauth_info": {"access_token": token, "expires_at": time.time() + seconds, "userinfo": userinfo}}


def test_an_owner_of_the_space_is_admin_and_others_are_raters(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = session("ann"), session("bob")
    assert people.require({}, "admin", ann)["id"] == people.require({}, "admin", session("ann", token="u"))["id"]
    refused("forbidden", people.require, {}, "researcher", bob)
    monkeypatch.setenv("STUDIO_ADMINS", "bob")
    later(monkeypatch, 10)
    assert people.require({}, "admin", bob)
    assert people.require({}, "rater", ann)["role"] == "rater", "who is no admin of the Space any more is none here"


def test_a_local_name_does_not_make_a_hub_user(people: People) -> None:
    hub = people.rater_id({}, session("ann"))
    assert people.accounts.register("hub:sub-ann", PASSWORD) != hub
    assert people.accounts.register("ann", PASSWORD) != hub


def test_an_expired_session_is_nobody(people: People) -> None:
    assert people.rater({}, session("ann", seconds=-1)) is None
    for broken in ({}, {"expires_at": "soon"}, {"expires_at": None}, {"userinfo": {"preferred_username": "ann"}}):
        assert people.rater({}, {"oauth_info": session("ann")["oauth_info"] | {"expires_at": None} | broken}) is None


def test_a_session_that_expires_is_not_remembered(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = session("ann", seconds=2)
    assert people.rater({}, ann) and people.remembered({}, ann)
    later(monkeypatch, 3)
    assert people.remembered({}, ann) is None and people.rater({}, ann) is None


def test_a_person_is_known_by_what_never_changes(people: People) -> None:
    bob = people.rater_id({}, session("bob", "1"))
    assert people.rater_id({}, session("bobby", "1", token="u")) == bob, "the same person under a new name"
    assert people.rater_id({}, session("bob", "2")) != bob, "somebody else who took the name"


def test_an_account_of_an_earlier_release_is_found_by_its_name_once(people: People) -> None:
    joined = {"rater": "r1", "name": "bob", "role": "researcher", "account": "hf:bob", "cohort": "", "secret": None}
    people._store.write(lambda transaction: transaction.record("rater.joined", **joined))
    assert people.require({}, "researcher", session("bob", "1"))["id"] == "r1"
    assert people.rater_id({}, session("bob", "2")) != "r1"


def test_a_guest_who_signs_in_as_admin_is_admin(people: People) -> None:
    guest = cookies(people, people.accounts.add_guest("Guest"))
    assert people.require(guest, "admin", session("ann"))["name"] == "ann"


def test_an_admin_of_the_organization_is_admin_of_its_space(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUDIO_ADMINS")
    monkeypatch.setenv("SPACE_AUTHOR_NAME", "lab")
    lab, other = ({"preferred_username": name, "roleInOrg": "admin"} for name in ("lab", "other"))
    assert people.require({}, "admin", session("ann", orgs=[other, lab]))
    for number, orgs in enumerate(([other], [lab | {"roleInOrg": "write"}], None, "lab", [None])):
        refused("forbidden", people.require, {}, "researcher", session(f"bob{number}", orgs=orgs))


def test_a_copy_of_the_session_is_worthless_after_signing_out(people: People) -> None:
    ann = session("ann")
    assert people.rater({}, ann)
    people.sign_out({}, ann)
    assert people.rater({}, ann) is None and people.remembered({}, ann) is None
    assert people.rater({}, session("ann", token="another sign-in"))
