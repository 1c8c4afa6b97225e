"""The feature cache: computed once, recomputed if damaged, shared between processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_training import (
    dataset,
)

from emotion_omni import audio
from emotion_omni.omni import encoders
from emotion_omni.synthesis import codec
from emotion_omni.train import dialogues, feature_extractors, features
from emotion_omni.train.features import FeatureCache, FeatureExtractor, FeatureRequest
from emotion_omni.types import EmotionOmniError


def counting(name: str = "one") -> tuple[FeatureExtractor, list]:
    """A network that notes when it is loaded and when it is used."""
    seen: list[str] = []

    def load():
        seen.append("loaded")
        return lambda speech: seen.append("used") or torch.from_numpy(speech.samples[:800]).view(-1, 4).sin()

    return FeatureExtractor(name, f"identity of {name}", load), seen


def wanted(sounds: Path, source: FeatureExtractor, name: str = "q0.wav") -> FeatureRequest:
    return FeatureRequest("Line 1, column 'query'", dialogues._file(sounds, 1, "query", name), source)


def test_features_are_computed_once_and_equal_to_the_bit(sounds, tmp_path):
    source, seen = counting()
    wants = [wanted(sounds, source), wanted(sounds, source), wanted(sounds, source, "q1.wav")]
    assert FeatureCache(tmp_path).compute_missing(wants) == 2 and seen == ["loaded", "used", "used"]
    again = FeatureCache(tmp_path)
    assert again.compute_missing(wants) == 0 and again.length(wants[0]) == 200
    assert seen == ["loaded", "used", "used"]
    assert torch.equal(again.get(wants[0]), source.load()(audio.decode(sounds / "q0.wav")))


def test_another_network_or_another_recording_finds_no_file(sounds, tmp_path):
    one, other = counting("one")[0], counting("other")[0]
    assert (
        FeatureCache(tmp_path).compute_missing(
            [wanted(sounds, one), wanted(sounds, other), wanted(sounds, one, "q1.wav")]
        )
        == 3
    )
    assert FeatureCache(tmp_path, half=True).compute_missing([wanted(sounds, one)]) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_recomputed(sounds, tmp_path, damage):
    source, seen = counting()
    want, features = wanted(sounds, source), FeatureCache(tmp_path)
    expected = features.get(want)
    path = features.path(want.sound, source)
    data = path.read_bytes()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    if damage == "other":
        save_file({"something": torch.zeros(2)}, path)
    else:
        path.write_bytes({"cut": data[:-7], "flipped": flipped, "empty": b""}[damage])
    assert torch.equal(FeatureCache(tmp_path).get(want), expected) and seen.count("used") == 2
    assert path.read_bytes() == data and not list(tmp_path.rglob("*.part"))


def test_processes_share_the_work(sounds, tmp_path):
    source, seen = counting()
    wants = [wanted(sounds, source, f"q{index}.wav") for index in range(5)]
    FeatureCache(tmp_path).compute_missing(wants[:1])
    assert sum(FeatureCache(tmp_path).compute_missing(wants, process, 2) for process in (0, 1)) == 4, (
        "whatever one of them has made already"
    )
    assert FeatureCache(tmp_path).compute_missing(wants) == 0 and seen.count("used") == 5


def test_an_unusable_recording_is_named_by_its_line(sounds, tmp_path):
    (sounds / "silent.wav").write_bytes((sounds / "q0.wav").read_bytes()[:60])
    with pytest.raises(EmotionOmniError, match=r"Line 1, column 'query' \(silent.wav\)"):
        FeatureCache(tmp_path).compute_missing([wanted(sounds, counting()[0], "silent.wav")])


def test_no_encoder_is_loaded_when_nothing_is_missing(sounds, monkeypatch):
    first = dataset(sounds, speech=True).batch([0, 1])

    def refuse(*arguments):
        raise AssertionError("loaded")

    monkeypatch.setattr(feature_extractors, "ENCODERS", {"semantic": refuse, "emotion": refuse})
    monkeypatch.setattr(codec.CodecTokenizer, "load", refuse)
    again = dataset(sounds, speech=True).batch([0, 1])
    assert torch.equal(first.query.semantic, again.query.semantic) and torch.equal(first.speech, again.speech)
    assert again.speech_lengths.tolist() == [23, 27] and again.frame_lengths.tolist() == [45, 53]


@pytest.mark.parametrize(("module", "version"), [(encoders, "PREPARE_VERSION"), (features, "DECODE_VERSION")])
def test_another_preparation_of_the_audio_finds_no_file(sounds, tmp_path, monkeypatch, module, version):
    extractor, used = counting()
    request = wanted(sounds, extractor)
    FeatureCache(tmp_path).compute_missing([request])
    monkeypatch.setattr(module, version, getattr(module, version) + 1)
    assert FeatureCache(tmp_path).compute_missing([request]) == 1 and used.count("used") == 2
