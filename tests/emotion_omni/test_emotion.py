"""The table of emotions and the policy that answers them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_omni import emotion
from emotion_omni.types import Emotion, EmotionOmniError, Turn


def test_the_table_is_whole():
    assert len(emotion.NAMES) == 8 and len(set(emotion.NAMES)) == 8
    for label in emotion.TABLE:
        assert -1 <= label.valence <= 1 and -1 <= label.arousal <= 1 and label.answer in emotion.NAMES
        assert all(emotion.find(alias.upper()) is label for alias in label.aliases)
    aliases = [alias for label in emotion.TABLE for alias in label.aliases]
    assert len(aliases) == len(set(aliases)) and not set(aliases) & set(emotion.NAMES)


@pytest.mark.parametrize("wrong", ["", "grumpy", "hap py", None, 3])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(EmotionOmniError, match="Use one of: neutral"):
        emotion.find(wrong)


@given(st.lists(st.floats(0, 1e6), min_size=8, max_size=8).filter(lambda weights: sum(weights) > 1e-9))
def test_a_mixture_is_a_belief(weights):
    belief = emotion.mixture(dict(zip(emotion.NAMES, weights, strict=True)))
    assert sum(belief.probabilities.values()) == pytest.approx(1)
    assert -1 <= belief.valence <= 1 and -1 <= belief.arousal <= 1
    assert belief.confidence == max(belief.probabilities.values())


@pytest.mark.parametrize("wrong", [{}, {"sad": 0.0}, {"sad": -1.0, "happy": 2.0}, {"sad": float("nan")}])
def test_what_is_no_mixture_is_refused(wrong):
    with pytest.raises(ValueError):
        emotion.mixture(wrong)


def test_distance_is_a_distance():
    for one in emotion.NAMES:
        assert emotion.distance(one, one) == 0
        for other in emotion.NAMES:
            assert emotion.distance(one, other) == pytest.approx(emotion.distance(other, one))
    assert emotion.distance("happy", "sad") > emotion.distance("angry", "fearful")


def test_replies_are_planned_not_mirrored():
    assert (
        emotion.answer_with("angry", "bad")
        == emotion.answer_with("sad", "bad")
        == emotion.answer_with("fearful", "bad")
        == "calm"
    )
    assert emotion.answer_with("happy", "good") == emotion.answer_with("neutral", "good") == "happy"
    for heard in emotion.NAMES:
        assert emotion.answer_with(heard, "bad") not in ("happy", "surprised", "angry"), (
            "a blow is never met cheerfully"
        )
        for event in emotion.NEWS:
            assert emotion.answer_with(heard, event) not in ("angry", "fearful", "disgusted", "sad")


def test_a_turn_without_sound_needs_both_corrections():
    with pytest.raises(ValueError, match="transcript"):
        Turn(None, transcript="hello")


def windows(*labels: str) -> list[tuple[float, Emotion]]:
    """Windows 0.2 s apart, each fairly sure of its label."""
    rest = dict.fromkeys(emotion.NAMES, 0.05)
    return [(0.6 + 0.2 * at, emotion.mixture(rest | {label: 0.65})) for at, label in enumerate(labels)]


def test_a_change_of_emotion_has_its_time():
    found = emotion.turning_point(windows(*["sad"] * 8, *["angry"] * 6))
    assert found == pytest.approx(0.6 + 0.2 * 7.5)


def test_without_a_change_there_is_no_turning_point():
    assert emotion.turning_point(windows(*["sad"] * 12)) is None
    assert emotion.turning_point(windows("sad")) is None and emotion.turning_point([]) is None


def test_a_change_is_placed_in_the_pause_beside_it():
    changing = windows(*["sad"] * 8, *["angry"] * 6)
    assert emotion.turning_point(changing, pauses=[0.9, 2.2]) == 2.2
    assert emotion.turning_point(changing, pauses=[0.9]) == pytest.approx(2.1), "no pause is near"


def test_a_change_has_the_labels_before_and_after_it():
    assert emotion.labels_around(windows(*["sad"] * 8, "calm", *["angry"] * 6), 2.1) == ("sad", "angry")
    assert emotion.labels_around(windows("sad", "calm", "calm"), 0.0) == ("sad", "calm"), "before the first window"
