"""What the language model reads: a chat in which the person's latest words are a sound.

One class makes the ids before and after the sound, and the ids of an answer, for training and for
talking alike: a model asked otherwise than it was taught answers worse, and nobody sees why. Words
of people are never read as control tokens. Knows no tensors.

The wording is ours; the paper does not give its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emotion_omni.chat_prompt import without_control_tokens
from emotion_omni.types import Exchange

SYSTEM = "You hear what a person says and how they say it. Answer both, briefly and warmly."
REMEMBERED = 4  # earlier exchanges
LONGEST = 200  # tokens of one earlier message; a monologue must not push out the rest
_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: they stand for a message's words while the template is filled in


@dataclass(frozen=True)
class Prompt:
    """Token ids around the sound. Without a sound the two simply follow each other."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class Prompter:
    """A tokenizer with a chat template → prompts and answers."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._plain = without_control_tokens(tokenizer)
        self.end: int = tokenizer.eos_token_id  # closes an answer

    def prompt(
        self, earlier: Sequence[Exchange] = (), transcript: str | None = None, emotion: str | None = None
    ) -> Prompt:
        """The conversation up to the answer. ``transcript`` and ``emotion``: what a person has corrected or written."""
        contents: list[str] = [SYSTEM]
        roles = ["system"]
        for exchange in earlier[-REMEMBERED:]:
            contents += [f"{exchange.transcript} ({exchange.heard})", exchange.reply]
            roles += ["user", "assistant"]
        contents.append(_said(transcript, emotion))
        messages = [{"role": role, "content": f"{_OPEN}{index}{_CLOSE}"} for index, role in enumerate([*roles, "user"])]
        rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._filled(rendered, contents)

    def _filled(self, rendered: str, contents: Sequence[str]) -> Prompt:
        """The template's own text, where control tokens count, with each message's words, where they do not."""
        head, *rest = rendered.split(_OPEN)
        ids = self._control(head)
        for part in rest:
            index, _, following = part.partition(_CLOSE)
            if last := int(index) == len(contents) - 1:
                before, ids = tuple(ids), []
            ids += self.words(contents[int(index)])[: None if last or index == "0" else LONGEST]
            ids += self._control(following)
        return Prompt(before, tuple(ids))

    def answer(self, words: str) -> tuple[int, ...]:
        """The ids of an answer, with the token that ends it."""
        return (*self.words(words.strip()), self.end)

    def words(self, text: str) -> list[int]:
        """Plain words → ids. What looks like a control token is spelled out."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def _control(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False) if text else []


def _said(transcript: str | None, emotion: str | None) -> str:
    told = [part for part in (transcript, f"({emotion})" if emotion else None) if part]
    return f" {' '.join(told)}" if told else ""
