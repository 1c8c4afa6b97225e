"""Any Unicode text → the letters, digits and marks that the rules and the G2P know.

Letters of other scripts are written in Latin ones (anyascii, ISC licence). Accents of Western Europe stay: the G2P
reads "résumé" and "resume" differently. Pictures have no words and are dropped.
"""

from __future__ import annotations

import re
import unicodedata

from anyascii import anyascii

from emotion_omni.synthesis.text_normalization.rules import Rules

_NAMED = {
    "№": " No. ", "℃": "°C", "℉": "°F", "º": "°", "ª": "", "™": "", "®": "", "©": " copyright ", "…": "...",
    "‰": " per mille ", "§": " section ", "¶": " paragraph ", "±": " plus or minus ", "∓": " minus or plus ",
    "≥": " greater than or equal to ", "≤": " less than or equal to ", "≠": " is not equal to ", "≈": " about ",
    "≃": " about ", "≡": " is identical to ", "→": " to ", "⇒": " to ", "➔": " to ", "➜": " to ", "⟶": " to ",
    "←": " from ", "↔": " to and from ", "↑": " up ", "↓": " down ", "√": " the square root of ", "∞": " infinity ",
    "∑": " the sum of ", "∏": " the product of ", "∫": " the integral of ", "∂": " partial ", "∈": " in ", "×": " × ",
    "✕": " × ", "÷": " divided by ", "⁄": "/", "∕": "/", "·": " ", "•": ", ", "‣": ", ", "●": ", ", "▪": ", ",
    "¿": " ", "¡": " ", "☎": " ", "¹": "^1", "²": "²", "³": "³", "€": "€", "£": "£", "¥": "¥", "ı": "i", "\u0307": "",
}  # fmt: skip
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi psi omega"  # noqa: E501
_GREEK_LETTERS = {chr(0x3B1 + at): name for at, name in enumerate(_GREEK.split())}
_MARKS = dict.fromkeys("´ʼ’‘‛`′ʹˈʻ＇‚‹›", "'") | dict.fromkeys("“”„‟«»″〝〞＂「」『』", '"')
_MARKS |= dict.fromkeys("‐‑−﹣－", "-") | dict.fromkeys("‒–", "–") | dict.fromkeys("—―⸺", "—")
_MARKS |= {
    "。": ". ", "、": ", ", "，": ", ", "！": "! ", "？": "? ", "；": "; ", "：": ": ", "؟": "?", "،": ",", "؛": ";",
    "।": ".",
}  # fmt: skip
_POWERS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n", strict=True))
_KEPT_SYMBOLS = set("$€£¥¢₹₽₩₺₪₴₫₦₱฿₿²³°×+<>=~^|%&@#*/\\_—–-.,;:!?'\"()[]{}`µ")

_GROUPED = Rules(
    (
        (r"(?<=\d)[\u00a0\u2007\u2009\u202f](?=\d{3}(?!\d))", ","),  # 10 000 with a space that does not break
        (r"(?<=\d)(\s?)[μµ](?=[mgsAVWFlL]\b)", r"\1µ"),
        (r"(?<=\d)\s?([kM]?)[ΩΩ]", lambda match: {"k": " kilohms", "M": " megohms"}.get(match[1], " ohms")),
        (r"[★⭐]+☆*", lambda match: f" {len(match[0].rstrip('☆'))} stars "),
        (r"(?<=\d)([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅒⅑⅐])", r" \1"),
        (r"[⁰¹⁴⁵⁶⁷⁸⁹⁻ⁿ²³]{2,}|(?<=[\w)])[⁰¹⁴⁵⁶⁷⁸⁹ⁿ]", lambda match: "^" + _power(match[0])),
        (
            r"(?<![\u0370-\u03ff\u1f00-\u1fff])([α-ω])(?![\u0370-\u03ff\u1f00-\u1fff])",
            lambda m: f" {_GREEK_LETTERS[m[1]]} ",
        ),
        (
            r"(?<![\u0370-\u03ff\u1f00-\u1fff])([Α-ΡΣ-Ω])(?![\u0370-\u03ff\u1f00-\u1fff])",
            lambda m: _capital_greek(m[1]),
        ),
    )
)


def _power(digits: str) -> str:
    return "".join(_POWERS[digit] for digit in digits)


def _capital_greek(letter: str) -> str:
    return f" {_GREEK_LETTERS[letter.lower()]} " if letter.lower() in _GREEK_LETTERS else letter


def fold_characters(text: str) -> str:
    """→ ASCII, but for Western European letters, currencies, ° ² ³ × µ and dashes."""
    text = _GROUPED(unicodedata.normalize("NFC", text))
    text = "".join(_MARKS.get(letter, _NAMED.get(letter, letter)) for letter in text)
    text = "".join(_compatible(letter) for letter in text)
    text = re.sub(r"[^\x00-\x7f]+", lambda match: _foreign(match[0]), unicodedata.normalize("NFC", text))
    return re.sub(r"\s+", " ", text)


def _compatible(letter: str) -> str:
    """Fullwidth forms, ligatures, digits of other scripts and the like → plain ones."""
    if letter.isascii() or letter in _KEPT_SYMBOLS:
        return letter
    if letter.isdecimal():
        return str(unicodedata.decimal(letter))
    plain = unicodedata.normalize("NFKC", letter)
    return "".join(_MARKS.get(each, _NAMED.get(each, each)) for each in plain)


def _foreign(run: str) -> str:
    """A run of characters outside ASCII → those that are kept, Latin letters, or the name of a sign."""
    return "".join(map(_letter, run))


def _letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if letter in _KEPT_SYMBOLS or (letter.isalpha() and "À" <= letter <= "ÿ" and letter not in "ßþÞðÐ"):
        return letter
    if category[0] == "L":
        latin = anyascii(letter)
        spaced = unicodedata.name(letter, "").startswith(("CJK", "HANGUL"))
        return f" {latin} " if spaced else latin
    if category[0] == "N":
        return f" {anyascii(letter)} "
    if category in ("Sm", "Sc"):
        return f" {unicodedata.name(letter, '').lower().removesuffix(' sign').replace('-', ' ')} "
    if category[0] in "M" or category == "Cf":
        return anyascii(letter) if category == "Mc" else ""
    return " "
