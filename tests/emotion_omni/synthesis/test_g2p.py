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


def test_acronyms_are_spelled_in_one_breath(g2p):
    assert g2p("F B I") == g2p("FBI") == "ˌɛfbˌiˈI"
    assert g2p("TVs and the FBI's") == "tˌivˈiz ænd ði ˌɛfbˌiˈIz"
    assert g2p("in the U S I saw").split()[2:4] == ["jˌuˈɛs", "I"], "not the letter I"


def test_words_in_capitals_are_words(g2p):
    assert g2p("HELLO, DON'T STOP") == g2p("hello, don't stop")


def test_a_letter_is_not_the_article(g2p):
    assert g2p("plan A") == "plˈæn ˈA" and g2p("a plan") == "ɐ plˈæn"


def test_accents_are_heard(g2p):
    assert g2p("résumé") == "ɹˈɛzəmˌA" and g2p("resume") == "ɹəzˈum"
    assert g2p("café") == g2p("cafe") and g2p("façade") == g2p("facade") and g2p("fiancé").endswith("A")


def test_known_compounds_stay_whole(g2p):
    assert g2p("Wi-Fi") == "wˈIfˌI" and g2p("uh-huh") == "əhˈʌ" and g2p("rain-apple") == g2p("rain apple")


@pytest.mark.parametrize(
    "sound", ["hmm", "mhm", "shh", "psst", "brr", "zzz", "pfft", "grr", "mmm", "aww", "eww", "ugh"]
)
def test_interjections_are_sounds_and_not_letters(g2p, sound):
    assert 1 <= len(g2p(sound).replace("ˈ", "").replace("ː", "")) <= 4


def test_names_of_several_words_are_read_part_by_part(g2p):
    assert g2p("ChatGPT") == "ʧˈæt ʤˌipˌitˈi" and g2p("iPhone") == "ˈI fˈOn"
