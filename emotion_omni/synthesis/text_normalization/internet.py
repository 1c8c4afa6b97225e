"""Web and e-mail addresses, file names, handles and hashtags → how one reads them out."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.numbers import cardinal, digits
from emotion_omni.synthesis.text_normalization.rules import Rules

_SPOKEN_DOMAINS = "com org net gov info shop store app dev blog cloud online site club biz live news mil wiki me co"
_SPELLED_DOMAINS = "edu io ai uk us de fr eu ch at nl be es it se no dk fi pl ru cn jp kr in au nz ca br mx tv fm gg ly"
_DOMAINS = "|".join(f"{_SPOKEN_DOMAINS} {_SPELLED_DOMAINS}".split())
_SPELLED_FILES = "pdf txt csv html htm xml jpg png wav ogg py js ts cpp docx xlsx pptx sql php css exe svg md yml www"
_READ_AS_WORDS = {"in", "at", "be", "it", "no", "us"}  # rather "check dot in" than "check dot I N"
_SPELLED = set(f"{_SPELLED_DOMAINS} {_SPELLED_FILES}".split()) - _READ_AS_WORDS
_FILES = "pdf|docx?|xlsx?|pptx?|txt|csv|html?|xml|json|jpe?g|png|gif|mp[34]|wav|ogg|zip|py|js|exe|sql|php|css|svg|ya?ml"
_SIGNS = {
    ".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark", "=": "equals",
    "&": "and", "#": "hash", ":": "colon", "+": "plus", "%": "percent", "~": "tilde",
}  # fmt: skip
_HOST = rf"(?:[A-Za-z0-9](?:[\w-]{{0,62}}[A-Za-z0-9])?\.){{1,6}}(?:{_DOMAINS})\b(?![@\w])"
_PATH = r"(?::\d{2,5})?(?:[/?#][\w./?=&#%+~:@-]*[\w/=])?/?"


def read_address(address: str) -> str:
    """ "me@site.org/a-b" → "me at site dot org slash a dash b"."""
    pieces = re.findall(r"[A-Za-zÀ-ÿ]+|\d+|[^\w\s]|_", address.rstrip("/"))
    return " ".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if piece.isdigit():
        return cardinal(piece) if len(piece) < 3 and piece[0] != "0" else digits(piece)
    if piece.lower() in _SPELLED:
        return " ".join(piece.upper())
    return _SIGNS.get(piece, piece if piece.isalpha() else " ")


def _url(match: re.Match[str]) -> str:
    return " " + read_address(match["address"]) + " "


def _hashtag(match: re.Match[str]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", match[1]).replace("_", " ")
    return f" hashtag {words}"


read_internet = Rules(
    (
        (r"(?<![\w.+-])(?:mailto:)?(?P<address>[\w.+-]{0,64}\w@[\w-]+(?:\.[\w-]+)+)", _url),
        (rf"\b(?i:https?|ftp)://(?P<address>[\w.-]*\w{_PATH})", _url),
        (rf"\b(?P<address>www\.[\w.-]*\w{_PATH})", _url),
        (rf"(?<![\w@.-])(?P<address>{_HOST}{_PATH})", _url),
        (rf"(?<![\w.-])(?P<address>[\w-]{{1,64}}(?:\.[\w-]{{1,64}}){{0,6}}\.(?:{_FILES}))\b", _url),
        (r"(?<!\w)\.NET\b", " dot net"),
        (r"\b(\w+)\.js\b", r"\1 J S"),
        (r"(?<![\w&/])#([A-Za-z]\w+)", _hashtag),
        (r"(?<!\w)@([A-Za-z]\w*)", lambda match: " at " + read_address(match[1])),
        (r"(?<!\w)(?P<address>(?:~|\.{1,2})?(?:/[A-Za-z][\w.-]*){2,}/?)", _url),  # a path of files
    )
)
