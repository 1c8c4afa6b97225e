"""What was heard → the plan of the reply: the reliable tone, what the words report, the emotion to answer with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emotion_omni import emotion
from emotion_omni.types import Exchange, Heard, Plan


class NewsClassifier(Protocol):
    def news(self, text: str, tone: str) -> str:
        """What the person reports by words and tone: ``good``, ``bad`` or ``neutral``."""

    def sentiment(self, text: str) -> str:
        """What the words alone say of how the person is: ``good``, ``bad`` or ``neutral``."""


@dataclass(frozen=True, eq=False)
class Planner:
    """``guard``: reads the words (:class:`emotion_omni.response.guard.Guard`); without it only the voice counts."""

    guard: NewsClassifier | None = None

    def plan(self, heard: Heard, history: Sequence[Exchange] = ()) -> Plan:
        """``history`` does not count yet: the tone of this turn and its words decide."""
        tone = reliable_tone(heard)
        unsure_between = () if heard.emotion.is_sure else heard.emotion.candidates
        if self.guard is None or not heard.transcript:
            return Plan(emotion.answer_with(tone, "neutral"), "neutral", tone, unsure_between)
        news = self.guard.news(heard.transcript, tone)
        conflict = disagree(self.guard.sentiment(heard.transcript), tone)
        return Plan(emotion.answer_with(tone, news), news, tone, unsure_between, conflict)


def disagree(sentiment: str, tone: str) -> bool:
    """Whether good words come in a hurting tone, or bad ones in a happy tone."""
    return (sentiment == "good" and tone in emotion.HURTING) or (sentiment == "bad" and tone == "happy")


def reliable_tone(heard: Heard) -> str:
    """The heard emotion, ``neutral`` where recognition was unsure."""
    return heard.emotion.label if heard.emotion.is_sure else "neutral"
