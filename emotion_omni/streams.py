"""Arguments, standard input and output in any encoding, and output that nobody reads any more."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from typing import Any, BinaryIO, TextIO

from emotion_omni.types import EmotionOmniError


def accept_any_text() -> None:
    r"""What the encoding of stdout or stderr lacks is written as an escape such as ``\u2019``, and stops no command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def as_json(value: Any) -> str:
    """On one line, in ASCII alone, so that every encoding of stdout holds it."""
    return json.dumps(value)


def write_line(text: str, *, is_all: bool = False) -> None:
    """To stdout, at once. Where nobody reads it any more, the rest goes nowhere.

    ``is_all``: printing is all that the command does, so BrokenPipeError is raised where nobody reads.
    """
    if not _written(f"{text}\n", sys.stdout) and is_all:
        raise BrokenPipeError


def note(text: str, end: str = "\n") -> None:
    """To stderr, at once."""
    _written(text + end, sys.stderr)


def _written(text: str, stream: TextIO | None) -> bool:
    """False where nobody reads any more. A closed stream is None, and takes everything."""
    if stream is None:
        return True
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        discard(stream)
        return False
    return True


def finish() -> None:
    """Write what is still buffered, so that Python need not complain at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            discard(stream)


def discard(stream: TextIO) -> None:
    """From now on, this standard stream goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def text_argument(text: str) -> str:
    """A type for argparse: the text of an argument in UTF-8, also where the system is set to another encoding."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not text in UTF-8") from None


def standard_input() -> BinaryIO:
    """Its bytes. Raises :class:`EmotionOmniError` (code ``no-input``) if it is closed."""
    if sys.stdin is None:
        raise EmotionOmniError("Standard input is closed. Give lines on it: … reply < lines.jsonl", "no-input")
    if hasattr(sys.stdin, "buffer"):
        return sys.stdin.buffer
    return io.BytesIO(sys.stdin.read().encode("utf-8", "surrogatepass"))  # replaced by text, as in a notebook
