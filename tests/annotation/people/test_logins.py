"""Logins: the signed cookie of a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer
from sign_in import cookies, later, refused

from annotation.people.logins import COOKIE, LOGIN_SECONDS, REMEMBERED_SECONDS
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


def test_a_copied_cookie_is_worthless_after_signing_out(people: People) -> None:
    cookie = cookies(people, people.accounts.add_guest("Ann"))
    assert people.rater(cookie) and people.remembered(cookie)
    people.sign_out(cookie)
    assert people.rater(cookie) is None and people.remembered(cookie) is None


def test_signing_out_in_one_browser_leaves_the_others(people: People) -> None:
    ann = people.accounts.add_guest("Ann")
    one, other = cookies(people, ann), cookies(people, ann)
    people.sign_out(one)
    assert people.rater(one) is None and people.rater(other)
    assert people.logins.revoke_all(ann) == 1
    assert people.rater(other) is None
    refused("not-found", people.logins.revoke_all, "nobody")


def test_all_logins_of_a_rater_who_withdrew_end_with_their_rows(people: People) -> None:
    ann = people.accounts.add_guest("Ann")
    cookie = cookies(people, ann)
    people._store.withdraw_rater(ann)
    people.logins.forget(ann)
    assert people.remembered(cookie) is None and people.rater(cookie) is None
    with people._store.read() as view:
        assert view.logins() == []


def test_a_login_that_another_process_revoked_ends_within_seconds(
    people: People, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = cookies(people, people.accounts.add_guest("Ann"))
    assert people.remembered(cookie)
    People(home, people._store).sign_out(cookie)
    later(monkeypatch, REMEMBERED_SECONDS + 0.1)
    assert people.remembered(cookie) is None and people.rater(cookie) is None


def test_what_was_read_before_a_revocation_is_not_remembered_after_it(people: People) -> None:
    ann = people.accounts.add_guest("Ann")
    cookie = cookies(people, ann)
    login = people.logins.login(cookie)
    assert login

    def read_slowly() -> str:
        people.logins.revoke(login)
        return ann

    people.logins.look_up(login, read_slowly)
    assert people.remembered(cookie) is None


def test_a_remembered_login_asks_no_database(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = cookies(people, people.accounts.add_guest("Ann"))
    monkeypatch.setattr(people._store, "read", None)
    assert people.remembered(cookie)
    assert people.remembered({COOKIE: "forged"}) is None and people.remembered({}) is None
