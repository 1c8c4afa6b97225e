"""Abbreviations, initials and acronyms → words or separate letters."""

from __future__ import annotations

import re

from emotion_omni.abbreviations import BEFORE_NUMBER, TITLES, WITH_PERIOD
from emotion_omni.synthesis.text_normalization.rules import Rules, any_of

_STREETS = {
    "St": "Street", "Dr": "Drive", "Ave": "Avenue", "Av": "Avenue", "Rd": "Road", "Blvd": "Boulevard", "Ln": "Lane",
    "Hwy": "Highway", "Pkwy": "Parkway", "Pl": "Place", "Ct": "Court", "Sq": "Square", "Ter": "Terrace",
    "Cir": "Circle", "Expy": "Expressway", "Fwy": "Freeway",
}  # fmt: skip
_ALWAYS = {
    "e.g": "for example", "i.e": "that is", "a.k.a": "also known as", "w.r.t": "with respect to", "q.v": "which see",
    "et al": "and others", "n.b": "note well", "r.s.v.p": "R S V P", "p.s": "P S", "w/o": "without", "w/": "with ",
    "b/c": "because", "b/w": "between", "c/o": "care of", "n/a": "not applicable", "s/he": "she or he", "a/c": "A C",
    "&c": "et cetera", "i.a": "among others",
}  # fmt: skip
_BARE = {
    "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department", "govt": "government",
    "hrs": "hours", "mins": "minutes", "secs": "seconds", "yrs": "years", "lbs": "pounds", "tbsp": "tablespoons",
    "incl": "including", "asst": "assistant", "qty": "quantity", "apt": "", "blvd": "boulevard", "kg": "kilograms",
    "km": "kilometers", "cm": "centimeters", "mph": "miles per hour", "kph": "kilometers per hour",
}  # fmt: skip
_ENDERS = r"(?:The|He|She|It|We|They|I|You|But|And|So|Then|This|That|These|Those|There|My|Our|His|Her|Their|Your|In|On|At|If|When|What|Who|How|Why|Where|Please|Let|Do|Does|Did|Is|Are|Was|Were|Can|Could|Will|Would|Should|No|Yes|Oh|Well|Now|A|An|For|After|Before|As|Not|Call|Come|Go|Today|Tomorrow|I'm|It's|He's|She's|We're|They're|Don't|Everyone|Some|All|Many|Most)"  # noqa: E501
_SENTENCE_ENDS = rf"(?=\s*$|\s+[\"']?{_ENDERS}\b|\s*[\"')]\s*$)"
_AFTER_NO = (
    r"(?! (?!is\b|was\b|has\b|as\b|does\b|this\b|says\b|seeds?\b)(?:people|men|women|children|of|more|other|[a-z]+s)\b)"
)
_BEFORE_LOWER_NO = r"(?:at|see|the|room|house|flat|bus|line|track|platform|gate|page|item|opus|op\.|box|question|exhibit|invoice|order|part|serial|account|case|of|phone|tel\.|my|your|our|his|her|model|lot|flight|ticket)"  # noqa: E501
_LETTERED = {
    "vitamin",
    "plan",
    "grade",
    "hepatitis",
    "option",
    "type",
    "section",
    "class",
    "group",
    "team",
    "building",
    "appendix",
    "part",
    "room",
    "terminal",
    "exhibit",
    "answer",
    "and",
    "or",
    "letter",
    "block",
}  # noqa: E501
_CAPS_WORDS = {
    "US": "U S", "USA": "U S A", "UK": "U K", "EU": "E U", "AC": "A C", "PA": "P A", "PC": "P C", "TV": "T V",
    "AI": "A I", "IT": "I T", "WHO": "W H O", "ER": "E R", "OR": "O R", "ID": "I D", "LA": "L A",
}  # noqa: E501  # fmt: skip


def _title(match: re.Match[str]) -> str:
    return TITLES[match[1]] + " "


def _street(match: re.Match[str]) -> str:
    ends = "." if match[0].endswith(".") and re.match(_SENTENCE_ENDS, match.string[match.end() :]) else ""
    return f"{match[1]}{_STREETS[match[2]]}{ends}"


def _with_period(match: re.Match[str]) -> str:
    ends = "." if re.match(_SENTENCE_ENDS, match.string[match.end() :]) else ""
    return WITH_PERIOD[match[1].lower()] + ends


def _initials(match: re.Match[str]) -> str:
    """ "J. R. R. Tolkien", "U.S.", "Ph.D." → letters; the last period stays where a sentence ends."""
    ends = "." if re.match(_SENTENCE_ENDS, match.string[match.end() :]) else ""
    letters = re.findall(r"[A-Za-z]", match[0])
    return " ".join(letters).upper() + ends + (" " if match[0].endswith(" ") else "")


def _name_initials(match: re.Match[str]) -> str:
    """ "George W. Bush", but not "Plan B. Then"."""
    before = re.search(r"([A-Za-z']+)\W+$", match.string[: match.start()])
    listed = before and before[1].lower() in _LETTERED
    if len(match[0]) <= 3 and (listed or re.match(rf"{_ENDERS}\b", match.string[match.end() :])):
        return match[0]
    return " ".join(re.findall("[A-Z]", match[0])) + " "


def _caps(match: re.Match[str]) -> str:
    """The acronyms that are also words: letters, unless the words beside them are in capitals too."""
    before = re.search(r"([A-Za-z']+)\W*$", match.string[: match.start()])
    after = re.match(r"\W*([A-Za-z']+)", match.string[match.end() :])
    shouted = [
        word[1]
        for word in (before, after)
        if word and len(word[1]) > 1 and word[1].isupper() and word[1] not in _CAPS_WORDS
    ]
    return match[0] if shouted else _CAPS_WORDS[match[0]]


