"""Sign-in with Hugging Face."""

from __future__ import annotations

import pytest
from sign_in import PASSWORD, cookies, refused

from annotation.people.hub_sign_in import sign_in_hub_user
from annotation.people.people import People

pytest_plugins = ("databases",)


def test_an_owner_of_the_space_is_admin_and_others_are_raters(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ADMINS", "ann, carol")
    ann, bob = sign_in_hub_user(people._store, "ann"), sign_in_hub_user(people._store, "bob")
    assert people.require(cookies(people, ann), "admin") and sign_in_hub_user(people._store, "ann") == ann
    refused("forbidden", people.require, cookies(people, bob), "researcher")
    monkeypatch.setenv("STUDIO_ADMINS", "bob")
    assert sign_in_hub_user(people._store, "bob") == bob
    assert people.require(cookies(people, bob), "admin")


def test_a_local_name_does_not_make_a_hub_user(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ADMINS", "ann")
    hub = sign_in_hub_user(people._store, "ann")
    assert people.accounts.register("hf:ann", PASSWORD) != hub
    assert people.accounts.register("ann", PASSWORD) != hub
