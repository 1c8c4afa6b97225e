"""Text of files that people made with other programs: which encoding it is in, or that nobody can know."""

from __future__ import annotations

import codecs
import re

from emotion_omni.types import EmotionOmniError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
WINDOWS = "Windows-1252"
# Other alphabets and Mac Roman read as Windows-1252: long runs of accented letters, capitals inside of words.
_NOT_WESTERN = re.compile(r"[^\x00-\x7f‘’“”–—…]{4}|[a-zà-ÿ][À-ÞŠŽŸ]|[\x80-\x9f]")


def decode_text(data: bytes, file: str) -> tuple[str, str]:
    """→ the text, and the name of its encoding."""
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return _strictly(data, codec, name, file), name
    if len(data) >= 4 and len(data) % 2 == 0 and b"\0" in data[:200]:
        for codec, zeros in (("utf-16-le", data[1:200:2]), ("utf-16-be", data[0:200:2])):
            if zeros.count(0) > 0.8 * len(zeros):
                return _strictly(data, codec, "UTF-16", file), "UTF-16 without a byte order mark"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as error:
        return _windows(data, file, error), WINDOWS


def _strictly(data: bytes, codec: str, name: str, file: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise EmotionOmniError(
            f"{file} begins as {name} but is not ({error}). Save it as UTF-8.", "encoding"
        ) from error


def _windows(data: bytes, file: str, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    bad = f"line {line} holds the byte 0x{data[error.start]:02X}"
    if re.search(r"[^\x00-\x7f\ufffd]", data.decode("utf-8", "replace")):
        raise EmotionOmniError(f"{file} is UTF-8 in part only: {bad}. Save it as UTF-8.", "encoding") from error
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = "\x80"
    if _NOT_WESTERN.search(text):
        raise EmotionOmniError(
            f"{file} is neither UTF-8 nor Windows-1252: {bad}. Save it as UTF-8.", "encoding"
        ) from error
    return text
