"""Checks of raters: each expects what its clips really call for."""

from __future__ import annotations

import pytest

from annotation.study.checks import LINES, Check, checks_for
from annotation.study.templates import TEMPLATES


def checks(template: str, *roles: str) -> list[Check]:
    return [check for check in checks_for(TEMPLATES[template]) if check.role in roles]


def test_the_preferred_answer_is_the_kind_one_and_stands_on_both_sides() -> None:
    sides = set()
    for check in checks("compare", "training", "gold"):
        side = check.expected["preference"]
        other = {"a": "b", "b": "a"}[side]
        assert check.clips[side].startswith("kind-") and check.clips[other].startswith("cold-")
        sides.add((check.role, side))
    assert len(sides) == 4


def test_answers_rated_low_are_the_cold_ones() -> None:
    for check in checks("empathy", "training", "gold"):
        for bounds in check.expected.values():
            assert check.clips["reply"].startswith("cold-" if bounds["high"] == 2 else "kind-")


@pytest.mark.parametrize(
    ("template", "scale", "role"),
    [("emotion-recognition", "primary", "speech"), ("correction", "rewrite_emotion", "reply")],
)
def test_a_trap_says_which_emotion_to_choose(template: str, scale: str, role: str) -> None:
    for check in checks(template, "trap"):
        assert f"Please choose: {check.expected[scale]}." in LINES[check.clips[role]].text


def test_a_trap_says_which_side_or_value_to_choose() -> None:
    for check in checks("compare", "trap"):
        side = check.expected["preference"]
        assert all(f"choose answer {side.upper()}." in LINES[check.clips[name]].text for name in "ab")
    for check in checks("empathy", "trap"):
        (value,) = set(check.expected.values())
        assert {1: "lowest", 5: "highest"}[value] in LINES[check.clips["reply"]].text


def test_emotion_checks_expect_the_emotion_that_the_line_is_spoken_in() -> None:
    for check in checks("emotion-recognition", "training", "gold"):
        assert LINES[check.clips["speech"]].emotion == check.expected["primary"]


def test_the_sound_check_expects_the_digits_of_its_line() -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for check in checks("compare", "sound"):
        spoken = LINES[check.clips["speech"]].text.rstrip(".").split()
        assert check.expected["digits"] == "".join(str(names.index(word)) for word in spoken)
