"""What Qwen2 with our adapter is asked: each turn with a note on the voice and the news.

Training and the responder use the same function. Brackets in people's words become round and ``<|`` is broken up, so
that nobody can speak a note or a control token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emotion_omni.response.qwen2 import BOS, EOS
from emotion_omni.types import Exchange, Heard, Plan

MAX_HISTORY = 8  # earlier exchanges in the prompt
MAX_WORDS, MAX_EARLIER_WORDS = 120, 40  # of the words to answer, and of one earlier message


@dataclass(frozen=True)
class Note:
    """``tones``: one, or two where the voice is unclear. ``news``: empty if it is not known."""

    tones: tuple[str, ...]
    conflict: bool = False
    news: str = ""

    @classmethod
    def of(cls, plan: Plan) -> Note:
        return cls(plan.unsure_between or (plan.tone,), plan.conflict, plan.news)

    def __str__(self) -> str:
        voice = f"unsure, {' or '.join(self.tones)}" if len(self.tones) > 1 else self.tones[0]
        parts = [voice + (", unlike the words" if self.conflict else "")]
        if self.news and self.news != "neutral":
            parts.append(f"{self.news} news")
        return "; ".join(parts)


def prompt_of(heard: Heard, plan: Plan, history: Sequence[Exchange]) -> str:
    """The conversation up to where the reply begins."""
    turns = []
    for exchange in history[-MAX_HISTORY:]:
        turns.append(user_turn(Note((exchange.heard,)), exchange.transcript, MAX_EARLIER_WORDS))
        turns.append(f"{_plain(exchange.reply, MAX_EARLIER_WORDS)}{EOS}\n")
    turns.append(user_turn(Note.of(plan), heard.transcript, MAX_WORDS))
    return "".join(turns)


def user_turn(note: Note, words: str, most: int = MAX_WORDS) -> str:
    """One turn and the beginning of the reply to it."""
    return f"{BOS}user\n[{note}] {_plain(words, most)}{EOS}\n{BOS}assistant\n"


def _plain(words: str, most: int) -> str:
    safe = words.replace("[", "(").replace("]", ")").replace("<|", "< |")
    return " ".join(safe.split()[:most])[: 8 * most]
