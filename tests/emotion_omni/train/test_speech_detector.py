"""Training the speech detector: its sounds, its rooms, its classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_omni import audio
from emotion_omni.recognition.voice_activity import FRAME, HZ
from emotion_omni.train.sounds import SOUNDS, make_sound
from emotion_omni.train.speech_detector import CHANGES, fit, longest_room, whisper


@pytest.mark.parametrize("index", range(len(SOUNDS)))
def test_every_sound_is_finite_and_at_the_level_of_speech(index):
    for seed in range(3):
        samples = make_sound(SOUNDS[index], np.random.default_rng(seed))
        assert samples.dtype == np.float32 and np.isfinite(samples).all() and 0.6 * HZ <= len(samples) + 1 <= 6 * HZ + 1
        assert abs(audio.dbfs(samples) - audio.SPEECH_DBFS) < 6.1
        again = make_sound(SOUNDS[index], np.random.default_rng(seed))
        assert np.array_equal(samples, again)


@pytest.mark.parametrize(
    ("voice", "seconds"), [([0.9] * 60, 0), ([0.0] + [0.9] * 60, 0), ([0.9] * 30 + [0.0] * 60 + [0.9] * 5, 1.57)]
)
def test_a_room_holds_no_voice(voice, seconds):
    samples = np.repeat(np.array(voice) > 0.5, FRAME).astype(np.float32)
    room = longest_room(samples, np.array(voice))
    assert not room.any() and len(room) / HZ == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_speech_keeps_its_length_beside_its_voice(change):
    rng = np.random.default_rng(0)
    samples, voice = rng.normal(0, 0.1, 3 * HZ).astype(np.float32), np.ones(-(-3 * HZ // FRAME))
    changed, changed_voice, speed = change(samples, voice, rng)
    assert np.isfinite(changed).all() and len(changed) * speed <= (len(changed_voice) + 1) * FRAME


def test_a_whisper_has_the_envelope_and_no_pitch():
    times = np.arange(2 * HZ) / HZ
    voiced = sum(np.sin(2 * np.pi * 120 * k * times) / k for k in range(1, 30)) * (times < 1)
    found = whisper(voiced + 1e-4 * np.random.default_rng(0).normal(size=2 * HZ), np.random.default_rng(0))
    assert audio.dbfs(found[: HZ - 400]) > audio.dbfs(found[HZ + 400 :]) + 20

    def periodicity(samples: np.ndarray) -> float:
        part, lag = samples[4000:12_000], round(HZ / 120)
        return float(np.corrcoef(part[:-lag], part[lag:])[0, 1])

    assert periodicity(voiced) > 0.9 > 0.5 > periodicity(found)


def test_the_classifier_separates_what_can_be_separated():
    rng = torch.Generator().manual_seed(0)
    speech = torch.randn(60, 512, generator=rng) + 0.5
    other = torch.randn(200, 512, generator=rng) * 1.0
    detector = fit([(speech, 1.0), (other, 0.0)])
    odds = [states @ detector.weight + detector.bias for states in (speech, other)]
    assert float(odds[0].min()) > 0 > float(odds[1].max())
