"""What a reply plan rests on."""

from __future__ import annotations

import pytest

from emotion_omni import emotion
from emotion_omni.response.planner import Planner
from emotion_omni.types import SURE, Heard, Plan


class Good:
    asked: list[tuple[str, str]] = []

    def news(self, text: str, tone: str) -> str:
        self.asked.append((text, tone))
        return "good"


def test_without_a_guard_only_the_voice_counts():
    assert Planner().plan(Heard("I got the job!", emotion.one_hot("angry"))) == Plan("calm", "neutral", "angry")


def test_the_guard_reads_the_words_with_the_reliable_tone():
    unsure = Heard("I got the job!", emotion.mixture({"sad": 0.4, "happy": 0.3, "calm": 0.3}))
    assert Planner(Good()).plan(unsure) == Plan("happy", "good", "neutral")
    assert Good.asked == [("I got the job!", "neutral")]


@pytest.mark.parametrize(("probability", "tone"), [(SURE - 0.01, "neutral"), (SURE, "sad"), (0.9, "sad")])
def test_an_emotion_less_likely_than_not_is_not_answered(probability, tone):
    heard = Heard(
        "Well.", emotion.mixture({"sad": probability, "calm": (1 - probability) / 2, "happy": (1 - probability) / 2})
    )
    assert Planner().plan(heard).tone == tone
