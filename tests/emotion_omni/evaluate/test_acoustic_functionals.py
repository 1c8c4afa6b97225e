"""Functionals of sounds whose pitch, energy, pace and noise are known; and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise, tone
from made_up_voices import HZ, voice

from emotion_omni.evaluate.acoustic_functionals import acoustic_functionals


def semitones(hz: float) -> float:
    return 12 * np.log2(hz / 27.5)


@pytest.mark.parametrize("pitch", [80.0, 120.0, 220.0, 380.0, 540.0])
def test_the_pitch_of_a_voice_is_found(pitch):
    found = acoustic_functionals(voice(pitch, 1.0))
    assert found["pitch_p50"] == pytest.approx(semitones(pitch), abs=0.2)
    assert found["pitch_range"] < 0.5 and found["voiced_share"] > 0.9 and found["hnr_mean"] > 10


def test_a_rise_in_pitch_is_a_slope():
    times = np.arange(HZ) / HZ
    found = acoustic_functionals(voice(150 * 2 ** (6 * times / 12), 1.0))  # 6 semitones a second
    assert found["pitch_trend"] == pytest.approx(6, abs=0.5) and found["pitch_rising_slope"] == pytest.approx(
        6, abs=0.8
    )
    assert found["pitch_wide_range"] == pytest.approx(5.4, abs=0.5)


@pytest.mark.parametrize("rate", [3.0, 5.0])
def test_syllables_are_counted(rate):
    assert acoustic_functionals(voice(150, 3.0, rate))["syllable_rate"] == pytest.approx(rate, abs=0.4)


def test_a_pause_is_found_with_its_length():
    speech = voice(150, 0.8)
    found = acoustic_functionals(np.concatenate([speech, np.zeros(int(0.5 * HZ), np.float32), speech]))
    assert found["longest_pause"] == pytest.approx(0.5, abs=0.06) and found["pause_rate"] == pytest.approx(
        1 / 2.1, 0.05
    )
    assert acoustic_functionals(speech)["longest_pause"] == 0


def test_energy_that_falls_by_20_db_is_a_trend_of_it():
    falling = voice(150, 2.0) * 10 ** (-10 * np.arange(2 * HZ) / HZ / 20)
    assert acoustic_functionals(falling.astype(np.float32))["energy_trend"] == pytest.approx(-10, abs=1)


def test_a_darker_sound_has_more_low_energy_and_noise_fewer_harmonics():
    bright = voice(150, 1.0)
    dark = np.convolve(bright, np.hanning(15) / 7, "same").astype(np.float32)
    breathy = bright + noise(1.0, HZ, 0.02).samples
    of = {
        name: acoustic_functionals(sound) for name, sound in (("bright", bright), ("dark", dark), ("breathy", breathy))
    }
    assert of["dark"]["alpha_ratio_voiced_mean"] > of["bright"]["alpha_ratio_voiced_mean"] + 2
    assert of["dark"]["centroid_voiced_mean"] < of["bright"]["centroid_voiced_mean"]
    assert of["breathy"]["hnr_mean"] < of["bright"]["hnr_mean"] - 3


def test_the_first_resonances_are_found():
    found = acoustic_functionals(voice(110, 1.0))
    assert found["formant1_mean"] == pytest.approx(0.6, abs=0.06)
    assert found["formant2_mean"] == pytest.approx(1.5, abs=0.1)


def test_level_and_offset_change_nothing():
    sound = voice(180 + 30 * np.sin(np.arange(HZ) / 900), 1.0, 4.0).astype(np.float64)
    expected = acoustic_functionals(sound)
    for changed in (sound * 0.003, sound * 40, sound + 0.3, 0.01 * sound - 0.2):
        assert acoustic_functionals(changed) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(HZ, np.float32),
        np.full(HZ, 0.3, np.float32),
        np.zeros(50, np.float32),
        noise(1.0, HZ).samples,
        noise(0.05, HZ).samples,
        tone(0.06, HZ).samples,
        np.eye(1, HZ, 5000, dtype=np.float32)[0],
        np.sign(tone(1.0, HZ).samples),
    ],
    ids=["silence", "offset", "shorter than a frame", "noise", "short noise", "a beep", "a click", "a square"],
)
def test_every_functional_is_finite_for_any_sound(samples):
    found = acoustic_functionals(samples)
    assert list(found) == list(acoustic_functionals(voice(150, 0.5))), "the same ones in the same order"
    assert np.isfinite(list(found.values())).all() and 100 <= len(found) <= 200


def test_noise_has_no_voice():
    assert acoustic_functionals(noise(2.0, HZ).samples)["voiced_share"] < 0.1
