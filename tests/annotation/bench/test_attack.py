"""The attack suite: every attack is repelled, and one that gets through is reported."""

from __future__ import annotations

from typing import Any, cast

import pytest

from annotation.bench.attack import suite
from annotation.bench.attack.registry import ATTACKS, Attack
from annotation.bench.attack.target import Target, expect


def outcome(run: Any) -> suite.Outcome:
    return suite._tried(Attack("kind", "name", "It fails.", run), cast(Target, None), lambda outcome: None)


def test_an_attack_that_gets_through_is_reported_with_what_was_found():
    found = outcome(lambda target: expect(False, "the door was open"))
    assert not found.held and found.found == "the door was open" and "BROKEN" in suite.as_line(found)


def test_an_attack_that_breaks_has_shown_nothing():
    found = outcome(lambda target: 1 / 0)
    assert not found.held and "ZeroDivisionError" in found.found


def test_an_attack_that_is_repelled_is_held():
    assert outcome(lambda target: expect(True, "")).held


def test_every_attack_says_what_must_happen_and_has_a_name_of_its_own():
    names = [one.name for one in ATTACKS]
    assert len(names) >= 100 and len(set(names)) == len(names)
    assert all(one.expectation.endswith(".") for one in ATTACKS)


@pytest.mark.slow
def test_every_attack_is_repelled():
    """But those that look at the clock, which a busy machine would fail: ``python -m annotation attack`` runs them."""
    report = suite.run({one.kind for one in ATTACKS} - {"timing"})
    broken = [f"{one['kind']}.{one['name']}: {one['found']}" for one in report["outcomes"] if not one["held"]]
    assert not broken and report["attacks"] >= 100
