"""What the language model reads: a chat in which the person's latest message is a recording.

One class makes the ids before and after the recording, and the ids of an answer, for training and for
inference: a model prompted in another way than it was trained answers worse, without an error. Text
written by people is never read as control tokens. Knows no tensors.

The wording is ours; the paper does not give its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from emotion_omni.types import Exchange

SYSTEM = "You hear what a person says and how they say it. Answer both, briefly and warmly."
MAX_EXCHANGES = 4  # earlier ones in the prompt
MAX_MESSAGE_TOKENS = 200  # of an earlier message; a monologue must not displace the rest
_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: they mark where a message goes while the template is filled in


@dataclass(frozen=True)
class Prompt:
    """Token ids before and after the recording. Without a recording they follow each other."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class PromptBuilder:
    """A tokenizer with a chat template → prompts and answers."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._plain = without_control_tokens(tokenizer)
        self.eos_token_id: int = tokenizer.eos_token_id

    def prompt(
        self, history: Sequence[Exchange] = (), transcript: str | None = None, emotion: str | None = None
    ) -> Prompt:
        """The conversation up to the answer. ``transcript`` and ``emotion``: what a person has corrected or written."""
        contents: list[str] = [SYSTEM]
        roles = ["system"]
        for exchange in history[-MAX_EXCHANGES:]:
            contents += [f"{exchange.transcript} ({exchange.heard})", exchange.reply]
            roles += ["user", "assistant"]
        contents.append(_corrections(transcript, emotion))
        messages = [{"role": role, "content": f"{_OPEN}{index}{_CLOSE}"} for index, role in enumerate([*roles, "user"])]
        rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._encode(rendered, contents)

    def _encode(self, rendered: str, contents: Sequence[str]) -> Prompt:
        """The template's own text, with control tokens, and in it each message's text, without."""
        head, *rest = rendered.split(_OPEN)
        ids = self._control(head)
        for part in rest:
            index, _, following = part.partition(_CLOSE)
            is_last = int(index) == len(contents) - 1
            if is_last:
                before, ids = tuple(ids), []
            limit = None if is_last or index == "0" else MAX_MESSAGE_TOKENS
            ids += self.encode(contents[int(index)])[:limit]
            ids += self._control(following)
        return Prompt(before, tuple(ids))

    def answer(self, text: str) -> tuple[int, ...]:
        """The ids of an answer, with EOS."""
        return (*self.encode(text.strip()), self.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Text → ids. What looks like a control token is spelled out."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def _control(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False) if text else []


def without_control_tokens(tokenizer: Any) -> tokenizers.Tokenizer:
    """A copy to which every added token is plain text, also one not marked as special, such as Qwen2.5's <tool_call>.

    A copy, because a switch on the original would affect other threads.
    """
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in settings["added_tokens"]:
        token["special"] = True
    plain = tokenizers.Tokenizer.from_str(json.dumps(settings))
    plain.encode_special_tokens = True
    plain.no_truncation()
    plain.no_padding()
    return plain


def _corrections(transcript: str | None, emotion: str | None) -> str:
    given = [part for part in (transcript, f"({emotion})" if emotion else None) if part]
    return f" {' '.join(given)}" if given else ""
