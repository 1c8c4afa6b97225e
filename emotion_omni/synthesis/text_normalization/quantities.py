"""Fractions, ratios, ranges, ordinals, Roman numerals, powers, and at last every number that is left → words."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.numbers import NUMBER, cardinal, digits, ordinal
from emotion_omni.synthesis.text_normalization.rules import Rules

_SLASHED = {
    "24/7": "twenty four seven",
    "9/11": "nine eleven",
    "50/50": "fifty fifty",
    "20/20": "twenty twenty",
    "7/11": "seven eleven",
}
_SLASHED |= {
    "60/40": "sixty forty",
    "70/30": "seventy thirty",
    "80/20": "eighty twenty",
    "90/10": "ninety ten",
    "4/4": "four four",
}
_SCORED = r"(?:gave|give|rated?|scored?|got|get|about|rating|grade|say|is|was|a|an|deserves|solid)"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_SMALL_ROMAN = (  # those that are words of their own
    r"(?:X{1,2}I{1,3}|X{0,3}(?:IX|IV|VI{1,3}|I{2,3})|X{2,3}V|XX(?= [Cc]ent)|XV|XL(?=IX|IV|V|I)V?I{0,3})"
)
_NUMBERED = r"(?:World War|Chapter|Part|Act|Scene|Volume|Vol\.?|Book|Section|Article|Phase|Type|Class|Grade|Level|Stage|Title|Appendix|Figure|Table|Mark|Psalm|Canto|Bowl|Roman numeral|Group|Season|Episode|Game)"  # noqa: E501
_REGNAL = r"(?:King|Queen|Pope|Tsar|Czar|Emperor|Kaiser|Louis|Henry|Elizabeth|George|Charles|Edward|James|Richard|William|Philip|Felipe|Francis|Benedict|John|Paul|Pius|Catherine|Peter|Nicholas|Alexander|Napoleon|Ivan|Leo|Frederick|Friedrich|Wilhelm|Ferdinand|Mary|Ramses|Rameses|Ptolemy|Otto|Carlos|Gregory|Innocent|Clement|Urban|Harald|Gustav|Christian|Thutmose|Amenhotep|Darius|Xerxes|Cleopatra|Constantine|Mehmed|Murad|Albert|Leopold|Joseph|Robert|Malcolm|Sixtus|Julius|Boniface|Margrethe|Haakon|Olav)"  # noqa: E501


def _slashed(match: re.Match[str]) -> str:
    """ "8/10" is a score, "2/3" a fraction, "120/80" a ratio."""
    over, under = int(match[1]), int(match[2])
    following = match.string[match.end() :]
    if over == under and match[0] not in _SLASHED or re.match(r"\s+stars?\b", following):
        return f"{cardinal(match[1])} out of {cardinal(match[2])}"
    if match[0] in _SLASHED:
        return _SLASHED[match[0]]
    of_something = re.match(
        r"\s+(?:of|cups?|teaspoons?|inch|miles?|pounds?|full|mile|majority|century|tsp|tbsp)\b", following
    )
    scored = re.search(rf"\b{_SCORED}(?: (?:it|this|that|them|him|her|a|an))*\s$", match.string[: match.start()])
    if over > under or under == 0 or over == 0 and under < 5:
        return f"{cardinal(match[1])} over {cardinal(match[2])}"
    if not of_something and (
        under in (10, 100, 20, 50) and over > 1 or under == 5 and scored or under > 20 and under not in (32, 64)
    ):
        return f"{cardinal(match[1])} out of {cardinal(match[2])}"
    return fraction(over, under)


def fraction(over: int, under: int) -> str:
    if under == 1:
        return f"{cardinal(str(over))} over one"
    name = {2: "half", 4: "quarter"}.get(under) or ordinal(str(under))
    if over != 1:
        name = "halves" if under == 2 else name + "s"
    return f"{cardinal(str(over))} {name}"


def _mixed(match: re.Match[str]) -> str:
    part = fraction(int(match[2]), int(match[3]))
    part = {"one half": "a half", "one quarter": "a quarter", "one third": "a third"}.get(part, part)
    return f"{cardinal(match[1])} and {part}"


def roman(numeral: str) -> int:
    values = [_VALUES[letter] for letter in numeral]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def _numbered(match: re.Match[str]) -> str:
    return match[1] + cardinal(str(roman(match[2])))


def _regnal(match: re.Match[str]) -> str:
    return f"{match[1]}the {ordinal(str(roman(match[2])))}"


def _power(match: re.Match[str]) -> str:
    name = {"2": "squared", "3": "cubed"}.get(match[2])
    minus = "minus " if match[2].startswith("-") else ""
    exponent = match[2].lstrip("-")
    return f"{match[1]} {name or 'to the power of ' + minus + exponent}"


def _plain(match: re.Match[str]) -> str:
    number = match[0]
    if number[0] == "0" and len(number) > 1 and number[1].isdigit():
        return f" {digits(number)} "
    return f" {cardinal(number)} "


read_quantities = Rules(
    (
        (
            rf"\b({_REGNAL} )({_ROMAN})\b(?<![a-z] )(?!')(?<! I)(?=\W|$)(?<=[IVX])",
            lambda m: _regnal(m) if m[2] else m[0],
        ),
        (
            (
                rf"\b({_REGNAL} )(I)\b(?=[,.;:]|\s*$| (?:of|was|is|ruled|and|died|became|reigned"
                rf"|had)\b)(?<!John I)(?<!Mary I)"
            ),
            _regnal,
        ),
        (rf"\b({_NUMBERED} )(?=[IVXLCDM])({_ROMAN})\b(?!')", _numbered),
        (rf"\b()({_SMALL_ROMAN})(?= [Cc]entur)", lambda m: ordinal(str(roman(m[2])))),
        (
            (
                rf"(?<![A-Z]{{2}} )(?<=[a-z.] )(?<!\b[Aa]n )(?<!the )(?<!\bon )(?<!her )(?<!his"
                rf" )\b()({_SMALL_ROMAN})\b(?! [A-Z]{{2,}}\b)(?!')"
            ),
            _numbered,
        ),
        (r"(?<![\w/.])(\d+) (\d{1,2})/(\d{1,2})(?![\w/])", _mixed),
        (r"(?<![\w/.,])(\d{1,4})/(\d{1,4})(?:ths?|rds?)?(?![\w/.]{0,8}\d)", _slashed),
        (r"\b24/7/365\b", "twenty four seven three sixty five"),
        (r"(?<=\d)x ?/ ?(day|week|month|year)\b", r" times per \1"),
        (r"\b401\s?\(?k\b\)?", "four oh one K"),
        (r"\b([fgh])\(([a-z])\)", r"\1 of \2"),
        (
            r"(?<![\w.])(\d(?:\.\d+)?)[eE]([-+]?)(\d{1,3})\b",
            lambda m: f"{m[1]} times 10 to the power of {'minus ' if m[2] == '-' else ''}{m[3]}",
        ),
        (r"\b(\d{2,3}):(\d\d)\b", r"\1 \2"),  # minutes and seconds
        (r"\b(\d{1,2})\s?:\s?(\d{1,2})\b", r"\1 to \2"),  # a ratio; times are read before
        (r"\b([1-7])\*(?= ?(?:hotel|review|rating|resort|general))", r"\1 star"),
        (r"([\d\w)])\^\(?(-?\w+)\)?", _power),
        (r"(\w|\))\s?²", r"\1 squared "),
        (r"(\w|\))\s?³", r"\1 cubed "),
        (r"(?<=\d)\s?\*{1,2}\s?(?=\d)", " times "),
        (rf"({NUMBER})\s?[xX×]\b(?!\s?\d| ?[-+=*/–^])", r"\1 times"),
        (r"(?<=\d[a-z]) [-–] (?=\d+\b)", " minus "),
        (r"\b[x×](\d+)\b", r"times \1"),
        (r"(?<=\d) ?/ ?(?=\d)", " divided by "),
        (r"(?<=[\w)]) [-–] (?=[\w(]+(?: [-+*/–] [\w(]+)* ?=)", " minus "),
        (r"(?<=\d)-(?=\d+ ?=)", " minus "),
        (rf"(?<![\w.-])({NUMBER})\s?(%?)\s?[-–]\s?(?=(?:{NUMBER})(?![\w-]|\.\d))(?!\d+-)", r"\1\2 to "),
        (r"(?<=[A-Za-z])-(?=\d)", " "),  # F-16
        (r"(?<!\w)\+(?=\d)", "plus "),
        (r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda match: ordinal(match[1])),
        (r"\b((?:[Aa]|my|first|the) )(\d{1,2})[kK]\b(?! [a-z]+s\b)", lambda m: f"{m[1]}{cardinal(m[2])} K"),
        (
            rf"(?<![\w.])({NUMBER})[kK]\b(?! (?:run|race|TV|video|display|monitor|resolution|screen|camera|footage)\b)",
            r"\1 thousand",
        ),
        (rf"(?<![\w.])({NUMBER})(?:mn|mln)\b", r"\1 million"),
        (rf"(?<![\w.])({NUMBER})(?:bn|bln)\b", r"\1 billion"),
        (
            (
                rf"(?<![\w.])(?:(\d+\.\d+)"
                rf"|(?<!room )(?<!gate )(?<!apartment )(?<!seat )(?<!unit )({NUMBER})(?=\s?[MB]\+? (?:[a-z]+s"
                rf"|people)\b))\s?([MB])\b"
            ),
            lambda m: f"{m[1] or m[2]} {'million' if m[3] == 'M' else 'billion'}",
        ),
        (r"\b([02-9]|1\d+)s\b", lambda match: cardinal(match[1]) + ("es" if cardinal(match[1]).endswith("x") else "s")),
        (r"(?<=\d),(?=\d{3}(?!\d))(?<!\d{4},)", ","),
        (rf"(?:{NUMBER})", _plain),
    )
)
