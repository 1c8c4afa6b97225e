"""Where the sentences and clauses of a growing text end. A period that abbreviates ("Dr. Who", "No. 5") ends nothing.

An end counts once the white space after it is written, and after an abbreviation once the next word has begun.
"""

from __future__ import annotations

import re

from emotion_omni.abbreviations import BEFORE_NUMBER, TITLES, WITH_PERIOD

_SENTENCE_MARK = re.compile(r"[.!?](?=\s)|[。！？]")
_CLAUSE_MARK = re.compile(r"[,.!?;:](?=\s)|[。！？，]")
_TWO_WORDS = re.compile(r"\s*\S+\s+\S")  # the least that a first clause has, if words are written apart
_LAST_TOKEN = re.compile(r"[\w.]*\w\Z")


def sentence_end(text: str, start: int = 0) -> int | None:
    """Where the sentence from ``start`` on ends; ``None`` if it is not known yet."""
    return _end(_SENTENCE_MARK, text, start, start)


def clause_end(text: str) -> int | None:
    """Where the first clause of at least two words ends; ``None`` if it is not known yet."""
    words = _TWO_WORDS.match(text)
    ends = [_end(re.compile(r"[。！？，]"), text, 1, 0), _end(_CLAUSE_MARK, text, words.end(), 0) if words else None]
    return min((end for end in ends if end), default=None)


def _end(mark: re.Pattern[str], text: str, search_from: int, start: int) -> int | None:
    for found in mark.finditer(text, search_from):
        if found[0] != "." or not _abbreviates(text[start : found.start()], text[found.end() :].lstrip()[:1]):
            return found.end()
    return None


def _abbreviates(before: str, following: str) -> bool:
    """Whether a period after this text abbreviates. ``following``: the next letter, empty if it is not written yet."""
    token = _LAST_TOKEN.search(before)
    if not token:
        return False
    word = token[0]
    initial = len(word) == 1 and word.isupper() and word != "I"
    if initial or word in TITLES or word.lower() in ("e.g", "i.e"):
        return True
    if "." in word or word.lower() in WITH_PERIOD:  # "3.50" is a number and no abbreviation
        return not word[-1].isdigit() and (not following or following.islower())
    return word.lower() in BEFORE_NUMBER and (not following or following.isdigit())
