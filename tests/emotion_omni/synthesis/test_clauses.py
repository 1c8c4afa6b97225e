"""Text → the phonemes of its clauses: nothing is cut within a number, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_omni.synthesis.clauses import cut_phonemes, phonemes_of_clauses
from emotion_omni.synthesis.kokoro import MAX_PHONEMES
from emotion_omni.types import Delivery

LONG = "supercalifragilisticexpialidocious " * 40  # one sentence without a comma


@pytest.mark.parametrize(
    "text", ["Pi is 3.14.", "Dr. Smith paid $12.50.", "It is 98.6°F.", "Mail me@site.org.", "St. Mary"]
)
def test_a_period_within_a_number_or_a_name_ends_no_clause(g2p, text):
    assert len(list(phonemes_of_clauses(text, g2p, 500))) == 1


def test_text_without_words_has_no_clauses(g2p):
    for text in ("", "   ", "?!", "... - !", "🙂 …"):
        assert list(phonemes_of_clauses(text, g2p, 500)) == [], text


@pytest.mark.parametrize("text", [LONG, "99999999999999999999 " * 60, "W" * 700, "a, " * 700])
def test_a_clause_beyond_the_limit_is_cut_and_nothing_is_lost(g2p, text):
    whole = "".join(phonemes_of_clauses(text, g2p, 10**9)).replace(" ", "")
    parts = list(phonemes_of_clauses(text, g2p, 100))
    assert max(map(len, parts)) <= 100 and "".join(parts).replace(" ", "") == whole


def test_a_cut_is_after_punctuation_or_else_between_words():
    assert cut_phonemes("wˈʌn tˈu, θɹˈi fˈɔɹ fˈIv", 16) == ["wˈʌn tˈu,", "θɹˈi fˈɔɹ fˈIv"]
    assert cut_phonemes("wˈʌn tˈu θɹˈi", 9) == ["wˈʌn tˈu", "θɹˈi"]
    assert cut_phonemes("θɹˈiθɹˈi", 5) == ["θɹˈiθ", "ɹˈi"]
    assert cut_phonemes("", 5) == [""]


@pytest.mark.slow
def test_all_of_a_text_beyond_the_limit_is_spoken(kokoro):
    lengths = []
    run = kokoro._clause
    kokoro._clause = lambda phonemes, *rest: lengths.append(len(phonemes)) or run(phonemes, *rest)
    try:
        pieces = list(kokoro.synthesize("9" * 140, Delivery("neutral")))
    finally:
        del kokoro._clause
    assert len(pieces) == len(lengths) > 1 and max(lengths) <= MAX_PHONEMES
    assert sum(len(piece.samples) for piece in pieces) > 30 * kokoro.hz and np.isfinite(pieces[-1].samples).all()
