"""Keeps the items of evaluation studies out of training data: same family, same sound, or nearly the same words.

Knows the items of this store only. Near duplicates are found by shared words, not by meaning.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from annotation.store.tables import Row

NEAR_DUPLICATE = Fraction(4, 5)  # Jaccard index of two sets of words, from which two texts count as the same


class SplitLock:
    """What evaluation studies hold: families, SHA-256 of sounds, and words of the person.

    The words are those of the query or recording, not of an answer: two items may have the same right answer.
    """

    def __init__(self, items: Iterable[Row]) -> None:
        locked = list(items)
        self._families = {item["family"] for item in locked}
        self._sounds = {sha for item in locked for sha in _sounds(item)}
        self._texts = NearDuplicates(_spoken_text(item["content"]) for item in locked)

    def locks(self, item: Row) -> bool:
        return (
            item["family"] in self._families
            or not self._sounds.isdisjoint(_sounds(item))
            or self._texts.contains(_spoken_text(item["content"]))
        )


def _sounds(item: Row) -> set[str]:
    """Hashes of the original and the equalized sounds."""
    return {sha for clip in item["content"].get("clips", {}).values() for sha in (clip["sha"], clip["played"])}


def _spoken_text(content: Mapping[str, Any]) -> str:
    texts = content.get("texts", {})
    return texts.get("query") or texts.get("speech") or ""


class NearDuplicates:
    """Texts, searched for one whose set of words has a Jaccard index of at least :data:`NEAR_DUPLICATE`.

    Prefix filtering (Chaudhuri et al. 2006): two sets A, B with |A ∩ B| / |A ∪ B| >= t share a word among the
    |A| - ceil(t |A|) + 1 rarest of A, in any fixed order of words, so that only few pairs are compared.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        sets = sorted({words for text in texts if (words := frozenset(normalized_words(text)))}, key=sorted)
        self._frequency = Counter(word for words in sets for word in words)
        self._by_word: dict[str, list[frozenset[str]]] = defaultdict(list)
        for words in sets:
            for word in self._prefix(words):
                self._by_word[word].append(words)

    def contains(self, text: str) -> bool:
        words = frozenset(normalized_words(text))
        candidates = (other for word in self._prefix(words) for other in self._by_word.get(word, ()))
        return any(len(words & other) >= NEAR_DUPLICATE * len(words | other) for other in candidates)

    def _prefix(self, words: frozenset[str]) -> list[str]:
        length = len(words) - math.ceil(NEAR_DUPLICATE * len(words)) + 1
        return sorted(words, key=lambda word: (self._frequency[word], word))[:length]


def normalized_words(text: str) -> list[str]:
    """Words without case and punctuation; in scripts without spaces (Chinese, Japanese), the characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(char for char in folded if not unicodedata.category(char).startswith("P"))
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+", plain)
