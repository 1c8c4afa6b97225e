"""Written English → the words to pronounce. The 300 lines of ``evaluate/reading_lines.tsv`` are tested with it too."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emotion_omni.synthesis.text_normalization import normalize_text

CASES = {
    "numbers": [
        ("10,000 and 2,050", "ten thousand and two thousand fifty"),
        ("3.05%", "three point zero five percent"),
        ("10,000,000 and 1.000.000 and 1 000 000", "ten million and one million and one million"),
        ("１２３ and ٣٤٥", "one hundred twenty three and three hundred forty five"),
        ("007", "zero zero seven"),
        ("1,2,3", "one, two, three"),
        ("0 and 1,000,000,000,000", "zero and one trillion"),
        ("−5, –5 or -5", "minus five, minus five or minus five"),
        ("±5 ≥ 3", "plus or minus five greater than or equal to three"),
        ("the 21st", "the twenty first"),
        ("12th, 20th, 100th", "twelfth, twentieth, one hundredth"),
    ],
    "money": [
        ("$12.50", "twelve dollars and fifty cents"),
        ("£1", "one pound"),
        ("€2 million", "two million euros"),
        ("$1,034,567.89", "one million thirty four thousand five hundred sixty seven dollars and eighty nine cents"),
        ("12,50 €, so 5€", "twelve euros and fifty cents, so five euros"),
        ("$30k, $1.5M, $10bn", "thirty thousand dollars, one point five million dollars, ten billion dollars"),
        ("₹500, 50¢, US$5", "five hundred rupees, fifty cents, five U S dollars"),
        ("$-5 and -$5", "minus five dollars and minus five dollars"),
        ("a $5 bill", "a five dollar bill"),
        ("$5-10/hr", "five to ten dollars per hour"),
        ("€1.5m–€2m", "one point five million euros to two million euros"),
    ],
    "dates and times": [
        ("12/25/2024", "December twenty fifth, twenty twenty four"),
        ("1/2/2024", "January second, twenty twenty four"),
        ("25.12.2024", "December twenty fifth, twenty twenty four"),
        ("2026-11-22", "November twenty second, twenty twenty six"),
        ("March 3rd, 2021", "March third, twenty twenty one"),
        ("4th of July", "July fourth"),
        ("Jan 5, Feb. 14th, Sept. 9", "January fifth, February fourteenth, September ninth"),
        ("on Mon. and Tue.", "on Monday and Tuesday"),
        ("Sat down on Sat. and Sun.", "Sat down on Saturday and Sunday"),
        ("the 1990s, the '90s, her 30s", "the nineteen nineties, the nineties, her thirties"),
        ("in 1905", "in nineteen oh five"),
        ("I was born in 1984 and it's 2026 now", "I was born in nineteen eighty four and it's twenty twenty six now"),
        ("2050 pages in 2050", "two thousand fifty pages in twenty fifty"),
        ("7:30 pm, 17:00, 12:05, 7 p.m.", "seven thirty P M, seventeen hundred, twelve oh five, seven P M"),
        ("9am-5pm", "nine A M to five P M"),
        ("24/7", "twenty four seven"),
        ("My birthday is 9/15.", "My birthday is September fifteenth."),
        ("It hit us in 03/2020.", "It hit us in March twenty twenty."),
    ],
    "units": [
        ("1,204 km", "one thousand two hundred four kilometers"),
        ("72°F and -5 °C", "seventy two degrees Fahrenheit and minus five degrees Celsius"),
        ("5-10 kg", "five to ten kilograms"),
        ("10 min, 5 mins, 2 hrs, 1 hr, 200 Hrs", "ten minutes, five minutes, two hours, one hour, two hundred hours"),
        ("6'2\" and 5 ft 10 in.", "six feet two inches and five feet ten inches"),
        ("a 5G phone, 5 g of salt, a 4K TV", "a five G phone, five grams of salt, a four K T V"),
        ("10 in the morning", "ten in the morning"),
        ("½ tsp, 2½ kg", "one half teaspoon, two and a half kilograms"),
        ("120 km/h, 5 m/s²", "one hundred twenty kilometers per hour, five meters per second squared"),
    ],
    "quantities": [
        ("1/2 cup", "one half cup"),
        ("8/10, 50/50, 9/11, 120/80", "eight out of ten, fifty fifty, nine eleven, one hundred twenty over eighty"),
        ("Henry VIII and World War II", "Henry the eighth and World War two"),
        ("an IV drip", "an IV drip"),
        ("F-16, B-52, COVID-19", "F sixteen, B fifty two, COVID nineteen"),
        ("2 + 2 = 4; x^2", "two plus two equals four; x squared"),
    ],
    "identifiers": [
        ("555-123-4567", "five five five, one two three, four five six seven"),
        ("555-1234", "five five five, one two three four"),
        ("+1 (415) 555-2671", "plus one, four one five, five five five, two six seven one"),
        ("Call 911 or 988.", "Call nine one one or nine eight eight."),
        ("4111 1111 1111 1111", "four one one one, one one one one, one one one one, one one one one"),
        ("the code is 123", "the code is one two three"),
        ("Version 2.0.1", "Version two point zero point one"),
        ("192.168.1.1", "one nine two dot one six eight dot one dot one"),
        ("flight BA2490, room 101", "flight BA twenty four ninety, room one oh one"),
    ],
    "internet": [
        ("me@site.org", "me at site dot org"),
        ("visit www.example.com today", "visit W W W dot example dot com today"),
        ("https://a.com/b-c?d=1", "a dot com slash b dash c question mark d equals one"),
        ("report.pdf, #MeToo, @nora", "report dot P D F, hashtag Me Too, at nora"),
    ],
    "abbreviations": [
        ("Dr. Smith and Mrs. Gray", "doctor Smith and missus Gray"),
        ("St. Mary", "saint Mary"),
        ("on 5th St.", "on fifth Street."),
        ("Mt. Everest and Ft. Worth", "mount Everest and fort Worth"),
        ("e.g. tea, i.e. a drink", "for example tea, that is a drink"),
        ("No. 5 is alive.", "number five is alive."),
        ("The answer is no. 5 people came.", "The answer is no. five people came."),
        ("Ph.D. and J. R. R. Tolkien", "P H D and J R R Tolkien"),
        ("The U.S. economy. I left the U.S. He stayed.", "The U S economy. I left the U S. He stayed."),
        ("Plan B. Then C.", "Plan B. Then C."),
        ("the US team told us", "the U S team told us"),
        ("TELL US THE TRUTH", "TELL US THE TRUTH"),
        ("A dog and plan A", "a dog and plan A"),
    ],
    "characters": [
        ("don´t don`t donʼt don’t", "don't don't don't don't"),
        ("café and cafe\u0301", "café and café"),
        ("Dvořák, Łukasz, Straße, ﬁne", "Dvorák, Lukasz, Strasse, fine"),
        ("Привет", "Privet"),
        ("𝓗𝓮𝓵𝓵𝓸 Ｗｏｒｌｄ", "Hello World"),
        ("α and Δ, 5 μm", "alpha and delta, five micrometers"),
        ("\"Quoted\" ‘single’ «French» „German“", "Quoted single French German"),
        ("I ❤️ you 👍🏽", "I love you"),
        ("\ud83d half", "half"),
    ],
    "markup": [
        ("<b>Hello</b> &amp; goodbye&nbsp;friend", "Hello and goodbye friend"),
        ("# Heading", "Heading"),
        ("*really* **very** _so_ `x`", "really very so x"),
        ("[the guide](https://a.b)", "the guide"),
        ("1 < 2 and y > z", "one less than two and y greater than z"),
        ("See you :-) <3", "See you"),
    ],
    "chat": [
        ("2nite l8r gr8 b4", "tonight later great before"),
        ("sooo goooood, nooo", "so good, no"),
        ("hmmmm shhhhh brrrrr", "hmm shh brr"),
        ("and/or he/she w/ you w/o me", "and or he or she with you without me"),
        ("how r u", "how are you"),
        ("am I 2 old 4 this, 2 cats 4 walls", "am I too old for this, two cats four walls"),
    ],
    "symbols": [
        ("Bed & breakfast", "Bed and breakfast"),
        ("AT&T, C++, C#, A+", "A T and T, C plus plus, C sharp, A plus"),
        ("Wait... what?!", "Wait... what?"),
        ("😀", ""),
        ("", ""),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "expected"), [case for cases in CASES.values() for case in cases], ids=lambda text: text[:30] or "empty"
)
def test_text_is_normalized(written, expected):
    assert normalize_text(written).rstrip(".") == expected.rstrip(".")


def left_over(text: str) -> list[str]:
    """Characters of the normalized text that are neither letters nor punctuation that a voice heeds."""
    return [letter for letter in normalize_text(text) if not (letter.isalpha() or letter in " .,!?;:'-")]


SIGNS = st.text("0123456789 .,-/:$€%'\"() xXIVMkm°hsABab#@&²½–+=^*_<>\n~", max_size=60)
PIECES = [written for cases in CASES.values() for written, _ in cases]


@given(st.one_of(st.text(max_size=60), SIGNS, st.lists(st.sampled_from(PIECES), max_size=4).map(" ".join)))
@example("Flight BA2490 at 06:45 from gate 12B, seat 3-A!")
@example("x^2 + y = 42; a_b|c\\d {e} [f] <g> 10^9 99999999999999999999")
@settings(max_examples=300, deadline=None, database=None)
def test_any_text_is_normalized_and_no_digits_or_symbols_are_left(text):
    assert left_over(text) == []


WORDS = ["apple", "house", "river", "purple", "window", "garden", "yellow", "mountain", "simple"]


@given(st.lists(st.sampled_from([*WORDS, "2,5", "$3", "5kg", "(", '"', "–", "/", "&", "*", "…"]), max_size=12))
@settings(max_examples=200, deadline=None, database=None)
def test_no_word_is_lost_among_numbers_and_signs(tokens):
    found = re.findall("[a-z]+", normalize_text(" ".join(tokens)))
    kept = [word for word in found if word in WORDS]
    assert kept == [token for token in tokens if token in WORDS]


@pytest.mark.parametrize(
    "unit", ["4", "/", "1 ", "a.b", "A.", "'", "1/2 ", "1-2-", "x-", "5 kg ", "1:1", "<b ", "(", "\n \n"]
)
def test_time_grows_with_the_length_and_not_with_its_square(unit):
    began = time.process_time()
    normalize_text(unit * (4000 // len(unit)))
    assert time.process_time() - began < 5, "it takes about 0.2 s"