_CLEAR_STREETS = set(_STREETS) - {"Ct", "Pl", "Ter", "Cir", "Av", "Sq"}
_BEFORE_WORDS = {"max", "temp", "est", "dist", "dir", "cont", "cert", "ref", "ca", "min", "exec", "ms"}

# Before numbers are read
read_numbered = Rules(
    (
        (rf"(?<!\w)({any_of(_ALWAYS)})(?:\.(?!\w)|(?<=/)(?=\s?\w)|(?![\w/.]))", lambda m: _ALWAYS[m[1]]),
        (
            r"(?<!\w)((?i:e\.\s?g|i\.\s?e|a\.k\.a|r\.s\.v\.p|p\.s|n\.b|n/a|w/o|b/c))(?:\.(?!\w)|(?![\w/.]))",
            lambda m: _ALWAYS[m[1].lower().replace(" ", "")],
        ),
        (rf"(?i)\b({_BEFORE_LOWER_NO} )no\. ?(?=\d)", r"\1number "),
        (r"(?<=[\w,;:(] )N[oO]\. ?(?=\d)|(?<=[\w,;:(] )No (?=\d+\b(?!\.\d| [a-z]+s\b| people\b))", "number "),
        (rf"^No\. ?(?=\d+\b{_AFTER_NO})", "number "),
        (rf"(?<=[.!?] )No\. ?(?=\d+\b{_AFTER_NO})", "number "),
        (r"\b[Nn]os\. ?(?=\d)", "numbers "),
        (
            rf"(?i)(?<![\w'])({any_of(set(BEFORE_NUMBER) - {'no', 'nos'})})\. ?(?=#?\d|(?-i:[IVX]+\b))",
            lambda m: BEFORE_NUMBER[m[1].lower()] + " ",
        ),
        (r"\bc\. ?(?=1\d{3}\b)", "circa "),
        (r"(?i)\bapt (?=#?\d)", "apartment "),
        (r"(?i)\brm (?=#?\d)", "room "),
        (
            rf"\b((?:[A-Z][a-z]+|\d+(?:st|nd|rd|th)) )\b({any_of(_CLEAR_STREETS)})\b\.?"
            r"(?= [NSEW]{1,2}\b|,| (?:and|in|is|at|near|was|to|for)\b|\s*[.!?]?\s*$)",
            _street,
        ),
        (
            r"\b(?<=\d )([NSEW])\. (?=[A-Z][a-z])",
            lambda m: {"N": "North ", "S": "South ", "E": "East ", "W": "West "}[m[1]],
        ),
    )
)

# After numbers are read
read_abbreviations = Rules(
    (
        (
            r"(?<=[a-z]) (St|Ave|Rd|Blvd|Ln|Hwy|Pkwy)\b(?:\.(?! ?[A-Z])|(?![.']| ?[A-Z]))",
            lambda m: f" {_STREETS[m[1]]}",
        ),
        (rf"\b({any_of(TITLES)})\.? (?=[A-ZÀ-Þ](?:[\w']|\.))", _title),
        (r"\b(Mr|Mrs|Dr|Prof)\b\.?(?=[^\w'.]|\s*$)", lambda m: TITLES[m[1]]),
        (
            rf"(?i)\b({any_of(set(WITH_PERIOD) - _BEFORE_WORDS)})\.(?!\w)",
            _with_period,
        ),
        (r"\b(max|temp|ref|est|ca|min)\.(?=\s[a-z])", lambda m: WITH_PERIOD[m[1]]),
        (rf"(?i)\b({any_of(_BARE)})\b(?!['/-])", lambda m: _BARE[m[1].lower()] or m[1]),
        (r",? (Jr|Sr)\b\.?", lambda m: " " + WITH_PERIOD[m[1].lower()]),
        (r"\b(Co)\.(?=\s|,|$)", "company"),
        (r"\b(Ph\.? ?D|B\.? ?Sc|M\.? ?Sc)\b\.?", lambda m: _initials(m) if "." in m[0] or m[1] == "PhD" else m[0]),
        (r"\b(?:[A-Za-z]\.){2,}(?!\w)", _initials),
        (r"\b(?:[A-Z]\.\s?)+[A-Z]\b(?!['.\w])", _initials),
        (r"\b(?:[A-Z]\. ?)+(?=[A-Z][a-z])(?<=\. )", _name_initials),
        (rf"\b{any_of(set(_CAPS_WORDS) - {'IT', 'WHO', 'OR', 'ER', 'LA', 'ID'})}\b(?!\.\w)", _caps),
        (
            (
                r"\b(?:IT|WHO|OR|ER)\b(?=(?: (?:department|support|team|guy|guys|job|manager|staff|system"
                r"|systems|company|industry|worker|specialist|said says|says|recommends|director)\b))"
            ),
            _caps,
        ),
        (r"(?<=\b[Tt]he )(?:IT|WHO|OR|ER|LA)\b|(?<=\b[Ii]n )(?:IT|LA)\b|(?<=\b[Tt]o )LA\b", _caps),
        (
            (
                r"(?<![A-Z]\s)(?:^|(?<=[.!?:]\s)|(?<=[\"']))A (?=[a-z]+)(?!(?:is|was|and|or|stands|to|equals"
                r"|plus|minus)\b)"
            ),
            "a ",
        ),
        (r"(?<=[A-Z]{2} )A(?= [A-Z]{2})", "a"),
    )
)
