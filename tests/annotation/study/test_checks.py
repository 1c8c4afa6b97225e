"""Checks of raters: each expects what its clips really call for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotation.study.checks import AND, EXAMPLES, LINES, Check, checks_for, example, examples, items, spoken, words
from annotation.study.clips import Clips
from annotation.study.items import in_modes, make_item
from annotation.study.templates import TEMPLATES
from emotion_omni import emotion
from emotion_omni.types import Audio, EmotionOmniError


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


def test_the_sound_check_expects_the_digits_of_its_lines() -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for check in checks("compare", "sound"):
        said = words(check.clips["speech"]).replace(".", "").split()
        assert check.expected["digits"] == "".join(str(names.index(word)) for word in said) and len(said) == 3


def test_the_digits_of_studies_differ() -> None:
    drawn = {check.expected["digits"] for _ in range(5) for check in checks("compare", "sound")}
    assert len(drawn) > 15


def lines_of(template: str, *roles: str) -> set[str]:
    return {line for check in checks(template, *roles) for name in check.clips.values() for line in name.split(AND)}


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_gold_items_share_no_recording_with_the_training(template: str) -> None:
    assert not lines_of(template, "gold") & lines_of(template, "training")
    assert lines_of(template, "gold")


def test_examples_are_used_in_no_check_and_nothing_else_is_served_as_one() -> None:
    used = {line for template in TEMPLATES for line in lines_of(template, "sound", "training", "gold", "trap")}
    shown = {line for template in TEMPLATES.values() for _, line in examples(template)}
    assert shown == set(EXAMPLES) and not used & set(EXAMPLES)
    for name in LINES:
        if name not in EXAMPLES:
            with pytest.raises(EmotionOmniError):
                example(name)
        else:
            assert example(name)[:4] == b"fLaC"


@pytest.mark.parametrize("name", sorted(LINES))
def test_every_line_has_a_recording(name: str) -> None:
    assert 0.3 < spoken(name).seconds < 9


# --- traps ------------------------------------------------------------------------------------------------------


def tone(pitch: float, seconds: float = 3.0) -> Audio:
    times = np.arange(int(seconds * 24_000)) / 24_000
    return Audio((0.2 * np.sin(2 * np.pi * pitch * times)).astype(np.float32), 24_000)


def own_items(template: str, clips: Clips) -> list[dict]:
    roles = TEMPLATES[template].clips
    return [
        make_item({role: tone(pitch) for role in roles}, clips, dict.fromkeys(roles, "own words"))
        for pitch in (200.0, 300.0)
    ]


@pytest.mark.parametrize("template", ["emotion-recognition", "empathy", "compare", "correction"])
def test_a_trap_begins_as_a_clip_of_the_study_and_ends_with_the_instruction(template: str, tmp_path: Path) -> None:
    clips = Clips(tmp_path)
    own = own_items(template, clips)
    made = items(TEMPLATES[template], clips, own)
    traps = [item for item in made if item["role"] == "trap"]
    expected = checks(template, "trap")
    assert [trap["expected"] for trap in traps] == [check.expected for check in expected]
    for trap, check in zip(traps, expected, strict=True):
        for role, clip in trap["content"]["clips"].items():
            beginning = clips.beginning(clip["played"], 1.5).samples
            assert any(
                abs(np.corrcoef(beginning, clips.beginning(one["content"]["clips"][role]["played"], 1.5).samples)[0, 1])
                > 0.9
                for one in own
            )
            spoken_after = 2.2 + spoken(check.clips[role]).seconds if role in check.instructed else 3.4
            assert clip["seconds"] == pytest.approx(spoken_after, abs=0.7)
        assert "attention" not in str(trap["content"]["texts"])


def test_without_own_clips_traps_are_in_our_voice_and_give_nothing_away_in_their_texts(tmp_path: Path) -> None:
    made = items(TEMPLATES["correction"], Clips(tmp_path))
    traps = [item for item in made if item["role"] == "trap"]
    assert traps and all(trap["content"]["texts"]["reply"] == words("kind-dog") for trap in traps)


@pytest.mark.parametrize("change", [{"contributor": "code"}, {"role": "gold"}])
def test_a_voice_that_may_be_taken_back_is_in_no_trap(change: dict, tmp_path: Path) -> None:
    clips = Clips(tmp_path)
    own = [item | change for item in own_items("emotion-recognition", clips)]
    used = {
        clip["played"]
        for item in items(TEMPLATES["emotion-recognition"], clips, own)
        if item["role"] == "trap"
        for clip in item["content"]["clips"].values()
    }
    assert used == {clips.add(spoken(f"choose-{name}"))["played"] for name in emotion.NAMES}


def test_a_trap_of_words_against_voice_looks_like_an_item_with_both(tmp_path: Path) -> None:
    clips = Clips(tmp_path)
    own = [one for item in own_items("words-voice", clips) for one in in_modes(item, tone(200.0), clips)]
    traps = [item for item in items(TEMPLATES["words-voice"], clips, own) if item["role"] == "trap"]
    assert {trap["content"]["mode"] for trap in traps} == {"both"}
    assert {trap["content"]["texts"]["speech"] for trap in traps} == {"own words"}
