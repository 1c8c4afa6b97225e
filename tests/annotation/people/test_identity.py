"""Who may come in, and as whom: passwords, links, cookies, roles."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

from annotation.people import identity
from annotation.people.identity import COOKIE, FAILURES, INVITE_SECONDS, LOCKED_SECONDS, SESSION_SECONDS, Identity
from annotation.store.store import Store
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords hashed lightly: their cost is not what is tested here."""
    monkeypatch.setattr(identity, "_SCRYPT", {"n": 2, "r": 1, "p": 1})
    monkeypatch.delenv("STUDIO_SECRET", raising=False)


@pytest.fixture
def people(home: Path) -> Iterator[Identity]:
    store = Store(home)
    yield Identity(home, store)
    store.close()


def cookies(people: Identity, rater: str) -> dict[str, str]:
    return {COOKIE: people.session(rater)}


def refused(code: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        call(*arguments)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now, monotonic = time.time() + seconds, time.monotonic() + seconds
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)


# --- passwords --------------------------------------------------------------------------------------------------


def test_an_account_is_entered_by_its_name_and_password(people: Identity) -> None:
    rater = people.register("Ann  Lee", PASSWORD)
    for name in ("Ann Lee", "ann lee", "  ANN   LEE "):
        assert people.sign_in(name, PASSWORD) == rater


def test_an_account_with_a_name_that_grows_when_its_case_is_folded_can_be_entered(people: Identity) -> None:
    rater = people.register("ΐ" * 60, PASSWORD)
    assert people.sign_in("ΐ" * 60, PASSWORD) == rater


@pytest.mark.parametrize("password", ["wrong horse", "", None, 5, PASSWORD + " ", ["x"]])
def test_a_wrong_password_and_an_unknown_name_look_the_same(people: Identity, password: Any) -> None:
    people.register("Ann", PASSWORD)
    assert refused("sign-in", people.sign_in, "Ann", password) == refused("sign-in", people.sign_in, "Nobody", password)


