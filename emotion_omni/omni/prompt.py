"""What the language model reads: a chat in which the person's latest message is a recording.

One class makes the ids before and after the recording, and the ids of an answer, for training and for
inference: a model prompted in another way than it was trained answers worse, without an error. Text
written by people is never read as control tokens. Knows no tensors.

The wording is ours; the paper does not give its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emotion_omni.chat_prompt import ChatPrompt, slot
from emotion_omni.types import Exchange

SYSTEM = "You hear what a person says and how they say it. Answer both, briefly and warmly."
MAX_EXCHANGES = 4  # earlier ones in the prompt
MAX_MESSAGE_TOKENS = 200  # of an earlier message; a monologue must not displace the rest


@dataclass(frozen=True)
class Prompt:
    """Token ids before and after the recording. Without a recording they follow each other."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class PromptBuilder:
    """A tokenizer with a chat template → prompts and answers."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._chat = ChatPrompt(tokenizer)
        self.eos_token_id: int = tokenizer.eos_token_id

    def prompt(
        self, history: Sequence[Exchange] = (), transcript: str | None = None, emotion: str | None = None
    ) -> Prompt:
        """The conversation up to the answer. ``transcript`` and ``emotion``: what a person has corrected or written."""
        roles, contents = ["system"], [self.encode(SYSTEM)]
        for exchange in history[-MAX_EXCHANGES:]:
            for role, text in (("user", f"{exchange.transcript} ({exchange.heard})"), ("assistant", exchange.reply)):
                roles.append(role)
                contents.append(self.encode(text)[:MAX_MESSAGE_TOKENS])
        roles.append("user")
        contents.append(self.encode(_corrections(transcript, emotion)))
        messages = [{"role": role, "content": slot(index)} for index, role in enumerate(roles)]
        *before, correction, end = self._chat.segments(messages, contents)
        return Prompt(tuple(sum(before, [])), (*correction, *end))

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with EOS."""
        return (*self.encode(text.strip()), self.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Text → ids. What looks like a control token is spelled out."""
        return self._chat.words(text)


def _corrections(transcript: str | None, emotion: str | None) -> str:
    given = [part for part in (transcript, f"({emotion})" if emotion else None) if part]
    return f" {' '.join(given)}" if given else ""
