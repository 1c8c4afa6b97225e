"""What was heard → the plan of the reply: the reliable tone, what the words report, the emotion to answer with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emotion_omni import emotion
from emotion_omni.types import Exchange, Heard, Plan


class NewsClassifier(Protocol):
    def news(self, text: str, tone: str) -> str:
        """What the words report: ``good``, ``bad`` or ``neutral``."""


@dataclass(frozen=True, eq=False)
class Planner:
    """``guard``: reads the words (:class:`emotion_omni.response.guard.Guard`); without it only the voice counts."""

    guard: NewsClassifier | None = None

    def plan(self, heard: Heard, history: Sequence[Exchange] = ()) -> Plan:
        """``history`` does not count yet: the tone of this turn and its words decide."""
        tone = reliable_tone(heard)
        news = self.guard.news(heard.transcript, tone) if self.guard is not None and heard.transcript else "neutral"
        return Plan(emotion.answer_with(tone, news), news, tone)


def reliable_tone(heard: Heard) -> str:
    """The heard emotion, ``neutral`` where recognition was unsure."""
    return heard.emotion.label if heard.emotion.is_sure else "neutral"
