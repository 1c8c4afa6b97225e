"""Who may begin a study."""

from __future__ import annotations

import raters
from raters import Clock, Rater
from sessions import PLAIN, at_task, refused

from annotation.studio import Studio

pytest_plugins = ("databases",)


def test_an_invited_study_opens_to_its_link_only(studio: Studio, clock: Clock) -> None:
    raters.study(studio, access="invited")
    assert "invitation" in refused("forbidden", Rater(studio, "s1", clock).next)
    guest = studio.people.invites.accept(studio.people.invites.create(study="s1"))
    assert Rater(studio, "s1", clock, guest).next()["screen"] == "consent"
    elsewhere = studio.people.invites.accept(studio.people.invites.create(study="s2"))
    refused("forbidden", Rater(studio, "s1", clock, elsewhere).next)


def test_a_study_of_cohorts_opens_to_them_only(studio: Studio, clock: Clock) -> None:
    raters.study(studio, cohorts=["north", "south"])
    refused("forbidden", Rater(studio, "s1", clock, raters.new_rater(studio, cohort="east")).next)
    refused("forbidden", Rater(studio, "s1", clock).next)
    assert Rater(studio, "s1", clock, raters.new_rater(studio, cohort="south")).next()["screen"] == "consent"


def test_who_has_withdrawn_is_asked_to_sign_in(studio: Studio, clock: Clock) -> None:
    raters.study(studio)
    rater, screen = at_task(studio, clock)
    body = rater.filled(screen)
    studio.withdraw(rater=rater.id, study=None)
    refused("sign-in", rater.next)
    refused("not-yours", rater.submit, body)


def test_who_withdrew_from_a_study_may_begin_it_anew(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=2, **PLAIN)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    studio.withdraw(rater=rater.id, study="s1")
    assert rater.next()["screen"] == "consent"
    assert len(rater.walk()) == 2
