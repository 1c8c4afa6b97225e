"""Accounts: names, passwords and guests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sign_in import PASSWORD, refused

from annotation.people.people import People

pytest_plugins = ("databases",)


def test_a_person_signs_in_with_name_and_password(people: People) -> None:
    rater = people.accounts.register("Ann  Lee", PASSWORD)
    for name in ("Ann Lee", "ann lee", "  ANN   LEE "):
        assert people.accounts.sign_in(name, PASSWORD) == rater


def test_a_name_that_grows_when_its_case_is_folded_can_sign_in(people: People) -> None:
    rater = people.accounts.register("ΐ" * 60, PASSWORD)
    assert people.accounts.sign_in("ΐ" * 60, PASSWORD) == rater


@pytest.mark.parametrize("password", ["wrong horse", "", None, 5, PASSWORD + " ", ["x"]])
def test_a_wrong_password_and_an_unknown_name_look_the_same(people: People, password: Any) -> None:
    people.accounts.register("Ann", PASSWORD)
    assert refused("sign-in", people.accounts.sign_in, "Ann", password) == refused(
        "sign-in", people.accounts.sign_in, "Nobody", password
    )


def test_a_name_is_taken_once_however_it_is_written(people: People) -> None:
    people.accounts.register("Ann Lee", PASSWORD)
    refused("taken", people.accounts.register, "ann   LEE", "another password")


@pytest.mark.parametrize("password", ["short", "", None, 1234567890, "x" * 201])
def test_a_password_that_is_too_short_or_not_text_is_refused(people: People, password: Any) -> None:
    refused("bad-password", people.accounts.register, "Ann", password)


@pytest.mark.parametrize("name", ["", "   ", None, 5, "x" * 61, ["Ann"]])
def test_a_name_that_is_empty_or_not_text_is_refused(people: People, name: Any) -> None:
    refused("bad-name", people.accounts.add_guest, name)
    refused("bad-name", people.accounts.register, name, PASSWORD)


def test_a_password_is_not_stored(people: People, home: Path) -> None:
    people.accounts.register("Ann", PASSWORD)
    assert not any(PASSWORD.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_guest_cannot_be_signed_in_as(people: People) -> None:
    people.accounts.add_guest("Ann")
    refused("sign-in", people.accounts.sign_in, "Ann", "None")
    refused("sign-in", people.accounts.sign_in, "Ann", "")
