"""JSON lines as other programs write them, and what is wrong with some."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from pathlib import Path

import pytest

from emotion_omni import json_lines
from emotion_omni.types import EmotionOmniError

REPORTS = Path(os.environ.get("EMOTION_OMNI_REPORTS", "none")) / "lines"
HALF = "\ud83d"
TWO = '{"text": "één"}\n{"text": "two"}\n'


def outcomes(data: bytes) -> dict[int, object]:
    """By the line's number: its object, or the message of its error."""
    found: dict[int, object] = {}
    for line in json_lines.read(io.BytesIO(data)):
        try:
            found[line.number] = line.value()
        except EmotionOmniError as error:
            found[line.number] = str(error)
    return found


@pytest.mark.parametrize(
    "data",
    [
        TWO.encode(),
        TWO.encode("utf-8-sig"),
        TWO.encode("utf-16"),
        TWO.encode("utf-16-le"),
        TWO.encode("utf-16-be"),
        b"\xfe\xff" + TWO.encode("utf-16-be"),
        TWO.encode("utf-32"),
        TWO.encode("cp1252"),
        TWO.replace("\n", "\r\n").encode(),
        TWO.replace("\n", "\r\n").encode("utf-16"),
        TWO.replace("\n", "\r").encode(),
        TWO.rstrip().encode(),
        b"\xef\xbb\xbf" + TWO.replace("\n", "\n\ufeff").encode(),
        TWO.replace("\n", " \t\n").encode(),
        TWO.rstrip().encode("utf-16") + b"\n",  # half a newline
    ],
    ids=range(15),
)
def test_one_reading_of_all_encodings_and_ends_of_lines(data):
    assert outcomes(data) == {1: {"text": "één"}, 2: {"text": "two"}}


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1e", "\t"])
def test_only_a_newline_ends_a_line(character):
    text = f'{{"text": "one{character}two"}}\n{{"text": "b"}}\n'
    for encoding in ("utf-8", "utf-16"):
        assert outcomes(text.encode(encoding)) == {1: {"text": f"one{character}two"}, 2: {"text": "b"}}


def test_blank_lines_are_counted_but_not_read():
    assert list(outcomes(b'\n  \n{"a": 1}\r\n\r\n\n{"a": 2}')) == [3, 6]
    assert outcomes(b"") == outcomes(b"\n\r\n \n") == outcomes(b"\xef\xbb\xbf") == {}


WRONG = {
    b"not json": "not JSON",
    b'{"a": 1': "not JSON",
    b'{"a": 1} {"a": 2}': "not JSON",
    b"[1]": r"not an object .* \[1\]",
    b'"text"': "not an object",
    b"null": "not an object",
    b'{"a": NaN}': "NaN is not a number",
    b'{"a": -Infinity}': "-Infinity is not a number",
    b'{"a": 1e400}': '"a": .*too large',
    b'{"a": {"b": [1, -1e999]}}': '"a": .*too large',
    b'{"a": ' + b"9" * 5000 + b"}": "not JSON",
    b'{"a": 1, "a": 2}': "names 'a' twice",
    b'{"a": {"b": 1, "b": 1}}': "names 'b' twice",
    b'{"a": "cut \\ud83d"}': r'"a": .*half a character \(U\+D83D\)',
    b'{"a": ["\\udc00"]}': r"U\+DC00",
    b'{"\\ud83d": 1}': r"U\+D83D",
    b'{"a": "\\u0000"}': "zero character",
    b'{"a": "\x00"}': "zero character",
    b'{"a": "\xff\xfe\x81"}': "neither UTF-8 nor Windows-1252: it holds the byte 0xFF",
    '{"a": "é'.encode() + b'\xe9"}': "UTF-8 in part only",
    b"[" * 100_000: "nested too deep",
}


@pytest.mark.parametrize("line", WRONG, ids=[line[:24].decode("latin-1") for line in WRONG])
def test_one_bad_line_does_not_stop_the_rest(
    line,
):
    found = outcomes(b'{"a": 1}\n' + line + b'\n\n{"a": 3}\n')
    assert found[1] == {"a": 1} and found[4] == {"a": 3} and len(found) == 3
    assert re.search(WRONG[line], str(found[2]))


def test_half_a_character_in_utf_16_is_the_fault_of_its_line_alone():
    text = f'{{"a": "{HALF}"}}\n{{"a": "😀"}}\n'
    found = outcomes(b"\xff\xfe" + text.encode("utf-16-le", "surrogatepass"))
    assert "U+D83D" in str(found[1]) and found[2] == {"a": "😀"}


def test_windows_1252_is_said_once_and_ends_with_the_first_line_in_utf_8(caplog):
    data = b'{"a": "caf\xe9"}\n{"a": "caf\xe9"}\n' + '{"a": "café"}\n'.encode() + b'{"a": "caf\xe9"}\n'
    found = outcomes(data)
    assert [found[number] for number in (1, 2, 3)] == [{"a": "café"}] * 3 and "UTF-8 in part only" in str(found[4])
    assert caplog.text.count("Windows-1252") == 1 and "Line 1 was read as Windows-1252" in caplog.text


def test_lines_are_read_as_they_come():
    """A program that sends a line and waits for its answer gets it."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream, os.fdopen(write_end, "wb", buffering=0) as sender:
        lines = json_lines.read(stream)
        for number in range(3):
            sender.write(b'{"a": %d}\n' % number)
            assert next(lines).value() == {"a": number}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_file_names_all_its_bad_lines_at_once(tmp_path, name):
    data = b'{"a": 1}\nno\n\n[]\n{"a": 5}\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    rows = json_lines.read_file(tmp_path / name)
    assert [next(rows), next(rows)] == [(1, {"a": 1}), (5, {"a": 5})]
    with pytest.raises(EmotionOmniError, match=rf"(?s)Line 2 of {name}: .*Line 4 of {name}: ") as caught:
        next(rows)
    assert caught.value.code == "data"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 999)[:-12])
    (tmp_path / "fake.jsonl.gz").write_bytes(b'{"a": 1}\n')
    for name in ("cut.jsonl.gz", "fake.jsonl.gz", "missing.jsonl", "."):
        with pytest.raises(EmotionOmniError, match="Cannot read"):
            list(json_lines.read_file(tmp_path / name))


@pytest.mark.parametrize(("name", "errors"), [("bom.jsonl", [False]), ("surrogate.jsonl", [True, False])])
def test_reported_lines(name, errors):
    if not (REPORTS / name).exists():
        pytest.skip("EMOTION_OMNI_REPORTS names no folder with the reported lines")
    found = outcomes((REPORTS / name).read_bytes())
    assert [isinstance(found[number], str) for number in sorted(found)] == errors


def test_a_text_that_spells_a_zero_character_is_no_zero_character():
    assert outcomes(json.dumps({"a": r"\u0000"}).encode()) == {1: {"a": r"\u0000"}}
