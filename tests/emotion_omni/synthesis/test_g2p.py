"""Normalized text → phonemes."""

from __future__ import annotations

import pytest


def test_words_of_the_lexicon_and_their_endings(g2p):
    assert g2p("hello") == "həlˈO"
    assert g2p.word("zoomers").endswith("z") and g2p.word("unfriended").endswith("ᵻd")


def test_weak_forms_depend_on_the_next_word(g2p):
    assert g2p("the apple").startswith("ði ") and g2p("the pear").startswith("ðə ")
    assert g2p("to go").startswith("tə ") and g2p("to eat").startswith("tʊ ")
    assert g2p("what to?").endswith("tu?")


@pytest.mark.parametrize(
    "word", ["Siobhan", "Nguyen", "Zbigniew", "Xylotron", "brmbl", "O'Shaughnessy", "qwrty", "café", "ChatGPT"]
)
def test_no_word_is_skipped(g2p, word):
    phonemes = g2p(word)
    assert len(phonemes) >= 2 and any(symbol in "AIOQWYaeiouæɑɐɒɔəɚɛɜɪʊʌᵻ" for symbol in phonemes), phonemes


def test_capitals_are_spelled_and_names_are_not(g2p):
    assert g2p("FBI").count("ˈ") >= 1 and g2p("NASA") == "nˈæsə"
