"""From written words to sounds: the spoken form and its pronunciation."""

from __future__ import annotations

import pytest

from emotion_omni.synthesis.g2p import Pronouncer
from emotion_omni.synthesis.text_normalization import spoken_form


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("$12.50", "twelve dollars and fifty cents"),
        ("£1", "one pound"),
        ("€2 million", "two million euros"),
        ("3.05%", "three point zero five percent"),
        ("1,204 km", "one thousand two hundred four kilometers"),
        ("7:30 pm", "seven thirty p m"),
        ("17:00", "seventeen hundred"),
        ("12:05", "twelve oh five"),
        ("2026-11-22", "November twenty second, twenty twenty six"),
        ("March 3rd, 2021", "March third, twenty twenty one"),
        ("4th of July", "July fourth"),
        ("the 1990s", "the nineteen nineties"),
        ("in 1905", "in nineteen oh five"),
        ("the 21st", "the twenty first"),
        ("5-10 kg", "five to ten kilograms"),
        ("-5 degrees", "minus five degrees"),
        ("Dr. Smith", "doctor Smith"),
        ("St. Mary", "saint Mary"),
        ("on 5th St.", "on fifth Street"),
        ("24/7", "twenty four seven"),
        ("1/2 cup", "one half cup"),
        ("e.g. tea", "for example tea"),
        ("555-123-4567", "five five five one two three four five six seven"),
        ("72°F", "seventy two degrees Fahrenheit"),
        ("me@site.org", "me at site dot org"),
        ("007", "zero zero seven"),
        ("Bed & breakfast", "Bed and breakfast"),
        ("😀", ""),
        ("", ""),
    ],
)
def test_spoken_form(written, said):
    assert spoken_form(written).rstrip(".") == said


def test_spoken_form_holds_no_digit_and_no_sign():
    for text in (
        "Flight BA2490 at 06:45 from gate 12B, seat 3-A!",
        "x^2 + y = 42; #7",
        "a_b|c\\d {e} [f] <g>",
        "10^9 99999999999999999999",
    ):
        said = spoken_form(text)
        assert not any(letter.isdigit() for letter in said), said
        assert not set(said) & set("#+=<>{}[]|\\^_*@$%&/"), said


@pytest.fixture(scope="module")
def pronounce(embedded) -> Pronouncer:
    return embedded.synthesizer.speaker.speaker._pronouncer


def test_words_of_the_lexicon_and_their_endings(pronounce):
    assert pronounce("hello") == "həlˈO"
    assert pronounce.word("zoomers").endswith("z") and pronounce.word("unfriended").endswith("ᵻd")


def test_words_lean_on_their_neighbours(pronounce):
    assert pronounce("the apple").startswith("ði ") and pronounce("the pear").startswith("ðə ")
    assert pronounce("to go").startswith("tə ") and pronounce("to eat").startswith("tʊ ")
    assert pronounce("what to?").endswith("tu?")


@pytest.mark.parametrize(
    "word", ["Siobhan", "Nguyen", "Zbigniew", "Xylotron", "brmbl", "O'Shaughnessy", "qwrty", "café", "ChatGPT"]
)
def test_no_word_is_left_out(pronounce, word):
    sounds = pronounce(word)
    assert len(sounds) >= 2 and any(symbol in "AIOQWYaeiouæɑɐɒɔəɚɛɜɪʊʌᵻ" for symbol in sounds), sounds


def test_capitals_are_spelled_and_names_are_not(pronounce):
    assert pronounce("FBI").count("ˈ") >= 1 and pronounce("NASA") == "nˈæsə"


def test_every_sound_has_a_number(pronounce):
    from emotion_omni.synthesis.kokoro import _PHONEMES

    for text in ("The quick brown fox, jumping over 13 lazy dogs!", "Zbigniew Brzezinski's pyjamas: why?"):
        assert set(pronounce(spoken_form(text))) <= set(_PHONEMES)
