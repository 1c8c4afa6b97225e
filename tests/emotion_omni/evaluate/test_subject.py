"""Engines as subjects: identities of parts, replies that are kept."""

from __future__ import annotations

import dataclasses

import pytest

from emotion_omni.cascade import presets
from emotion_omni.evaluate.subject import PARTS, Subject
from emotion_omni.types import EmotionOmniError, Exchange


def test_any_engine_replies_and_keeps_what_it_said(tmp_path, monkeypatch):
    one = Subject("fake", tmp_path)
    said = one.reply("my dog ran away", "sad", (Exchange("hi", "neutral", "hello"),))
    assert "my dog ran away" in said.text and said.tone == "sad"
    again = Subject("fake", tmp_path)
    monkeypatch.setattr(Subject, "_reply_now", lambda *_: pytest.fail("it was known"))
    assert again.reply("my dog ran away", "sad", (Exchange("hi", "neutral", "hello"),)) == said


def test_a_cut_line_costs_its_own_reply_alone(tmp_path):
    one = Subject("fake", tmp_path)
    one.reply("first", "sad")
    one.reply("second", "sad")
    (file,) = tmp_path.glob("replies-*.jsonl")
    file.write_text(file.read_text()[:-20])
    again = Subject("fake", tmp_path)
    assert "first" in again.reply("first", "sad").text and "second" in again.reply("second", "sad").text


def test_identities_follow_weights_not_places(tmp_path):
    base = presets.embedded()

    def identities(folder: str, content: bytes) -> dict[str, str]:
        file = tmp_path / folder / "guard.safetensors"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        config = dataclasses.replace(base, planner=dataclasses.replace(base.planner, weights=str(file)))
        return Subject("mine", tmp_path, config).identities

    first, moved, other = identities("a", b"1"), identities("b", b"1"), identities("c", b"2")
    assert first == moved and set(first) == set(PARTS)
    assert other["responder"] != first["responder"] and other["recognizer"] == first["recognizer"]
    assert Subject("embedded", tmp_path).identities["synthesizer"] == first["synthesizer"]
    small = Subject("embedded-small", tmp_path)
    assert small.config is not None and small.identities["synthesizer"] == first["synthesizer"]
    assert small.identities["responder"] != Subject("embedded", tmp_path).identities["responder"]


def test_a_name_that_is_none_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(EmotionOmniError, match="No engine is called"):
        Subject("imbedded", tmp_path)
    with pytest.raises(EmotionOmniError, match="no folder"):
        Subject("embedded:nowhere", tmp_path)
