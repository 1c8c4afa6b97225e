"""The endpoint /talk over plain HTTP: what it answers to requests that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import soundfile
from conftest import tone

pytest_plugins = ("browsers",)


@pytest.fixture(scope="module")
def ask(served):
    """Call the endpoint → the data or the error of its last event."""

    def call(recording, *rest):
        given = [recording, *rest, *["fake", 0, None, None, None][len(rest) :]]
        body = json.dumps({"data": given})  # httpx itself refuses halves of characters
        headers = {"Content-Type": "application/json"}
        sent = httpx.post(f"{served}/gradio_api/call/talk", content=body, headers=headers, timeout=30)
        event = sent.json()["event_id"]
        answer = httpx.get(f"{served}/gradio_api/call/talk/{event}", timeout=60).text
        name, data = answer.strip().split("\n\n")[-1].split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    return call


@pytest.fixture(scope="module")
def uploaded(served, tmp_path_factory):
    def upload(name: str, data: bytes) -> dict:
        answer = httpx.post(f"{served}/gradio_api/upload", files={"files": (name, data)}, timeout=30)
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    return upload


@pytest.fixture(scope="module")
def sound(uploaded, tmp_path_factory) -> dict:
    path: Path = tmp_path_factory.mktemp("clip") / "a.wav"
    soundfile.write(path, tone(1.0).samples, 16_000)
    return uploaded("a.wav", path.read_bytes())


def test_a_recording_is_answered(ask, sound):
    event, data = ask(sound, "fake", 3, "sad", "Żółć 😢\u2028")
    assert event == "complete" and data[0]["transcript"].startswith("Żółć 😢")


def test_without_a_recording_one_is_asked_for(ask):
    event, data = ask(None)
    assert event == "error" and data["error"].startswith("Give a recording: WAV")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.wav", b"", "The file is empty"),
        ("a.wav", b"no sound", "not audio"),
        ("a.txt", b"some words", "not audio"),
        ("a.mp3", b"<html></html>" * 99, "not audio"),
    ],
)
def test_a_file_that_is_no_recording_is_explained(ask, uploaded, name, data, said):
    event, told = ask(uploaded(name, data))
    assert event == "error" and said in told["error"]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (["fake", 0, None, "cut \ud83d"], "half a character"),
        (["fake", 0, "\ud83d"], "half a character"),
        (["fake\ud83d"], "half a character"),
        (["fake", 0, None, None, [{"transcript": "\udc00"}]], "half a character"),
        (["fake", 0, None, "zero \0"], "zero character"),
        (["fake", 0, "hungry"], "Unknown emotion 'hungry'"),
        (["none"], "none"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(ask, sound, rest, said):
    event, told = ask(sound, *rest)
    assert event == "error" and said in told["error"]
