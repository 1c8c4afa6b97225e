"""Written English → the words to pronounce: numbers, dates, money, units, abbreviations, addresses, symbols.

Text to text, by lists of rules in order, the most specific first; one file a topic. Knows nothing of phonemes. What a
listener could be told is said, whatever the script; pictures are not.
"""

from __future__ import annotations

from emotion_omni.synthesis.text_normalization.abbreviations import read_abbreviations, read_numbered
from emotion_omni.synthesis.text_normalization.characters import fold_characters
from emotion_omni.synthesis.text_normalization.chat import read_chat, read_sounds
from emotion_omni.synthesis.text_normalization.dates import read_dates
from emotion_omni.synthesis.text_normalization.identifiers import read_identifiers
from emotion_omni.synthesis.text_normalization.internet import read_internet
from emotion_omni.synthesis.text_normalization.markup import strip_markup
from emotion_omni.synthesis.text_normalization.money import read_money
from emotion_omni.synthesis.text_normalization.numbers import unify_numbers
from emotion_omni.synthesis.text_normalization.quantities import read_quantities
from emotion_omni.synthesis.text_normalization.symbols import read_symbols, tidy
from emotion_omni.synthesis.text_normalization.units import read_units

PIPELINE = (
    strip_markup,
    fold_characters,
    read_internet,
    read_sounds,
    read_chat,
    read_numbered,
    unify_numbers,
    read_identifiers,
    read_dates,
    read_money,
    read_units,
    read_quantities,
    read_abbreviations,
    read_symbols,
    tidy,
)


def normalize_text(text: str) -> str:
    """Any text → words and punctuation that affects speech."""
    for step in PIPELINE:
        text = step(text)
    return text.strip()
