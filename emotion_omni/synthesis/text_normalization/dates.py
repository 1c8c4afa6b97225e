"""Dates, years, times of day and durations → words."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.numbers import cardinal, ordinal, plural_of_number, year
from emotion_omni.synthesis.text_normalization.rules import Rules, any_of

MONTHS = ["January", "February", "March", "April", "May", "June"]
MONTHS += ["July", "August", "September", "October", "November", "December"]
_MONTH = any_of([*MONTHS, *(month[:3] for month in MONTHS), "Sept"])
_WEEKDAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Weds": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_DAY = any_of([*_WEEKDAYS.values(), *_WEEKDAYS])
_CLEAR_DAY = r"(?:Mon|Tues?|Weds?|Thu|Thurs?|Fri)"  # the others are words as well
_BEFORE_DAY = r"(?:on|by|until|till|every|each|this|next|last|from|to|through|before|after|since|and|or|[Oo]n|[-–,&/])"
_BEFORE_MONTH = r"(?:in|of|since|until|till|by|last|next|this|late|early|mid|from|to|through|and|or|[-–,&/])"
_YEAR = r"(?:1[1-9]|20)\d\d"
_BEFORE_YEAR = r"(?:in|since|of|until|till|by|from|year|before|after|around|circa|during|between|late|early|mid|spring|summer|autumn|fall|winter|class of|back to|for|copyright)"  # noqa: E501
_COUNTED = r"(?! (?:people|men|women|children|percent|more|of the|other|new|\w+(?<!is)(?<!as)(?<!us)(?<!ss)s)\b)"
_ENDS_IN_S = r"(?= (?:was|is|has|as|this|his|its|us|perhaps|always|sales|elections?|olympics|games|films?|movies?)\b)"
_TENS = ["twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"]
_HALF = r"(?P<half>[AaPp](?:\.\s?[Mm]\b\.?|[Mm]\b))"


def month_name(name: str) -> str:
    return next(month for month in MONTHS if month.startswith(name[:3]))


def _spoken_date(month: int, day: str, year_digits: str, otherwise: str) -> str:
    if not (1 <= month <= 12 and 1 <= int(day) <= 31):
        return otherwise
    if len(year_digits) == 2:
        year_digits = ("20" if int(year_digits) < 50 else "19") + year_digits
    words = f"{MONTHS[month - 1]} {ordinal(str(int(day)))}"
    return f"{words}, {year(year_digits)}" if year_digits else words


def _year_first(match: re.Match[str]) -> str:
    return _spoken_date(int(match[3]), match[4], match[1], match[0])


def _two_numbers_first(match: re.Match[str]) -> str:
    """ "12/25/2024" or, as the rest of the world has it, "25/12/2024"; with periods the day is always first."""
    first, second = int(match[1]), int(match[3])
    month, day = (second, match[1]) if first > 12 or match[2] == "." else (first, match[3])
    return _spoken_date(month, day, match[4], match[0])


def _month_and_day(match: re.Match[str]) -> str:
    if match["until"]:
        until = f" to {ordinal(match['until'])}"
    else:
        until = ""
    words = f"{month_name(match['month'])} {ordinal(match['day'])}{until}"
    return f"{words}, {year(match['year'])}" if match["year"] else words


def _day_and_month(match: re.Match[str]) -> str:
    words = f"{month_name(match['month'])} {ordinal(match['day'])}"
    if match["the"]:
        words = f"the {ordinal(match['day'])} of {month_name(match['month'])}"
    return f"{words}, {year(match['year'])}" if match["year"] else words


def _weekday(match: re.Match[str]) -> str:
    return _WEEKDAYS.get(match[1], match[1])


def _decade(match: re.Match[str]) -> str:
    return plural_of_number(year(match[1] + "0"))


def _tens(match: re.Match[str]) -> str:
    return (match[1] or "") + _TENS[int(match[2]) - 2]


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), match["minute"] or "00", (match["half"] or "").upper()
    if hour > 24 or int(minute) > 59:
        return match[0]
    words = cardinal(str(hour))
    if minute != "00":
        words += f" {'oh ' if minute[0] == '0' else ''}{cardinal(str(int(minute)))}"
    elif not half:
        words += " o'clock" if 0 < hour <= 12 else " hundred"
    ends = "." if half.endswith(".") and re.match(r"\s*$|\s+[A-Z]", match.string[match.end() :]) else ""
    return f"{words} {half[0]} M{_if_sentence_ends(match, ends)}" if half else words


def _if_sentence_ends(match: re.Match[str], mark: str) -> str:
    """ "at 7 p.m. We eat" has a period that ends the sentence; "at 7 p.m. Tuesday" has not."""
    following = match.string[match.end() :]
    return mark if not re.match(rf"\s+(?:{_DAY}|{_MONTH}|[A-Z]{{2,4}})\b", following) else ""


def _clock_of_seconds(match: re.Match[str]) -> str:
    units = zip((match[1], match[2], match[3]), ("hour", "minute", "second"), strict=True)
    return " ".join(f"{cardinal(str(int(n)))} {unit}{'s' if int(n) != 1 else ''}" for n, unit in units if int(n))


def _years(match: re.Match[str]) -> str:
    until = match[2] if len(match[2]) == 4 else match[1][:2] + match[2]
    return f"{year(match[1])} to {year(until) if len(match[2]) == 4 else cardinal(str(int(match[2])))}"


read_dates = Rules(
    (
        (
            r"\b(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:T(?=\d))?\b",
            lambda m: _year_first(m) + (" " if m[0].endswith("T") else ""),
        ),
        (r"(?<![\d/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?![/.-]?\d)", _two_numbers_first),
        (
            rf"\b(?P<month>{_MONTH})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
            r"(?:\s?[-–]\s?(?P<until>\d{1,2})(?:st|nd|rd|th)?)?\b"
            r"(?![:/]|,\d|\.\d| ?[ap]\.?m\b| ?%)(?:,? (?P<year>\d{4})\b(?! [a-z]+s\b))?",
            _month_and_day,
        ),
        (
            (
                r"\b(?P<the>[Tt]he )?(?P<day>\d{1,2})(?:st|nd|rd|th)?"
                rf"\.?(?: of)? (?P<month>{_MONTH})\b\.?(?!\s\d{{1,2}}\b)(?:,? (?P<year>\d{{4}})\b)?"
            ),
            _day_and_month,
        ),
        (rf"\b({_MONTH})\.?,? ({_YEAR})\b", lambda m: f"{month_name(m[1])} {year(m[2])}"),
        (
            rf"\b((?i:{_BEFORE_MONTH})\s?)((?!May|Mar\b|Mar[^c.])(?:{_MONTH}))\b\.?(?=\W|$)",
            lambda m: m[1] + month_name(m[2]),
        ),
        (r"\b(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.(?=\s+[a-z\d(]|\s?[-–,;])", lambda m: month_name(m[1])),
        (r"(?<=[a-z][-–])(Mar|Jun|Jul)\b", lambda m: month_name(m[1])),
        (r"\b(Jan|Feb|Apr|Aug|Sept|Oct|Nov|Dec)(?=\s?[-–/])", lambda m: month_name(m[1])),
        (rf"\b({_CLEAR_DAY})\b(\.(?=\s+[a-z\d(]|\s?[-–,;])|(?=\.?\s+[A-Z]|\.?\W|$))", _weekday),
        (r"(?<=day[-–])(Sat|Sun|Fri|Thu)\b\.?", _weekday),
        (r"(?<=[a-z,&–-]) (Sat|Sun)\.(?=\s+[a-z\d(]|\s?[-–,;])", lambda m: " " + _weekday(m)),
        (rf"\b((?:{_BEFORE_DAY})\s)(Sat|Sun)\b(?!\s+(?:down|and the|shine))", lambda m: m[1] + _WEEKDAYS[m[2]]),
        (r"\b(Sat|Sun)\b(?=\.?\s?(?:[-–&/]|and )\s?(?:Sun|Mon|Sat))", _weekday),
        (r"((?:day|-|–|&) ?)\b(Sat|Sun)\b", lambda m: m[1] + _WEEKDAYS[m[2]]),
        (
            r"(?<![\d/])(0?[1-9]|1[0-2])/((?:19|20)\d\d)\b(?![/\d])",
            lambda m: f"{MONTHS[int(m[1]) - 1]} {year(m[2])}",
        ),
        (
            (
                r"(?i)\b((?:on|by|until|since|before|due|from|dated?"
                r"|\w{3,6}day,?"
                r"|(?:birthday|anniversary|deadline|wedding|exam|party|interview)(?: is|'s| was)) )"
                r"(\d{1,2})/(\d{1,2})(?![/\d])(?!\s+of\b)"
            ),
            lambda m: m[1] + _on_day(m),
        ),
        (rf"({any_of(_WEEKDAYS.values())})\s?[-–]\s?(?={any_of(_WEEKDAYS.values())})", r"\1 to "),
        (rf"({any_of(MONTHS)})\s?[-–]\s?(?={any_of(MONTHS)})", r"\1 to "),
        (r"\b(\d{1,2}):(\d\d):(\d\d)\b", _clock_of_seconds),
        (r"\b(\d{1,2}):(\d\d)\.(\d{1,3})\b", lambda m: f"{cardinal(m[1])} {cardinal(m[2] + '.' + m[3])}"),
        (
            r"(?i)(?<![\d:.,])(?P<hour>\d{1,2})\s?[-–]\s?(?=\d{1,2}(?:[:.]\d\d)?\s?[ap]\.?m\b)",
            lambda m: cardinal(m["hour"]) + " to ",
        ),
        (rf"(?<![\d:.,])(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?:\s?{_HALF})?(?![:\d])", _time),
        (rf"(?<![\d:.,])(?P<hour>\d{{1,2}})\.(?P<minute>[0-5]\d)\s?{_HALF}", _time),
        (rf"(?<![\d:.,$])(?P<hour>\d{{1,2}})(?P<minute>)\s?{_HALF}", _time),
        (r"(?<![\d:.,])(?P<hour>\d{1,2})h(?P<minute>[0-5]\d)(?P<half>)\b", _time),
        (
            (
                r"(M|o'clock|\b[a-z]+(?:ty|teen|one|two|three|four|five|six|seven|eight|nine|ten|eleven"
                r"|twelve))\s?[-–]\s?(?=[a-z]+[ -](?:[AP] M|[a-z]+ [AP] M|o'clock))"
            ),
            r"\1 to ",
        ),
        (r"\b(\d{3})0'?s\b", _decade),
        (r"(?<!\w)()'([2-9])0'?s\b", _tens),
        (r"(?<!\w)'(\d\d)\b(?!')", lambda m: f"oh {cardinal(m[1][1])}" if m[1][0] == "0" else cardinal(m[1])),
        (
            r"\b((?i:the|early|late|mid|my|his|her|our|their|your|in)[ -](?:(?:early|late|mid)[ -])?)'?([2-9])0'?s\b",
            _tens,
        ),
        (rf"\b({_YEAR})\s?[-–/]\s?({_YEAR}|\d\d)\b(?![-/–])", _years),
        (
            (
                rf"(?i)\b({_BEFORE_YEAR} )({_YEAR})\b(?![,.]\d|%|-\w)(?! (?:people|percent|points|dollars|euros"
                rf"|times|years|days|men|women|miles|meters)\b)"
            ),
            lambda m: m[1] + year(m[2]),
        ),
        (rf"\b({_YEAR})(?=,? (?:BCE?|CE|AD|A\.D\.|B\.C\.))", lambda m: year(m[1])),
        (rf"\b((?:AD|A\.D\.|c\.|ca\.) ?)({_YEAR})\b", lambda m: ("circa " if m[1][0] == "c" else m[1]) + year(m[2])),
        (
            (
                rf"(?<![\d,.$€£¥₹#+/-])\b((?:19|20)\d\d)\b(?![,.]\d|[%/°]|-\d)(?:{_ENDS_IN_S}"
                rf"|{_COUNTED})(?! ?(?:[kcm]?m|k?g|[km]?l|kcal|MB|GB|mph|W|V|Hz|x)\b)"
            ),
            lambda m: year(m[1]),
        ),
    )
)


def _on_day(match: re.Match[str]) -> str:
    if match[2] + match[3] == "911":
        return "nine eleven"
    if int(match[2]) == 1 and int(match[3]) in (2, 3, 4, 8):
        return f"{match[2]}/{match[3]}"  # rather a fraction
    return _spoken_date(int(match[2]), match[3], "", f"{match[2]}/{match[3]}")
