"""Written text → the phonemes of its clauses, each short enough for one pass of a network.

The whole text is normalized before it is cut, so that "3.14" or "Dr. Who" is not taken for the end of a sentence.
Knows nothing of audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from emotion_omni.synthesis.synthesizer import split_clauses
from emotion_omni.synthesis.text_normalization import normalize_text


def phonemes_of_clauses(text: str, g2p: Callable[[str], str], limit: int) -> Iterator[str]:
    """Text → phonemes, clause by clause, with the punctuation that ends each. None has more than ``limit`` symbols.

    Clauses without anything to pronounce are left out.
    """
    for clause in split_clauses(normalize_text(text)):
        for phonemes in cut_phonemes(g2p(clause), limit):
            if any(symbol.isalpha() for symbol in phonemes):
                yield phonemes


def cut_phonemes(phonemes: str, limit: int) -> list[str]:
    """Parts of at most ``limit`` symbols, cut after punctuation, else between words, else anywhere; none is lost."""
    parts = []
    while len(phonemes) > limit:
        cut = _cut(phonemes, limit)
        parts.append(phonemes[:cut].strip())
        phonemes = phonemes[cut:].strip()
    return [*parts, phonemes]


def _cut(phonemes: str, limit: int) -> int:
    """Where to end the first part: in the second half of what fits if there is punctuation, else at its last space."""
    space = max(phonemes.rfind(mark + " ", limit // 2, limit) for mark in ".!?;:,")
    if space >= 0:
        return space + 1
    space = phonemes.rfind(" ", 1, limit + 1)
    return space if space > 0 else limit
