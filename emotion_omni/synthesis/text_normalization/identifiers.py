"""Numbers that name something: telephones, cards, codes, addresses of computers, versions, flights, rooms."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.numbers import cardinal, digits, pairs
from emotion_omni.synthesis.text_normalization.rules import Rules

_CODE = r"(?:code|pin|zip|zip code|postcode|password|passcode|passport|extension|ext\.?|serial|tracking|confirmation|account|id|otp|isbn|ssn|area code|license|licence|plate)"  # noqa: E501
_ROOM = r"(?:[Rr]oom|[Ff]light|[Gg]ate|[Ss]uite|[Aa]partment|[Aa]pt\.?|[Hh]ighway|[Rr]oute|[Ii]nterstate|[Bb]us|Boeing|Airbus|Porsche|Peugeot|BMW|[Uu]nit|[Aa]rea|[Ll]ocker|[Ee]xit|I)"  # noqa: E501
_STREET = r"(?:St|Street|Ave|Avenue|Rd|Road|Blvd|Boulevard|Ln|Lane|Dr|Drive|Way|Ct|Court|Pl|Place|Sq|Square|Terrace)"
_CALL = r"(?:[Cc]all(?:ed|ing|s)?|[Dd]ial(?:ed|ing|s)?|[Rr]ing|[Tt]ext|[Pp]hone[d]?)"
_VERSION = (
    r"(?:[Vv]ersion|[Rr]elease|Python|Android|iOS|macOS|Windows|Ubuntu|Java|PHP|Section|section|§|Chapter|chapter|v\.)"
)


def phone(number: str) -> str:
    """ "+1 (415) 555-2671" → its digits, with a comma between the groups; "1-800-555-0199" has an "eight hundred"."""
    groups = [_phone_group(group) for group in re.findall(r"\d+", number)]
    return ("plus " if number.startswith("+") else "") + ", ".join(groups)


def _phone_group(group: str) -> str:
    return "eight hundred" if group == "800" else digits(group, 4 if len(group) > 6 else 0)


def _dotted(match: re.Match[str]) -> str:
    address = " dot ".join(digits(part) for part in match[1].split("."))
    return f"{address} colon {digits(match[2])}" if match[2] else address


def _version(match: re.Match[str]) -> str:
    parts = match["parts"].split(".")
    return (match["word"] or "") + " point ".join(digits(part) if part[0] == "0" else cardinal(part) for part in parts)


def _after(read, *groups: str):
    """Reads the last group by ``read`` and leaves what comes before it."""
    return lambda match: match[1] + read(match[2])


def _called(match: re.Match[str]) -> str:
    return match[1] + re.sub(r"\d+", lambda number: digits(number[0]), match[2])


read_identifiers = Rules(
    (
        (r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(:\d{2,5})?(?![\w.]{0,8}\d)", _dotted),  # 192.168.1.1
        (
            rf"\b(?P<word>{_VERSION}\s?|\bv)(?P<parts>\d+(?:\.\d+)+)(?!\d)",
            lambda m: _version(m).replace("v", "version ", m["word"] == "v"),
        ),
        (r"\bv(?=\d+\b)", "version "),
        (r"(?<![\w.$€£])(?P<word>)(?P<parts>\d{1,3}(?:\.\d{1,3}){2,})(?![\w.]{0,8}\d)", _version),
        (r"(?<!\w)\d{4}(?:[ -]\d{4}){3}(?!\d)", lambda match: digits(match[0], 4)),  # a card
        (r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\d)", lambda match: phone(match[0])),
        (r"(?<![\w.])(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}(?!\d)", lambda match: phone(match[0])),
        (r"(?<![\w.])(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}(?!\d)", lambda match: phone(match[0])),
        (r"(?<![\w.])(1-)?(8\d\d)-(?=[A-Z]{2,})", lambda match: phone((match[1] or "") + match[2]) + ", "),
        (r"(?<![\w.,-])\d{3}-\d{4}(?![\d-])", lambda match: phone(match[0])),
        (r"(?<![\w.,-])(?!\d\d-\d\d-\d{4}\b)0\d{1,4}(?:[ -]\d{2,8}){1,4}(?![\d-])", lambda match: phone(match[0])),
        (r"(?<![\w.,-])\d{3}-\d{2}-\d{4}(?![\d-])", lambda match: phone(match[0])),  # a social security number
        (r"(?<![\w.,-])\d{3}(?:-\d{1,7}){3,4}(?![\d-])", lambda match: phone(match[0])),  # an ISBN
        (
            (
                rf"\b({_CALL}(?: (?:me|us|him|her|them))?(?: (?:at|on))? )(\d{{3}}(?:(?:, | or | and "
                rf"|/)\d{{3}})*)\b(?![,.]?\d)"
            ),
            _called,
        ),
        (
            rf"(?i)\b({_CODE}(?: (?:number|no\.?))?(?: (?:is|was))?:? ?#?)(\d{{3,}})\b(?!,\d)",
            _after(lambda n: digits(n, 4 if len(n) > 6 else 0)),
        ),
        (
            r"\b([A-Z]{2} )(\d{5})(?:-(\d{4}))?\b",
            lambda m: m[1] + digits(m[2]) + (" dash " + digits(m[3]) if m[3] else ""),
        ),
        (r"\b((?:Boeing|Airbus A?) ?)(\d{3})-(\d{1,4})\b", lambda m: f"{m[1]}{pairs(m[2])} {pairs(m[3])}"),
        (rf"\b({_ROOM}[ -])(\d{{3,4}})\b(?![,.]\d|-\d)", _after(pairs)),
        (r"(?<!,)\b911\b(?!,)", "nine one one"),
        (
            (
                rf"(?<![\w.,$€£-])()(\d{{3,4}})(?= (?:[NSEW]\.? |North |South |East "
                rf"|West )?(?:[A-Z]\w+ ){{1,2}}{_STREET}\b)"
            ),
            _after(pairs),
        ),
        (r"\b()(1080|1440|2160|720|480)(?=p\b)", lambda match: pairs(match[2]) + " "),
        (r"(?i:\b(flight )([A-Z]{1,3}) ?(\d{3,4})\b)", lambda match: f"{match[1]}{match[2]} {pairs(match[3])}"),
        (r"\b(?!Q\d)([A-Z]{1,2})-?(\d{3})\b(?![-.]?\d)", lambda match: f"{match[1]} {pairs(match[2])}"),  # F-150, A380
        (r"\b([A-Z]{2})(\d{4})\b", lambda match: f"{match[1]} {pairs(match[2])}"),
        (r"\b((?:[Aa]|[Tt]he) )(7[0-8]7)\b(?! [a-z]+s\b)", _after(pairs)),
        (r"\b(4K|8K)\b", lambda match: cardinal(match[1][0]) + " K"),
        (r"\b(\d{1,2})G\b(?! ?[/²])", lambda match: cardinal(match[1]) + " G"),
        (r"\b(\d)D\b", lambda match: cardinal(match[1]) + " D"),
    )
)
