"""Logins: the signed cookie of a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer
from sign_in import cookies, later, refused

from annotation.people.logins import COOKIE, LOGIN_SECONDS
from annotation.people.people import People

pytest_plugins = ("databases",)


def test_a_cookie_names_its_rater_and_no_one_else(people: People) -> None:
    ann, bob = people.accounts.add_guest("Ann"), people.accounts.add_guest("Bob")
    assert people.rater(cookies(people, ann))["name"] == "Ann"
    assert people.rater(cookies(people, bob))["name"] == "Bob"


def test_a_forged_cookie_is_not_a_login(people: People) -> None:
    ann = people.accounts.add_guest("Ann")
    signed = people.logins.issue(ann)
    forged = [
        URLSafeTimedSerializer(secret, salt=salt).dumps(ann)
        for secret, salt in ((b"guessed", "session"), (people.key, "invite"))
    ]
    forged += [people.invites.create(), "A" + signed[1:], signed[:-2], signed.split(".")[0], ann, "", "..", "\x00"]
    for value in forged:
        assert people.rater({COOKIE: value}) is None
        refused("sign-in", people.require, {COOKIE: value})
    refused("sign-in", people.require, {})


def test_a_login_ends(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = cookies(people, people.accounts.add_guest("Ann"))
    later(monkeypatch, LOGIN_SECONDS + 10)
    assert people.rater(cookie) is None


def test_a_login_survives_a_restart(people: People, home: Path) -> None:
    cookie = cookies(people, people.accounts.add_guest("Ann"))
    assert People(home, people._store).rater(cookie)["name"] == "Ann"


def test_the_cookie_of_a_rater_who_withdrew_is_not_a_login(people: People) -> None:
    ann = people.accounts.add_guest("Ann")
    cookie = cookies(people, ann)
    people._store.withdraw_rater(ann)
    refused("sign-in", people.require, cookie)
