"""What the voice adds to the words."""

from __future__ import annotations

import pandas as pd
import pytest

from annotation.analysis.intervals import verdict
from annotation.analysis.voice_lift import voice_lift
from emotion_omni.types import EmotionOmniError


def mode_ratings(right):
    """``right``: how many of ten raters are right in each mode on every one of eight items, give or take one."""
    rows = [
        (mode, item, rater, int(rater < count + item % 3 - 1))
        for mode, count in right.items()
        for item in range(8)
        for rater in range(10)
    ]
    return pd.DataFrame(rows, columns=["mode", "item", "rater", "correct"])


def test_voice_lift_is_the_gain_of_hearing_over_reading():
    found = voice_lift(mode_ratings({"words": 3, "voice": 5, "both": 8}))
    shift = (3 * -1 + 2 * 1) / 80  # items 0 to 7 modulo 3, less one: three times -1, two times +1
    assert [part.mean for part in (found.words, found.voice, found.both)] == pytest.approx(
        [0.3 + shift, 0.5 + shift, 0.8 + shift]
    )
    assert found.lift.mean == pytest.approx(0.5) and verdict(found.lift) == "better"
    assert found.lift.raters == 10 and found.words.n == 80


def test_a_voice_that_adds_nothing_shows_no_lift():
    rows = mode_ratings({"words": 5, "both": 5})
    others_right = (rows["rater"] + (rows["mode"] == "both") * 5) % 10
    found = voice_lift(rows.assign(rater=others_right))
    assert found.lift.mean == pytest.approx(0) and verdict(found.lift) == "not shown"
    assert found.voice.mean is None and "no ratings" in found.voice.reason


def test_items_with_the_same_script_count_as_one():
    rows = mode_ratings({"words": 3, "voice": 5, "both": 8})
    assert voice_lift(rows.assign(group=rows["item"] // 2)).lift.items == 4


@pytest.mark.parametrize(
    "change, code", [({"mode": "video"}, "mode"), ({"correct": 2}, "correct"), ({"correct": "yes"}, "not-numbers")]
)
def test_invalid_mode_ratings_are_refused(change, code):
    with pytest.raises(EmotionOmniError) as refused:
        voice_lift(mode_ratings({"words": 3, "both": 5}).assign(**change))
    assert refused.value.code == code
