"""Written English → the words to pronounce."""

from __future__ import annotations

import pytest

from emotion_omni.synthesis.text_normalization import normalize_text


@pytest.mark.parametrize(
    ("written", "expected"),
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
def test_text_is_normalized(written, expected):
    assert normalize_text(written).rstrip(".") == expected


def test_normalized_text_has_no_digits_and_no_symbols():
    for text in (
        "Flight BA2490 at 06:45 from gate 12B, seat 3-A!",
        "x^2 + y = 42; #7",
        "a_b|c\\d {e} [f] <g>",
        "10^9 99999999999999999999",
    ):
        normalized = normalize_text(text)
        assert not any(letter.isdigit() for letter in normalized), normalized
        assert not set(normalized) & set("#+=<>{}[]|\\^_*@$%&/"), normalized
