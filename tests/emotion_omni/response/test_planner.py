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

    def sentiment(self, text: str) -> str:
        return "bad" if "lost" in text else "good"


def test_without_a_guard_only_the_voice_counts():
    assert Planner().plan(Heard("I got the job!", emotion.one_hot("angry"))) == Plan("calm", "neutral", "angry")


def test_the_guard_reads_the_words_with_the_reliable_tone():
    unsure = Heard("I got the job!", emotion.mixture({"sad": 0.38, "happy": 0.32, "calm": 0.3}))
    assert Planner(Good()).plan(unsure) == Plan("happy", "good", "neutral", ("sad", "happy"))
    assert Good.asked == [("I got the job!", "neutral")]


@pytest.mark.parametrize(("probability", "tone"), [(SURE - 0.01, "neutral"), (SURE, "sad"), (0.9, "sad")])
def test_an_emotion_that_is_not_sure_is_not_answered(probability, tone):
    heard = Heard(
        "Well.", emotion.mixture({"sad": probability, "calm": (1 - probability) / 2, "happy": (1 - probability) / 2})
    )
    assert Planner().plan(heard).tone == tone


@pytest.mark.parametrize(
    ("words", "tone", "disagree"),
    [
        ("I'm fine.", "sad", True),
        ("I'm fine.", "angry", True),
        ("I'm fine.", "calm", False),
        ("I'm fine.", "happy", False),
        ("I lost it.", "happy", True),
        ("I lost it.", "sad", False),
    ],
)
def test_words_and_tone_that_disagree_are_told_to_the_responder(words, tone, disagree):
    assert Planner(Good()).plan(Heard(words, emotion.one_hot(tone))).conflict is disagree


def test_an_unsure_tone_cannot_disagree_and_names_its_two_candidates():
    plan = Planner(Good()).plan(Heard("I'm fine.", emotion.mixture({"sad": 0.38, "calm": 0.34, "angry": 0.28})))
    assert not plan.conflict and plan.unsure_between == ("sad", "calm")
