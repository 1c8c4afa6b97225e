"""Amounts of money → words."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.numbers import NUMBER, cardinal
from emotion_omni.synthesis.text_normalization.rules import Rules, any_of

# sign or code: the unit and its hundredth, each with a plural where it is not formed by "s"
_UNITS = {
    "$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny/pence"), "¥": ("yen/yen", "sen/sen"),
    "₹": ("rupee", "paisa/paise"), "₽": ("ruble", "kopeck"), "₩": ("won/won", "jeon/jeon"),
    "₺": ("lira", "kurush/kurush"), "₪": ("shekel", "agora/agorot"), "₴": ("hryvnia", "kopiyka"),
    "₫": ("dong/dong", "xu/xu"), "₦": ("naira/naira", "kobo/kobo"), "₱": ("peso", "centavo"),
    "฿": ("baht/baht", "satang/satang"), "₿": ("bitcoin", "cent"), "US$": ("U S dollar", "cent"),
    "A$": ("Australian dollar", "cent"), "AU$": ("Australian dollar", "cent"), "C$": ("Canadian dollar", "cent"),
    "CA$": ("Canadian dollar", "cent"), "HK$": ("Hong Kong dollar", "cent"), "NZ$": ("New Zealand dollar", "cent"),
    "S$": ("Singapore dollar", "cent"), "R$": ("real/reais", "centavo"), "USD": ("U S dollar", "cent"),
    "EUR": ("euro", "cent"), "GBP": ("pound", "penny/pence"), "JPY": ("yen/yen", "sen/sen"),
    "CHF": ("Swiss franc", "centime"), "CAD": ("Canadian dollar", "cent"), "AUD": ("Australian dollar", "cent"),
    "INR": ("rupee", "paisa/paise"), "CNY": ("yuan/yuan", "fen/fen"), "RMB": ("yuan/yuan", "fen/fen"),
    "SEK": ("Swedish krona/Swedish kronor", "ore/ore"), "NOK": ("Norwegian krone/Norwegian kroner", "ore/ore"),
    "DKK": ("Danish krone/Danish kroner", "ore/ore"), "PLN": ("zloty", "grosz/groszy"),
    "MXN": ("Mexican peso", "centavo"), "Rs.": ("rupee", "paisa/paise"), "Rs": ("rupee", "paisa/paise"),
    "kr": ("krone/kroner", "ore/ore"), "BTC": ("bitcoin", "cent"),
}  # fmt: skip
_SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mln": "million",
    "mil": "million", "MM": "million", "mm": "million", "Mio": "million", "Mio.": "million", "b": "billion",
    "B": "billion", "bn": "billion", "Bn": "billion", "bln": "billion", "t": "trillion", "T": "trillion",
    "tn": "trillion", "trn": "trillion", "thousand": "thousand", "grand": "thousand", "million": "million",
    "billion": "billion", "trillion": "trillion", "crore": "crore", "lakh": "lakh", "hundred": "hundred",
}  # fmt: skip
_SIGN = (
    any_of(unit for unit in _UNITS if not unit.isalpha() and unit != "Rs.") + "|Rs\\.?|(?<![A-Z])(?:USD|EUR|GBP|CHF)"
)
_CODE = any_of(_UNITS)
_SCALE = rf"(?:\s?(?P<scale>{any_of(_SCALES)}))?"
_AMOUNT = rf"(?P<amount>{NUMBER})"
_PER = {
    "h": "hour", "hr": "hour", "hour": "hour", "d": "day", "day": "day", "wk": "week", "week": "week", "mo": "month",
    "month": "month", "yr": "year", "year": "year", "y": "year", "night": "night", "person": "person", "pp": "person",
    "kg": "kilogram", "lb": "pound", "l": "liter", "L": "liter", "gal": "gallon", "kWh": "kilowatt hour",
    "m": "meter", "month.": "month", "min": "minute", "unit": "unit", "user": "user", "ea": "each",
}  # fmt: skip
_PER_UNIT = rf"(?:\s?/\s?(?P<per>{any_of(_PER)})\b(?:\.(?=\s[a-z]))?(?!/))?"


def counted(unit: str, count: str) -> str:
    """The unit in the number of ``count``: singular for "1"."""
    singular, _, plural = unit.partition("/")
    return singular if count in ("1", "1.0") else plural or _plural(singular)


def _plural(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def _money(match: re.Match[str]) -> str:
    found = match.groupdict()
    major, minor = _UNITS[found["unit"].strip()]
    words = _amount(found["amount"].replace(",", ""), major, minor, _SCALES.get(found["scale"] or "", ""), match)
    ahead = "minus " if (found.get("minus") or "").strip() else ""
    return f"{ahead}{words}" + (f" per {_PER[found['per']]}" if found.get("per") else "")


def _amount(amount: str, major: str, minor: str, scale: str, match: re.Match[str]) -> str:
    singular = major.partition("/")[0]
    attribute = re.search(r"\b(?:an?|per)\s$", match.string[: match.start()], re.I) or match.string[
        match.end() :
    ].startswith("-")
    whole, _, part = amount.partition(".")
    if scale:
        return f"{cardinal(amount)} {scale} {singular if attribute else counted(major, '2')}"
    if len(part) > 2:
        return f"{cardinal(amount)} {counted(major, '2')}"
    cents = str(int(part.ljust(2, "0"))) if part else "0"
    if cents == "0":
        return f"{cardinal(whole)} {singular if attribute else counted(major, whole.lstrip('0') or '0')}"
    if int(whole) == 0:
        return f"{cardinal(cents)} {counted(minor, cents)}"
    return f"{cardinal(whole)} {counted(major, whole)} and {cardinal(cents)} {counted(minor, cents)}"


def _range(match: re.Match[str]) -> str:
    return f"{cardinal(match['from'])} to {match['unit']}{match['amount']}{match['scale'] or ''}"


read_money = Rules(
    (
        (r"([$€£¥₹])\s?[-−–](?=\d)", r"-\1"),
        (
            rf"(?P<unit>{_SIGN})\s?(?P<from>{NUMBER})\s?[-–]\s?(?:(?P=unit))?\s?{_AMOUNT}(?P<scale>\s?{any_of(_SCALES)}\b)?(?![\w-])",
            _range,
        ),
        (rf"((?:{_SIGN})\s?{NUMBER}\s?(?:{any_of(_SCALES)})?)\s?[-–]\s?(?={_SIGN})", r"\1 to "),
        (
            rf"(?<![\w.])(?P<minus>[-–+]?)(?P<unit>{_SIGN})\s?{_AMOUNT}(?:{_SCALE}(?!\w)|(?P<none>)(?!\w)){_PER_UNIT}",
            _money,
        ),
        (rf"(?<![\w.])(?P<minus>(?<!\d )[-–])?{_AMOUNT}{_SCALE}\s?(?P<unit>{_CODE})(?![\w$]){_PER_UNIT}", _money),
        (rf"(?P<amount>{NUMBER})\s?¢", lambda m: f"{cardinal(m['amount'])} {counted('cent', m['amount'])}"),
        (rf"(?P<amount>{NUMBER})\s?(?P<unit>{_SIGN})", lambda m: _money_without_scale(m)),
        (r"\${2,}", lambda m: " dollar sign " * (len(m[0]) if len(m[0]) < 3 else 1)),
    )
)


def _money_without_scale(match: re.Match[str]) -> str:
    return f"{cardinal(match['amount'])} {counted(_UNITS[match['unit'].strip()][0], match['amount'])} "
