"""Written English → the words to pronounce: numbers, dates, money, units, abbreviations.

Text to text, by rules in order, the most specific first. Knows nothing of phonemes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

_MONTHS = ["January", "February", "March", "April", "May", "June"]
_MONTHS += ["July", "August", "September", "October", "November", "December"]
_MONTH = "|".join(f"{month}|{month[:3]}" for month in _MONTHS) + "|Sept"

_ABBREVIATIONS = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "dr": "doctor",
    "prof": "professor",
    "st": "saint",
    "jr": "junior",
    "sr": "senior",
    "vs": "versus",
    "etc": "et cetera",
    "e.g": "for example",
    "i.e": "that is",
    "approx": "approximately",
    "dept": "department",
    "no": "number",
    "ave": "avenue",
    "rd": "road",
    "blvd": "boulevard",
    "mt": "mount",
    "capt": "captain",
    "lt": "lieutenant",
    "gov": "governor",
    "sen": "senator",
    "rev": "reverend",
    "inc": "incorporated",
    "ltd": "limited",
    "fig": "figure",
    "min": "minutes",
    "hrs": "hours",
    "a.k.a": "also known as",
}
_UNITS = {
    "km": "kilometer",
    "m": "meter",
    "cm": "centimeter",
    "mm": "millimeter",
    "kg": "kilogram",
    "g": "gram",
    "mg": "milligram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "ft": "foot",
    "mi": "mile",
    "mph": "mile an hour",
    "km/h": "kilometer an hour",
    "kb": "kilobyte",
    "mb": "megabyte",
    "gb": "gigabyte",
    "tb": "terabyte",
    "hz": "hertz",
    "khz": "kilohertz",
    "ml": "milliliter",
    "l": "liter",
    "s": "second",
    "h": "hour",
    "°c": "degree Celsius",
    "°f": "degree Fahrenheit",
    "°": "degree",
    "hr": "hour",
}
_PLURALS = {
    "foot": "feet",
    "hertz": "hertz",
    "kilohertz": "kilohertz",
    "penny": "pennies",
    "yen": "yen",
    "sen": "sen",
}
_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", "sen")}
_SYMBOLS = {
    "%": " percent",
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "#": " number ",
    "°": " degrees ",
    "×": " times ",
    "÷": " divided by ",
    "<": " less than ",
    ">": " greater than ",
    "~": " about ",
    "/": " or ",
    "*": " ",
    "_": " ",
    "|": " ",
    "\\": " ",
    "^": " ",
    "`": "",
    "[": ", ",
    "]": ", ",
    "{": ", ",
    "}": ", ",
}

_UNIT_SYMBOL = r"km/h|°[CF]|°|km|cm|mm|kg|mg|lbs?|oz|ft|mph|[KMGT]B|k?Hz|ml|hrs?|(?<=\d)[mgslh]"
_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"


@functools.cache
def _inflect() -> Any:
    import inflect

    return inflect.engine()


def cardinal(number: str) -> str:
    """ "1,204" → "one thousand two hundred four"; "3.05" → "three point zero five"."""
    whole, _, fraction = number.replace(",", "").partition(".")
    if len(whole) > 15:  # too long to be read as one number
        return digits(whole + fraction)
    words = _inflect().number_to_words(int(whole), andword="").replace(",", "").replace("-", " ")
    return f"{words} point {digits(fraction)}" if fraction else words


def ordinal(number: str) -> str:
    return _inflect().ordinal(cardinal(number))


def digits(number: str) -> str:
    return " ".join(_inflect().number_to_words(int(digit)) for digit in number if digit.isdigit())


def year(number: str) -> str:
    """ "1998" → "nineteen ninety eight", "2005" → "two thousand five", "1905" → "nineteen oh five"."""
    value = int(number)
    if value % 1000 < 10 or not 1100 <= value < 2100:
        return cardinal(number)
    century, rest = cardinal(number[:2]), number[2:]
    if rest == "00":
        return f"{century} hundred"
    return f"{century} oh {cardinal(rest)}" if rest[0] == "0" else f"{century} {cardinal(rest)}"


def _plural(unit: str, count: str) -> str:
    """ "kilometer an hour" → "kilometers an hour", unless the count is 1."""
    if count in ("1", "1.0"):
        return unit
    head, space, tail = unit.partition(" ")
    return _PLURALS.get(head, head + "s") + space + tail


def _money(match: re.Match[str]) -> str:
    major, minor = _CURRENCIES[match["currency"]]
    whole, _, part = match["amount"].replace(",", "").partition(".")
    if match["scale"]:
        return f"{cardinal(match['amount'])} {match['scale']} {_plural(major, '2')}"
    words = f"{cardinal(whole)} {_plural(major, whole)}"
    if part and int(part):
        cents = str(int(part.ljust(2, "0")[:2]))
        words += f" and {cardinal(cents)} {_plural(minor, cents)}"
    return words


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), match["minute"] or "00", (match["half"] or "").replace(".", "").lower()
    if hour > 24 or int(minute) > 59:
        return match[0]
    words = cardinal(str(hour))
    if minute != "00":
        words += f" {'oh ' if minute[0] == '0' else ''}{cardinal(str(int(minute)))}"
    elif not half:
        words += " o'clock" if hour <= 12 else " hundred"
    return f"{words} {half[0]} m" if half else words


def _iso_date(match: re.Match[str]) -> str:
    month = int(match["month"])
    if not 1 <= month <= 12:
        return match[0]
    return f"{_MONTHS[month - 1]} {ordinal(str(int(match['day'])))}, {year(match['year'])}"


def _month(name: str) -> str:
    return next(month for month in _MONTHS if month.startswith(name[:3]))


def _day_of_month(match: re.Match[str]) -> str:
    words = f"{_month(match['month'])} {ordinal(match['day'])}"
    return f"{words}, {year(match['year'])}" if match["year"] else words


def _unit(match: re.Match[str]) -> str:
    return f"{cardinal(match['amount'])} {_plural(_UNITS[match['unit'].lower()], match['amount'])}"


def _decade(match: re.Match[str]) -> str:
    words = year(match[1])
    return (words[:-1] + "ies") if words.endswith("y") else words + "s"


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        (r"https?://(?:www\.)?", 0, ""),
        (r"(\w)@(\w)", 0, r"\1 at \2"),
        (r"(?<=[a-z])\.(?=(?:com|org|net|io|edu|gov|uk|de)\b)", re.I, " dot "),
        (r"\b(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)\b", 0, _iso_date),
        (
            rf"\b(?P<month>{_MONTH})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,? (?P<year>\d{{4}})\b)?",
            0,
            _day_of_month,
        ),
        (
            rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<month>{_MONTH})\b(?:,? (?P<year>\d{{4}})\b)?",
            0,
            _day_of_month,
        ),
        (rf"(?P<currency>[$€£¥]) ?(?P<amount>{_NUMBER})(?: (?P<scale>thousand|million|billion|trillion))?", 0, _money),
        (r"\b(?P<hour>\d{1,2}):(?P<minute>\d\d)(?: ?(?P<half>[ap]\.?m\b\.?))?", re.I, _time),
        (r"\b(?P<hour>\d{1,2})(?P<minute>) ?(?P<half>[ap]\.?m\b\.?)", re.I, _time),
        (r"\b(\d{4})s\b", 0, _decade),
        (r"\b\+?\d{1,3}(?:[ -]\d{3,4}){2,}\b", 0, lambda match: digits(match[0])),
        (r"\b24/7\b", 0, "twenty four seven"),
        (rf"\b({_NUMBER}) ?[-–] ?({_NUMBER})(?![\w-])", 0, r"\1 to \2"),
        (
            rf"(?P<amount>{_NUMBER}) ?(?P<unit>{_UNIT_SYMBOL})(?!\w)",
            re.I,
            _unit,
        ),
        (
            r"\b(in|since|of|until|by|from|year|before|after|around) ((?:1[1-9]|20)\d\d)\b(?![,.]\d)",
            re.I,
            lambda match: f"{match[1]} {year(match[2])}",
        ),
        (r"\b(\d)/(\d)\b", 0, lambda match: _fraction(match[1], match[2])),
        (r"(?<![\w.])-(?=\d)", 0, "minus "),
        (r"(?<![.\d])0\d+\b", 0, lambda match: digits(match[0])),
        (r"\b[Nn]o\. ?(?=\d)", 0, "number "),
        (r"(?<=\d(?:st|nd|rd|th)) St\b\.?|(?<=[a-z]) St\b\.?(?! [A-Z])", 0, " Street"),
        (r"\b(\d+)(?:st|nd|rd|th)\b", 0, lambda match: ordinal(match[1])),
        (_NUMBER, 0, lambda match: f" {cardinal(match[0])} "),
        (r"\b((?:e\.g|i\.e|a\.k\.a))\.?(?!\w)", re.I, lambda match: _ABBREVIATIONS[match[1].lower()]),
        (
            r"\b(Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Capt|Lt|Gov|Sen|Rev|Mt)\.? (?=[A-Z])",
            0,
            lambda match: _ABBREVIATIONS[match[1].lower()] + " ",
        ),
        (r"\b(vs|etc|approx|dept|ave|rd|blvd|inc|ltd|jr|sr)\.", re.I, lambda match: _ABBREVIATIONS[match[1].lower()]),
        (r"\b((?:[A-Z]\.){2,})", 0, lambda match: match[1].replace(".", " ")),
    )
)


def _fraction(over: str, under: str) -> str:
    known = {"2": "half", "3": "third", "4": "quarter"}
    if under not in known or over == "0":
        return f"{cardinal(over)} over {cardinal(under)}"
    return f"{cardinal(over)} {known[under]}{'s' if over != '1' and under != '2' else ''}"


def normalize_text(text: str) -> str:
    """Any text → words and punctuation that affects speech. Unknown symbols are dropped."""
    text = text.translate({0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"', 0x00A0: " ", 0x2026: "..."})
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    for symbol, words in _SYMBOLS.items():
        text = text.replace(symbol, words)
    text = re.sub(r"\s*[–—]\s*|\s-+\s|\(|\)", ", ", text)
    text = re.sub(r"[^\w\s.,!?;:'\"-]", " ", text)  # emoji and the like
    text = re.sub(r"\s+([.,!?;:])", r"\1", re.sub(r"\s+", " ", text))
    return re.sub(r"[,;:]+(?=[.!?])|([,;:])(?:\s*[,;:])+|^[\s,;:.]+", r"\1", text).strip()
