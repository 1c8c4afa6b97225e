"""Text of files that people made with other programs: which encoding it is in, or that it cannot be known."""

from __future__ import annotations

import codecs
import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


class ByteStream(Protocol):
    def readline(self) -> bytes: ...
    def read(self) -> bytes: ...


BYTE_ORDER_MARK = "\ufeff"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_UNIT_BYTES = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2, "utf-32": 4}
WINDOWS = "Windows-1252"
# Other alphabets and Mac Roman read as Windows-1252: long runs of accented letters, capitals inside of words.
_NOT_WESTERN = re.compile(r"[^\x00-\x7f‘’“”–—…]{4}|[a-zà-ÿ][À-ÞŠŽŸ]|[\x80-\x9f]")


def decode_text(data: bytes, file: str) -> tuple[str, str]:
    """→ the text, and the name of its encoding. Raises :class:`EmotionOmniError` (code ``encoding``)."""
    codec, name = _codec(data)
    if codec:
        return _strictly(data, codec, name, file), name
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _windows(data, error, file, f"line {line}"), WINDOWS


def decode_lines(stream: ByteStream) -> Iterator[str | EmotionOmniError]:
    r"""The lines of a stream as they come, without their ends; one that cannot be decoded is an error in its place.

    Lines end with ``\n``, ``\r\n`` or, where the stream has no ``\n``, ``\r``: never at U+2028 and the like, which a
    text may hold. Of UTF-16 and UTF-32 all is read before the first line.
    """
    first = stream.readline()
    codec, _ = _codec(first)
    if codec in _UNIT_BYTES:
        yield from split_lines(_wide_text(first + stream.read(), codec))
    elif not first.endswith(b"\n"):
        yield from _decoded(first.split(b"\r"))
    else:
        yield from _decoded(itertools.chain([first], iter(stream.readline, b"")))


def printable_name(name: str) -> str:
    """A file name of a disk as text. Bytes that are not UTF-8 are read as Windows-1252."""
    try:
        name.encode()
        return name
    except UnicodeEncodeError:
        data = os.fsencode(name)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def split_lines(text: str) -> list[str]:
    """At the ends of lines that :func:`decode_lines` knows."""
    return text.replace("\r\n", "\n").split("\n") if "\n" in text else text.split("\r")


def _codec(data: bytes) -> tuple[str, str]:
    """→ the codec and name of an encoding that the first bytes give away; empty for others."""
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return codec, name
    if len(data) >= 4 and b"\0" in data[:200]:
        for codec, zeros in (("utf-16-le", data[1:200:2]), ("utf-16-be", data[0:200:2])):
            if zeros.count(0) > 0.8 * len(zeros):
                return codec, "UTF-16 without a byte order mark"
    return "", ""


def _wide_text(data: bytes, codec: str) -> str:
    """UTF-16 or UTF-32. Halves of characters stay: whoever reads the line refuses it. So does a line that is cut."""
    whole = len(data) - len(data) % _UNIT_BYTES[codec]
    try:
        return data[:whole].decode(codec, "surrogatepass")
    except UnicodeDecodeError as error:
        raise EmotionOmniError(
            f"The text begins as {codec.upper()} but is not ({error}). Save it as UTF-8.", "encoding"
        ) from error


def _decoded(lines: Iterable[bytes]) -> Iterator[str | EmotionOmniError]:
    seen: set[str] = set()  # encodings, of lines that are not ASCII
    for number, line in enumerate(lines, 1):
        try:
            text, encoding = _decode_line(line.removesuffix(b"\n").removesuffix(b"\r"), "UTF-8" in seen)
        except EmotionOmniError as error:
            yield error
            continue
        if encoding == WINDOWS and WINDOWS not in seen:
            log.warning("Line %d was read as %s. Check that this is right: %s", number, WINDOWS, text.strip()[:80])
        if not text.isascii():
            seen.add(encoding)
        yield text


def _decode_line(data: bytes, is_utf8: bool) -> tuple[str, str]:
    """→ the text, and the name of its encoding. ``is_utf8``: lines before were, so this one is not Windows-1252."""
    try:
        return data.decode("utf-8").removeprefix(BYTE_ORDER_MARK), "UTF-8"  # a mark is also where files were joined
    except UnicodeDecodeError as error:
        return _windows(data, error, "The line", "it", is_utf8), WINDOWS


def _strictly(data: bytes, codec: str, name: str, file: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise EmotionOmniError(
            f"{file} begins as {name} but is not ({error}). Save it as UTF-8.", "encoding"
        ) from error


def _windows(data: bytes, error: UnicodeDecodeError, what: str, where: str, is_utf8: bool = False) -> str:
    bad = f"{where} holds the byte 0x{data[error.start]:02X}"
    if is_utf8 or re.search(r"[^\x00-\x7f\ufffd]", data.decode("utf-8", "replace")):
        raise EmotionOmniError(f"{what} is UTF-8 in part only: {bad}. Save it as UTF-8.", "encoding") from error
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = "\x80"
    if _NOT_WESTERN.search(text):
        raise EmotionOmniError(
            f"{what} is neither UTF-8 nor Windows-1252: {bad}. Save it as UTF-8.", "encoding"
        ) from error
    return text
