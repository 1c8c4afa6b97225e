"""EMOTION_OMNI_HUB in the form of the last release."""

from __future__ import annotations

import json

import pytest

from emotion_omni.cascade import old_hub, presets
from emotion_omni.cascade.old_hub import OldHub
from emotion_omni.recognition.config import (
    Emotion2vecConfig,
    SpeechEmotionConfig,
    TranscriberConfig,
    TransformersEmotionConfig,
)
from emotion_omni.response.config import TransformersResponderConfig
from emotion_omni.synthesis.config import CosyVoice2Config, KokoroConfig
from emotion_omni.types import EmotionOmniError

WRITTEN = """{
  "transcriber": {"name": "openai/whisper-small", "revision": "abc", "dtype": "float32", "language": "de"},
  "recogniser": {"name": "me/classifier", "revision": "", "package": "transformers"},
  "writer": {"name": "me/mine", "revision": "v2", "dtype": "float16", "four_bit": true, "temperature": 0.5,
             "top_p": 0.9, "top_k": 5, "longest": 60},
  "speaker": {"name": "cosyvoice2", "folder": "voice", "dtype": "float32"},
  "device": "cuda:1"
}"""


def test_the_old_presets_are_the_new_ones(monkeypatch):
    monkeypatch.delenv("EMOTION_OMNI_HUB", raising=False)
    assert old_hub.find() == OldHub().converted() == presets.hub()
    monkeypatch.setenv("EMOTION_OMNI_HUB", "light")
    assert old_hub.find() == presets.hub_light()


def test_an_old_file_is_converted_whole(monkeypatch, tmp_path):
    (tmp_path / "mine.json").write_text(WRITTEN)
    monkeypatch.setenv("EMOTION_OMNI_HUB", str(tmp_path / "mine.json"))
    found = old_hub.find()
    assert found.recognizer.transcriber == TranscriberConfig("openai/whisper-small", "abc", "float32", "de")
    assert found.recognizer.emotion == TransformersEmotionConfig("me/classifier")
    assert found.responder == TransformersResponderConfig(
        "me/mine", "v2", "transformers", "float16", True, 0.5, 0.9, 5, 60
    )
    assert found.synthesizer == CosyVoice2Config(folder="voice", dtype="float32")
    assert (found.planner.news, found.device) == ("guard", "cuda:1")


def test_the_parts_of_the_embedded_engine_keep_their_old_names():
    old = '{"recogniser": {"name": "embedded", "revision": "", "package": "embedded"}, "speaker": {"name": "embedded"}}'
    found = OldHub.from_json(old).converted()
    assert (found.recognizer.emotion, found.synthesizer) == (SpeechEmotionConfig(), KokoroConfig())
    assert OldHub.from_json('{"recogniser": {"name": "me/e2v"}}').converted().recognizer.emotion == Emotion2vecConfig(
        "me/e2v", ""
    )


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("writer", "longest", 0),
        ("writer", "top_p", 1.5),
        ("writer", "temperature", -1.0),
        ("writer", "four_bit", "yes"),
        ("transcriber", "dtype", "int8"),
        ("speaker", "name", "kokoro"),
        ("recogniser", "package", "embedded"),
        ("recogniser", "pakage", "funasr"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(part, setting, value):
    given = {part: {setting: value}}
    wanted = {"longest": "max_new_tokens"}.get(setting, setting)
    with pytest.raises(EmotionOmniError, match=rf"{wanted}\b.*(must be|mean 'package')") as caught:
        OldHub.from_json(json.dumps(given)).converted()
    assert caught.value.code == "config"


def test_a_name_that_is_no_file_is_told(monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HUB", "lihgt")
    with pytest.raises(EmotionOmniError, match="EMOTION_OMNI_HUB is 'lihgt'.*default, light") as caught:
        old_hub.find()
    assert caught.value.code == "config"
