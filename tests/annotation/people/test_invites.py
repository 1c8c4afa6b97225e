"""Invites: signed links with a number of uses."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import raters
from sign_in import cookies, later, refused

from annotation.people.invites import DAY, INVITE_SECONDS, USES
from annotation.people.people import People
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)


def test_a_raters_invite_is_one_person_wherever_it_is_opened(people: People) -> None:
    token = people.invites.create(cohort="north", name="Ann")
    rater = people.invites.accept(token)
    assert people.invites.accept(token) == rater
    known = people.require(cookies(people, rater))
    assert (known["name"], known["cohort"], known["role"]) == ("Ann", "north", "rater")
    assert people.invites.accept(people.invites.create(name="Ann")) != rater


@pytest.mark.parametrize("role", ["rater", "researcher", "admin"])
def test_an_invite_is_used_up(people: People, role: str) -> None:
    token = people.invites.create(role)
    for _ in range(USES[role]):
        assert people.invites.accept(token)
    assert "used up" in refused("sign-in", people.invites.accept, token)


def test_two_browsers_cannot_share_the_last_use(people: People) -> None:
    token, outcomes = people.invites.create("admin"), []
    waiting = threading.Barrier(8)

    def accept() -> None:
        waiting.wait()
        try:
            outcomes.append(people.invites.accept(token))
        except EmotionOmniError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=accept) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("sign-in") == 7


def test_an_invite_enrols_in_its_study(people: People) -> None:
    people._store.write(
        lambda transaction: transaction.record("study.created", study="s1", settings={}, state="open", by=None)
    )
    rater = people.invites.accept(people.invites.create(study="s1"))
    people.invites.accept(people.invites.create(study="gone"))
    with people._store.read() as view:
        assert view.enrolment("s1", rater)["phase"] == "consent"


@pytest.mark.parametrize(("role", "seconds"), [("rater", INVITE_SECONDS), ("researcher", 7 * DAY), ("admin", 7 * DAY)])
def test_an_invite_expires(people: People, monkeypatch: pytest.MonkeyPatch, role: str, seconds: int) -> None:
    token = people.invites.create(role)
    later(monkeypatch, seconds - 60)
    assert people.invites.read(token)
    later(monkeypatch, 120)
    refused("sign-in", people.invites.accept, token)


def test_a_revoked_invite_opens_nothing(people: People) -> None:
    token = people.invites.create()
    people.invites.accept(token)
    people.invites.revoke(people.invites.read(token)["id"])
    assert "revoked" in refused("sign-in", people.invites.accept, token)
    refused("not-found", people.invites.revoke, "nothing")


def test_the_link_of_a_start_works_once_within_a_day_and_ends_earlier_ones(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = people.invites.create_for_machine(), people.invites.create_for_machine()
    refused("sign-in", people.invites.accept, first)
    admin = people.invites.accept(second)
    assert people.require(cookies(people, admin), "admin")
    refused("sign-in", people.invites.accept, second)
    third = people.invites.create_for_machine()
    assert people.invites.read(third)["rater"] == admin, "the same admin each time"
    later(monkeypatch, DAY + 60)
    refused("sign-in", people.invites.accept, third)


def test_who_was_erased_does_not_come_back(people: People) -> None:
    token = people.invites.create(name="Ann")
    people._store.withdraw_rater(people.invites.accept(token))
    refused("sign-in", people.invites.accept, token)
    assert not any(b"Ann" in path.read_bytes() for path in people._store.home.rglob("*") if path.is_file())


def test_a_link_to_a_deleted_study_is_deleted_with_it(people: People) -> None:
    facts = {"settings": {}, "state": "open", "by": None}
    people._store.write(lambda transaction: transaction.record("study.created", study="s1", **facts))
    token = people.invites.create(study="s1")
    people._store.write(lambda transaction: transaction.record("study.deleted", study="s1"))
    refused("sign-in", people.invites.accept, token)


@pytest.mark.parametrize("loss", ["erased", "demoted"])
def test_who_lost_a_role_does_not_come_back_by_a_link_they_made(people: People, loss: str) -> None:
    ann = people.invites.accept(people.invites.create("researcher"))
    spare, for_raters = people.invites.create("researcher", by=ann), people.invites.create(by=ann)
    if loss == "erased":
        people._store.withdraw_rater(ann)
    else:
        people.give_role(ann, "rater")
    refused("sign-in", people.invites.accept, spare)
    assert people.invites.accept(for_raters), "raters keep the links that they were sent"


def test_a_role_is_not_raised_by_opening_a_link_again(people: People) -> None:
    token = people.invites.create("researcher")
    rater = people.invites.accept(token)
    people.give_role(rater, "rater")
    refused("sign-in", people.invites.accept, token)
    refused("forbidden", people.require, cookies(people, rater), "researcher")


def test_invites_and_logins_are_rebuilt_from_the_log(people: People) -> None:
    used, revoked = people.invites.create(name="Ann"), people.invites.create("admin")
    ann = people.invites.accept(used)
    people.invites.revoke(people.invites.read(revoked)["id"])
    people.sign_out(cookies(people, ann))
    people.logins.issue(ann, "link")
    people._store.withdraw_rater(people.invites.accept(people.invites.create(name="Bob")))
    before = raters.tables_of(people._store)
    assert before["invites"] and before["logins"]
    people._store.rebuild()
    assert raters.tables_of(people._store) == before


@pytest.mark.parametrize("token", ["", None, 5, "a.b.c", ["x"], "\x00"])
def test_a_token_that_is_not_an_invite_is_refused(people: People, token: Any) -> None:
    refused("sign-in", people.invites.accept, token)


def test_a_login_is_not_an_invite_and_roles_cannot_be_made_up(people: People) -> None:
    refused("sign-in", people.invites.accept, people.logins.issue(people.accounts.add_guest("Ann")))
    refused("bad-role", people.invites.create, "owner")
