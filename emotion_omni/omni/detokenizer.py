"""Token ids as they are generated → text, without partial characters and without control tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

REPLACEMENT = "\ufffd"  # a tokenizer decodes bytes that are not a complete character to this


class IncrementalDetokenizer:
    """The text of one answer. Characters that are still incomplete wait for their remaining bytes."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # the ids last decoded, because a first token decodes differently from the same token later, and all since
        self._ids: list[int] = []
        self._decoded_count = 0  # how many of them were decoded before
        self.has_text = False  # whether anything but white space has come yet

    def push(self, ids: Sequence[int], last: bool = False) -> str:
        """→ the text that is certain now. Bytes that form no character, and control characters, are left out."""
        self._ids += ids
        before, now = self._decode(self._ids[: self._decoded_count]), self._decode(self._ids)
        if now.endswith(REPLACEMENT) and not last:
            return ""
        self._ids = self._ids[self._decoded_count :]
        self._decoded_count = len(self._ids)
        text = "".join(letter for letter in now[len(before) :] if _is_text(letter))
        self.has_text |= bool(text.strip())
        return text

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _is_text(letter: str) -> bool:
    return letter in "\n\t" or (letter != REPLACEMENT and unicodedata.category(letter) not in ("Cc", "Cs"))
