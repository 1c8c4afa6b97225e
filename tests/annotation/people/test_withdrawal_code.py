"""The code by which a rater withdraws without being signed in."""

from __future__ import annotations

from typing import Any

import pytest

from annotation.people.people import People

pytest_plugins = ("databases",)


def test_a_code_finds_its_rater_however_it_is_written(people: People) -> None:
    ann, bob = people.accounts.add_guest("Ann"), people.accounts.add_guest("Bob")
    code = people.withdrawal_code(ann)
    assert people.rater_of_code(code) == people.rater_of_code(f" {code.upper()[:9]} {code[9:]}\n") == ann
    assert people.withdrawal_code(bob) != code


@pytest.mark.parametrize("code", ["", "-", None, 5, "é-é", "x" * 1000, ["r"]])
def test_what_is_not_a_code_finds_nobody(people: People, code: Any) -> None:
    assert people.rater_of_code(code) is None


def test_a_pseudonym_or_half_a_code_is_not_enough(people: People) -> None:
    ann, bob = people.accounts.add_guest("Ann"), people.accounts.add_guest("Bob")
    code = people.withdrawal_code(ann)
    for guess in (ann, f"{ann}-", code[:-1], code + "0", f"{bob}-{code.rpartition('-')[2]}"):
        assert people.rater_of_code(guess) is None


def test_the_code_of_who_withdrew_finds_nobody(people: People) -> None:
    ann = people.accounts.add_guest("Ann")
    people._store.withdraw_rater(ann)
    assert people.rater_of_code(people.withdrawal_code(ann)) is None
