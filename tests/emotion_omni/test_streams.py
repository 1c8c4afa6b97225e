"""The command lines beside other programs: stdin and stdout in any encoding, and pipes that nobody reads any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from conftest import tone

ROOT = Path(__file__).parents[2]
LINES = '{"text": "I lost my dog 😢 – “Łukasz”", "emotion": "sad"}\n{"text": "half \\ud83d"}\n{"text": "日本"}\n'
ENCODINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "utf-8"},
    {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]
encodings = pytest.mark.parametrize("names", ENCODINGS, ids=lambda names: "-".join(names.values()))


def environment(**names: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)} | names


def command(*arguments: str, package: str = "emotion_omni") -> list[str]:
    return [sys.executable, "-m", package, *arguments]


def run(*arguments: str | bytes, stdin: bytes = b"", package: str = "emotion_omni", **names: str):
    return subprocess.run(
        [*command(package=package), *arguments],
        input=stdin,
        capture_output=True,
        env=environment(**names),
        check=False,
    )


@pytest.fixture
def clip(tmp_path) -> str:
    path = tmp_path / "clips" / "Gespräch “日本” 😢.wav"
    path.parent.mkdir()
    soundfile.write(path, tone(1.0).samples, 16_000)
    return str(path)


@encodings
def test_reply_in_any_encoding_of_the_console(names):
    """What is read are bytes in UTF-8, whatever the console is said to use; JSON is ASCII."""
    done = run("reply", "--engine", "fake", "--json", stdin=LINES.encode(), **names)
    rows = [json.loads(line) for line in done.stdout.decode("ascii").splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3] and ["error" in row for row in rows] == [False, True, False]
    assert "Łukasz" in rows[0]["text"] and "😢" in rows[0]["text"] and "日本" in rows[2]["text"]
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert b"line 2: " in done.stderr and b"1 of 3 inputs failed" in done.stderr


@encodings
def test_text_for_people_is_escaped_where_the_console_lacks_a_character(names):
    done = run("reply", "--engine", "fake", stdin=LINES.encode(), **names)
    assert done.returncode == 1 and b"Traceback" not in done.stderr and len(done.stdout.splitlines()) == 2
    assert b"dog" in done.stdout and (b"\\U0001f622" in done.stdout or "😢".encode() in done.stdout)


@encodings
def test_talk_loses_no_file(names, clip, tmp_path):
    done = run("talk", clip, clip, "--engine", "fake", "--out", str(tmp_path / "é.ogg"), **names)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.glob("*.ogg")) == ["é-1.ogg", "é-2.ogg", "é.ogg"]


@pytest.mark.parametrize("names", [ENCODINGS[1], ENCODINGS[3]], ids=["ascii", "C"])
def test_the_studio_prints_in_any_encoding(names, clip, tmp_path):
    """Titles and names of files are stored as they are, whatever the console is said to use."""
    names = names | {"EMOTION_OMNI_HOME": str(tmp_path / "home")}
    given = ["--title", "Stimmen – 日本 😢", "--json"]
    made = run(
        "create", str(Path(clip).parent), "--template", "emotion-recognition", *given, package="annotation", **names
    )
    assert made.returncode == 0, made.stderr
    made = run("produce", clip, "--engines", "fake", *given[:3], package="annotation", **names)
    assert made.returncode == 0, made.stderr
    listed = json.loads(run("list", "--json", package="annotation", **names).stdout.decode("ascii"))
    assert [study["title"] for study in listed["studies"]] == ["Stimmen – 日本 😢"] * 2
    log = (tmp_path / "home" / "log" / "000000.jsonl").read_text("utf-8")
    assert log.count('"Gespräch “日本” 😢.wav"') > 1 and "surrogate" not in log
    told = run("list", package="annotation", **names)
    assert told.returncode == 0 and b"Stimmen" in told.stdout and b"Traceback" not in told.stderr


def read_one_line_of(arguments: list[str], stdin: bytes, errors_too: bool = False) -> tuple[int, bytes, bytes]:
    """As ``| head -1``: the pipe is closed after the first line. → exit status, that line, and stderr."""
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors_too else subprocess.PIPE,
        env=environment(),
    )
    process.stdin.write(stdin[: len(stdin) // 2])
    process.stdin.flush()
    line = process.stdout.readline()
    process.stdout.close()
    process.stdin.write(stdin[len(stdin) // 2 :])
    process.stdin.close()
    told = b"" if errors_too else process.stderr.read()
    return process.wait(60), line, told


def test_reply_ends_without_a_word_when_its_reader_has_gone():
    rows = b'{"text": "a"}\n' * 10
    status, line, told = read_one_line_of(command("reply", "--json", "--engine", "fake"), rows)
    assert status == 1 and json.loads(line)["line"] == 1 and told == b""


@pytest.mark.parametrize("errors_too", [False, True])
def test_talk_writes_the_later_files_when_its_reader_has_gone(clip, tmp_path, errors_too):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    files = [clip, str(tmp_path / "bad.wav"), clip, clip]
    arguments = command("talk", *files, "--json", "--engine", "fake", "--out", str(tmp_path / "reply.wav"))
    status, line, told = read_one_line_of(arguments, b"", errors_too)
    assert status == 1 and json.loads(line)["audio"].endswith("reply-1.wav") and b"Traceback" not in told
    written = {path.name for path in tmp_path.glob("reply*")}
    assert written == {"reply.wav", "reply-1.wav", "reply-3.wav", "reply-4.wav"}


def test_a_title_that_is_no_text_is_refused(tmp_path):
    done = run("create", str(tmp_path), "--title", b"caf\xe9", package="annotation")
    assert done.returncode == 2 and b"is not text in UTF-8" in done.stderr


def test_a_file_whose_name_is_no_text_is_used(clip, tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    os.rename(clip, name)
    home = tmp_path / "home"
    done = run("hear", "--engine", "fake", "--json", name)
    assert done.returncode == 0 and os.fsencode(json.loads(done.stdout)["file"]) == name
    given = ["--engines", "fake", "--title", "Names"]
    done = run("produce", name, *given, package="annotation", EMOTION_OMNI_HOME=str(home))
    assert done.returncode == 0 and '"café.wav"' in (home / "log" / "000000.jsonl").read_text("utf-8")


@pytest.mark.parametrize("package", ["emotion_omni", "annotation"])
def test_help_into_a_closed_pipe(package):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        command("--help", package=package), stdout=write_end, stderr=subprocess.PIPE, env=environment(), check=False
    )
    os.close(write_end)
    assert b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_standard_streams_end_in_no_traceback(closed, tmp_path):
    shell = f'"{sys.executable}" -m emotion_omni reply --json --engine fake {closed}'
    done = subprocess.run(
        ["bash", "-c", shell], input=b'{"text": "a"}\nbad\n', capture_output=True, env=environment(), check=False
    )
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert (b"closed" in done.stderr) == (closed == "<&-")
    assert len(done.stdout.splitlines()) == {"<&-": 1, ">&-": 0, "2>&-": 2}[closed]
