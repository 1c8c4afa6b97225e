"""Who speaks and who does not: whispers, high voices and quiet words are heard; noise and music are refused."""

from __future__ import annotations

import numpy as np
import pytest
import sounds
import soxr
import torch

from emotion_omni import audio
from emotion_omni.recognition.speech_detector import (
    BLOCK_FRAMES,
    NO_SPEECH,
    SHIPPED,
    SPEECH,
    SpeechDetector,
    blocks,
    speech_spans,
)
from emotion_omni.types import Audio, EmotionOmniError, Turn

HZ = 16_000


@pytest.fixture(scope="module")
def look(embedded):
    return embedded.recognizer.second_look


def is_refused(recognizer, sound: Audio) -> bool:
    """Whether a recording is refused as not speech, without reading words and tone."""
    try:
        recognizer.check_speech(recognizer.encode(recognizer.prepare(sound)))
    except EmotionOmniError as error:
        assert error.code in ("no-speech", "silent")
        return True
    return False


@pytest.mark.slow
def test_noise_and_music_are_refused(embedded):
    """Families that the detector was not trained on, of any level and length."""
    found = {
        name: [is_refused(embedded.recognizer, sounds.without_speech(name, seed)) for seed in range(6)]
        for name in sounds.WITHOUT_SPEECH
    }
    refused = [one for row in found.values() for one in row]
    assert np.mean(refused) >= 0.95, {name: np.mean(row) for name, row in found.items()}


@pytest.mark.parametrize("name", ["brown noise", "siren", "bells", "brass"])
def test_one_of_each_kind_is_refused(embedded, name):
    assert is_refused(embedded.recognizer, sounds.without_speech(name, 100))


@pytest.mark.parametrize(
    "change",
    [
        lambda samples: sounds.whispered(samples),
        lambda samples: soxr.resample(samples, HZ, int(HZ / 1.5)),
        lambda samples: soxr.resample(samples, HZ, int(HZ / 0.75)),
        lambda samples: np.round(samples / np.abs(samples).max() * 0.002 * 32767) / 32768,
        lambda samples: samples[int(0.5 * HZ) : int(0.8 * HZ)],
    ],
    ids=["whispered", "high", "low", "quiet", "0.3 s"],
)
def test_speech_of_any_kind_is_heard(embedded, spoken, change):
    changed = Audio(np.asarray(change(spoken.samples), np.float32), HZ)
    assert not is_refused(embedded.recognizer, changed)


def test_the_second_look_finds_a_whisper_where_it_is(look, spoken):
    rng, whisper = np.random.default_rng(0), sounds.whispered(spoken.samples)
    room = rng.normal(0, 1e-4, len(whisper) + 4 * HZ).astype(np.float32)
    room[2 * HZ : 2 * HZ + len(whisper)] += whisper
    spans = look(room)
    assert spans and spans[0][0] > HZ and spans[-1][1] < 3 * HZ + len(whisper)
    assert sum(end - start for start, end in spans) > 0.5 * len(whisper)


def test_the_second_look_finds_nothing_in_a_long_noise(look):
    noise = np.random.default_rng(0).normal(0, 0.01, 35 * HZ).astype(np.float32)
    assert look(noise) == []


def test_what_voice_activity_takes_for_a_voice_is_checked(embedded, spoken, monkeypatch):
    melody = sounds.without_speech("flute", 3)
    recognizer = embedded.recognizer
    monkeypatch.setattr(recognizer.voice_activity, "spans", lambda samples: [(0, len(samples))])
    with pytest.raises(EmotionOmniError) as caught:
        recognizer.recognize(Turn(melody))
    assert caught.value.code == "no-speech"
    assert recognizer.recognize(Turn(spoken)).transcript


def test_spans_are_runs_of_blocks_with_one_that_is_surely_speech():
    sure, maybe, not_speech = SPEECH + 1, (SPEECH + NO_SPEECH) / 2, NO_SPEECH - 1
    odds = np.array([not_speech, maybe, sure, maybe, not_speech, maybe, maybe, not_speech, not_speech, sure])
    assert speech_spans(odds, 1000, 10_000) == [(2000, 5000), (10_000, 11_000)]
    assert speech_spans(np.full(4, maybe), 0, 4000) == []
    assert speech_spans(np.full(4, sure), 0, 4000) == [(0, 4000)]


def test_blocks_are_means_of_a_fifth_of_a_second():
    states = torch.arange(25.0)[:, None]
    assert len(blocks(states)) == 25 // BLOCK_FRAMES and float(blocks(states).mean()) == pytest.approx(12, abs=0.3)
    assert blocks(states[:3]).shape == (1, 1), "a word shorter than a block"


def test_saved_and_loaded_it_is_the_same(tmp_path):
    detector = SpeechDetector.load()
    detector.save(tmp_path / "detector.safetensors")
    again = SpeechDetector.load(tmp_path / "detector.safetensors")
    assert torch.equal(detector.weight, again.weight) and detector.bias == again.bias
    assert SHIPPED.stat().st_size < 4096
    (tmp_path / "detector.safetensors").write_bytes(b"nonsense")
    with pytest.raises(EmotionOmniError) as caught:
        SpeechDetector.load(tmp_path / "detector.safetensors")
    assert caught.value.code == "checkpoint"


@pytest.mark.slow
def test_the_recordings_of_the_packs_are_heard(embedded, speech_packs):
    """Every fortieth clip of every corpus, of any split; a refusal is rarer than one in two hundred."""
    import csv

    refused = []
    for folder in speech_packs:
        with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[::40]
        refused += [is_refused(embedded.recognizer, audio.decode(folder / row["path"])) for row in rows]
    assert len(refused) > 50 and sum(refused) <= max(1, 0.005 * len(refused))
