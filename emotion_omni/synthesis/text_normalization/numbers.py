"""Numbers → words: cardinals, ordinals, digits, years; and the ways of writing large and decimal numbers."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.rules import Rules

NUMBER = r"(?:(?<!\d)(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?))"  # as Americans write it
_LONGEST, _LONGEST_GROUPED = 12, 15  # digits; more are read one by one
_DECIMAL_COMMA = (
    r"(?=\s?(?:[€£₽₺%°]|EUR\b|USD\b|CHF\b|k?m\b|[cm]m\b|k?g\b|mg\b|[ml]?l\b|L\b|kWh?\b|h\b|Mio\b|million\b"
    r"|billion\b|percent\b|Stunden\b|hours\b|Euro\b|Meter\b|meters\b))"
)


_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen",
]  # fmt: skip
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ("", " thousand", " million", " billion", " trillion")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}


def cardinal(number: str) -> str:
    """ "1,204" → "one thousand two hundred four"; "3.05" → "three point zero five"."""
    whole, _, fraction = number.replace(",", "").partition(".")
    longest = _LONGEST_GROUPED if "," in number else _LONGEST
    words = digits(whole) if len(whole) > longest else _whole(int(whole))
    return f"{words} point {digits(fraction)}" if fraction else words


def _whole(value: int) -> str:
    words: list[str] = []
    for scale in _SCALES:
        value, group = divmod(value, 1000)
        if group:
            words.insert(0, _below_thousand(group) + scale)
    return " ".join(words) or "zero"


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10 - 2] + (f" {_ONES[rest % 10]}" if rest % 10 else ""))
    elif rest:
        words.append(_ONES[rest])
    return " ".join(words)


def ordinal(number: str) -> str:
    """ "21" → "twenty first"."""
    *before, last = cardinal(number).split(" ")
    ending = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*before, _ORDINALS.get(last, ending)])


def digits(number: str, groups: int = 0) -> str:
    """One by one. ``groups``: with a comma after each so many."""
    words = [_ONES[int(digit)] for digit in number if digit.isdecimal()]
    size = groups or len(words) or 1
    return ", ".join(" ".join(words[at : at + size]) for at in range(0, len(words), size))


def pairs(number: str) -> str:
    """As houses, rooms and flights are read: "101" → "one oh one", "747" → "seven forty seven", "2490"."""
    if len(number) < 3 or len(number) > 4:
        return cardinal(number) if len(number) < 3 else digits(number)
    if number.endswith("00"):
        return cardinal(number) if number.endswith("000") else f"{cardinal(number[:-2])} hundred"
    head, tail = number[:-2], number[-2:]
    return f"{cardinal(head)} {_after_century(tail)}"


def year(number: str) -> str:
    """ "1998" → "nineteen ninety eight", "2005" → "two thousand five", "1905" → "nineteen oh five"."""
    value = int(number)
    if value % 1000 < 10 or not 1100 <= value < 2100:
        return cardinal(number)
    return f"{cardinal(number[:2])} {_after_century(number[2:])}"


def _after_century(two: str) -> str:
    if two == "00":
        return "hundred"
    return f"oh {cardinal(two[1])}" if two[0] == "0" else cardinal(two)


def plural_of_number(words: str) -> str:
    """ "nineteen ninety" → "nineteen nineties"."""
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")


def _regroup(match: re.Match[str]) -> str:
    return f"{int(re.sub(r'[^0-9]', '', match[0])):,}"


def _european(match: re.Match[str]) -> str:
    return f"{int(match[1].replace('.', '')):,}.{match[2]}"


# Other ways of writing numbers → NUMBER
unify_numbers = Rules(
    (
        (r"(?<![\w.,])[1-9]\d{0,2}(?:\.\d{3}){2,}(?![\d.,]\d|\d)", _regroup),  # 1.000.000
        (r"(?<![\w.,])([1-9]\d{0,2}(?:\.\d{3})+),(\d{1,2})(?![\d,])", _european),  # 1.234,56
        (r"(?<![\w.,])[1-9]\d{0,2}\.\d{3}(?=\s?€)|(?<=€)[1-9]\d{0,2}\.\d{3}(?![\d.])", _regroup),  # 1.000 €
        (r"(?<![\w.,+-])(?<!\d )[1-9]\d{0,2}(?:(?: \d{3}){2,}|(?: 000)+)(?![\d,.]\d| ?\d)", _regroup),  # 1 000 000
        (r"(?<![\w.,'])[1-9]\d{0,2}(?:'\d{3})+(?![\d'])", _regroup),  # 1'000'000
        (r"(?<![\w.,])\d{1,2}(?:,\d\d)+,\d{3}(?![\d,])", _regroup),  # 1,00,000
        (rf"(?<![\w.,])(\d+),(\d{{1,2}}){_DECIMAL_COMMA}", r"\1.\2"),  # 12,50 €
        (r"(?<=[€£$])(\s?\d+),(\d\d)(?![\d,])", r"\1.\2"),
        (r"(?<![\w.])\.(?=\d)", "0."),
        (r"(?<=\d),(?=\d{1,2}(?!\d)|\d{4})", ", "),  # a list such as 1,2,3
    )
)
