"""A chat template with slots → token ids, in which people's words can never become control tokens.

The template is rendered around slot markers. Its own text is tokenized with control tokens, the content of each slot
by a copy of the tokenizer to which every added token is plain text. Knows no tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import jinja2
import tokenizers

from emotion_omni.types import EmotionOmniError

_SLOT = re.compile("\ue000(\\d+)\ue001")  # private use characters around the number of the slot


def slot(index: int) -> str:
    """The marker of slot ``index``, to be put into the content of a message."""
    return f"\ue000{index}\ue001"


class ChatPrompt:
    """A tokenizer with a chat template. ``name``: of the model, for errors."""

    def __init__(self, tokenizer: Any, name: str = "this model") -> None:
        self.tokenizer, self.name = tokenizer, name
        self._plain = without_control_tokens(tokenizer)

    def words(self, text: str) -> list[int]:
        """Plain text → ids; what looks like a control token is spelled out."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def segments(self, messages: Sequence[dict[str, str]], slots: Sequence[Sequence[int]]) -> list[list[int]]:
        """Messages with markers, the ids of each slot → ids in order: template, slot, template, …, slot, template.

        The slots must occur in order, each once. Raises :class:`EmotionOmniError` (code ``config``) where the model's
        template refuses the conversation or leaves messages out.
        """
        try:
            rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:  # e.g. of models that allow no system message
            raise EmotionOmniError(
                f"The chat template of {self.name!r} refuses the conversation ({error}). "
                "Choose a model that takes a system message.",
                "config",
            ) from error
        parts = _SLOT.split(rendered)
        if [int(index) for index in parts[1::2]] != list(range(len(slots))):
            raise EmotionOmniError(
                f"The chat template of {self.name!r} leaves messages out. Choose another model.", "config"
            )
        template = [self.tokenizer.encode(part, add_special_tokens=False) if part else [] for part in parts[::2]]
        found = [template[0]]
        for ids, following in zip(slots, template[1:], strict=True):
            found += [list(ids), following]
        return found


def without_control_tokens(tokenizer: Any) -> tokenizers.Tokenizer:
    """A copy to which every added token is plain text, also one not marked as special, such as Qwen2.5's <tool_call>.

    A copy, because a switch on the one tokenizer would be seen by other threads.
    """
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in settings["added_tokens"]:
        token["special"] = True
    plain = tokenizers.Tokenizer.from_str(json.dumps(settings))
    plain.encode_special_tokens = True
    plain.no_truncation()
    plain.no_padding()
    return plain