def test_an_account_waits_after_too_many_wrong_passwords(people: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    rater = people.register("Ann", PASSWORD)
    people.register("Bob", PASSWORD)
    for _ in range(FAILURES):
        refused("sign-in", people.sign_in, "Ann", "wrong horse")
    refused("locked", people.sign_in, " ANN", PASSWORD)
    assert people.sign_in("Bob", PASSWORD)
    later(monkeypatch, LOCKED_SECONDS + 1)
    assert people.sign_in("Ann", PASSWORD) == rater


def test_a_right_password_ends_the_count_of_wrong_ones(people: Identity) -> None:
    people.register("Ann", PASSWORD)
    for _ in range(3):
        for _ in range(FAILURES - 1):
            refused("sign-in", people.sign_in, "Ann", "wrong horse")
        assert people.sign_in("Ann", PASSWORD)


def test_a_name_is_taken_once_however_it_is_written(people: Identity) -> None:
    people.register("Ann Lee", PASSWORD)
    refused("taken", people.register, "ann   LEE", "another password")


@pytest.mark.parametrize("password", ["short", "", None, 1234567890, "x" * 201])
def test_a_password_that_is_too_short_or_none_is_refused(people: Identity, password: Any) -> None:
    refused("bad-password", people.register, "Ann", password)


@pytest.mark.parametrize("name", ["", "   ", None, 5, "x" * 61, ["Ann"]])
def test_a_name_that_is_none_is_refused(people: Identity, name: Any) -> None:
    refused("bad-name", people.guest, name)
    refused("bad-name", people.register, name, PASSWORD)


def test_a_password_is_not_stored(people: Identity, home: Path) -> None:
    people.register("Ann", PASSWORD)
    assert not any(PASSWORD.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_guest_cannot_be_signed_in_as(people: Identity) -> None:
    people.guest("Ann")
    refused("sign-in", people.sign_in, "Ann", "None")
    refused("sign-in", people.sign_in, "Ann", "")


# --- cookies ----------------------------------------------------------------------------------------------------


def test_a_cookie_names_its_rater_and_nobody_else(people: Identity) -> None:
    ann, bob = people.guest("Ann"), people.guest("Bob")
    assert people.rater(cookies(people, ann))["name"] == "Ann"
    assert people.rater(cookies(people, bob))["name"] == "Bob"


def test_a_forged_cookie_names_nobody(people: Identity) -> None:
    ann = people.guest("Ann")
    signed = people.session(ann)
    forged = [
        URLSafeTimedSerializer(secret, salt=salt).dumps(ann)
        for secret, salt in ((b"guessed", "session"), (people.secret, "invite"))
    ]
    forged += [people.invite(), "A" + signed[1:], signed[:-2], signed.split(".")[0], ann, "", "..", "\x00"]
    for value in forged:
        assert people.rater({COOKIE: value}) is None
        refused("sign-in", people.require, {COOKIE: value})
    refused("sign-in", people.require, {})


def test_a_session_ends(people: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    told = cookies(people, people.guest("Ann"))
    later(monkeypatch, SESSION_SECONDS + 10)
    assert people.rater(told) is None


def test_a_session_survives_a_restart(people: Identity, home: Path) -> None:
    told = cookies(people, people.guest("Ann"))
    assert Identity(home, people._store).rater(told)["name"] == "Ann"


def test_the_cookie_of_somebody_who_withdrew_names_nobody(people: Identity) -> None:
    ann = people.guest("Ann")
    told = cookies(people, ann)
    people._store.withdraw_rater(ann)
    refused("sign-in", people.require, told)


# --- roles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "may"), [("rater", 1), ("researcher", 2), ("admin", 3)])
def test_a_role_may_do_what_lower_roles_may(people: Identity, role: str, may: int) -> None:
    told = cookies(people, people.register("Ann", PASSWORD, role))
    for number, wanted in enumerate(("rater", "researcher", "admin")):
        if number < may:
            assert people.require(told, wanted)["role"] == role
        else:
            assert role in refused("forbidden", people.require, told, wanted)


def test_a_role_that_is_taken_away_is_gone_at_once(people: Identity) -> None:
    ann = people.register("Ann", PASSWORD, "researcher")
    told = cookies(people, ann)
    people._store.write(lambda transaction: transaction.record("rater.changed", rater=ann, role="rater"))
    refused("forbidden", people.require, told, "researcher")


def test_an_owner_of_the_space_is_admin_and_others_are_raters(
    people: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_ADMINS", "ann, carol")
    ann, bob = people.from_hub("ann"), people.from_hub("bob")
    assert people.require(cookies(people, ann), "admin") and people.from_hub("ann") == ann
    refused("forbidden", people.require, cookies(people, bob), "researcher")
    monkeypatch.setenv("STUDIO_ADMINS", "bob")
    assert people.from_hub("bob") == bob
    assert people.require(cookies(people, bob), "admin")


def test_nobody_becomes_a_hub_user_by_a_local_name(people: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ADMINS", "ann")
    hub = people.from_hub("ann")
    assert people.register("hf:ann", PASSWORD) != hub
    assert people.register("ann", PASSWORD) != hub


# --- links ------------------------------------------------------------------------------------------------------


def test_a_link_is_one_person_wherever_it_is_opened(people: Identity) -> None:
    token = people.invite("researcher", cohort="north", name="Ann")
    rater = people.accept(token)
    assert people.accept(token) == rater
    known = people.require(cookies(people, rater), "researcher")
    assert (known["name"], known["cohort"]) == ("Ann", "north")
    assert people.accept(people.invite("researcher", name="Ann")) != rater


def test_a_link_enrols_in_its_study(people: Identity) -> None:
    people._store.write(
        lambda transaction: transaction.record("study.created", study="s1", settings={}, state="open", by=None)
    )
    rater = people.accept(people.invite(study="s1"))
    people.accept(people.invite(study="gone"))
    with people._store.read() as view:
        assert view.enrolment("s1", rater)["phase"] == "consent"


def test_a_link_expires(people: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    token = people.invite()
    later(monkeypatch, INVITE_SECONDS - 60)
    assert people.accept(token)
    later(monkeypatch, 120)
    assert "90 days" in refused("sign-in", people.accept, token)


@pytest.mark.parametrize("token", ["", None, 5, "a.b.c", ["x"], "\x00"])
def test_what_is_no_link_is_refused(people: Identity, token: Any) -> None:
    refused("sign-in", people.accept, token)


def test_a_session_is_no_link_and_roles_cannot_be_made_up(people: Identity) -> None:
    refused("sign-in", people.accept, people.session(people.guest("Ann")))
    refused("bad-role", people.invite, "owner")


# --- the secret -------------------------------------------------------------------------------------------------


def test_the_secret_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret = identity._secret(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert len(secret) >= 32 and identity._secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_is_too_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_SECRET", "x" * 15)
    assert "16 characters" in refused("bad-setting", identity._secret, tmp_path)
    monkeypatch.setenv("STUDIO_SECRET", "x" * 16)
    assert identity._secret(tmp_path) == b"x" * 16
    assert not (tmp_path / "secret").exists()
