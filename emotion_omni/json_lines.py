"""JSON lines that people and other programs wrote: one object a line.

The one reader of the project; the studio's event log alone has its own, with checksums. Lines end at newlines only,
blank ones are skipped. A line that cannot be read is an error with its number; those after it are read all the same.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni.text_encoding import ByteStream, decode_lines
from emotion_omni.types import EmotionOmniError

ENDINGS = (".jsonl", ".jsonl.gz", ".ndjson")
MOST_SHOWN = 20
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Line:
    """``number`` counts from 1, blank lines too. ``text`` is an error where the line could not be decoded."""

    number: int
    text: str | EmotionOmniError

    def value(self) -> dict[str, Any]:
        """The object of this line. Raises :class:`EmotionOmniError` (codes ``bad-line``, ``encoding``)."""
        if isinstance(self.text, EmotionOmniError):
            raise self.text
        try:
            value = parse(self.text.strip())
        except ValueError as error:
            raise EmotionOmniError(f"It is not JSON: {error}.", "bad-line") from error
        if not isinstance(value, dict):
            raise EmotionOmniError(f"It is not an object {{…}} but {_shown(value)}. Write one a line.", "bad-line")
        for key, one in value.items():
            if fault := fault_in([key, one]):
                raise EmotionOmniError(f"{_shown(key)}: {fault}", "bad-line")
        return value


def read(stream: ByteStream) -> Iterator[Line]:
    """The lines of a stream as they come, without blank ones."""
    for number, text in enumerate(decode_lines(stream), 1):
        if isinstance(text, EmotionOmniError) or text.strip():
            yield Line(number, text)


def read_file(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered objects of a file, gzipped or not.

    Raises :class:`EmotionOmniError` (code ``data``) if the file cannot be read, and, after the last line, for all lines
    that cannot.
    """
    faults: list[str] = []
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as stream:
            for line in read(stream):
                try:
                    value = line.value()
                except EmotionOmniError as error:
                    faults.append(f"Line {line.number} of {path.name}: {error}")
                else:
                    yield line.number, value
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EmotionOmniError(f"Cannot read {str(path)!r}: {reason}.", "data") from error
    if faults:
        more = [f"… and {len(faults) - MOST_SHOWN} more."] if len(faults) > MOST_SHOWN else []
        raise EmotionOmniError("\n".join(faults[:MOST_SHOWN] + more), "data")


def parse(text: str) -> Any:
    """JSON as the standard has it, but control characters in texts may stand unescaped.

    Raises ``ValueError`` for NaN and Infinity, which Python would read, and for a name that an object holds twice.
    """
    try:
        return json.loads(text, strict=False, parse_constant=_refuse_constant, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def fault_in(value: Any) -> str:
    """Why no database and no UTF-8 file can hold a value; empty if they can."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, float) and not math.isfinite(one):
            return "It holds a number that is too large, such as 1e400."
        elif isinstance(one, str) and (half := _HALF.search(one)):
            return f"It holds half a character (U+{ord(half[0]):04X}), as a cut emoji leaves it. Correct the text."
        elif isinstance(one, str) and "\0" in one:
            return "It holds a zero character. Correct the text."
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        double = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"it names {double!r} twice")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
