"""Prosody: what settings do to pitch, energy, durations and style, and what an intensity does to settings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emotion_omni import emotion
from emotion_omni.synthesis import prosody
from emotion_omni.synthesis.prosody import Prosody

PITCH = np.array([5, 5, 200, 220, 240, 220, 200, 180, 5, 5], np.float32)  # hertz; low where unvoiced
ENERGY = np.array([-9, -9, 6, 7, 8, 7, 6, 5, -9, -9], np.float32)
VOICED = PITCH > prosody.VOICED_HZ
STRONG = Prosody(pitch=3, pitch_range=2, energy=1, pace=1.2, pauses=1.5, style={"a": 0.5}, timbre={"a": -0.1})


def semitones(changed: np.ndarray) -> np.ndarray:
    return 12 * np.log2(changed[VOICED] / PITCH[VOICED])


def test_every_emotion_has_settings_that_can_be_read():
    assert prosody.by_emotion().keys() == set(emotion.NAMES)


def test_an_unknown_setting_is_refused(tmp_path):
    (tmp_path / "prosody.json").write_text(json.dumps({"emotions": {"happy": {"piitch": 1}}}))
    with pytest.raises(TypeError, match="piitch"):
        prosody.read(tmp_path / "prosody.json")


def test_no_intensity_is_the_neutral_voice_and_full_intensity_the_settings():
    neutral = Prosody(pitch=-1, pace=0.9, style={"b": 0.2})
    none, full = STRONG.scaled(0, neutral), STRONG.scaled(1, neutral)
    for field in ("pitch", "pitch_range", "energy", "pace", "pauses"):
        assert getattr(none, field) == getattr(neutral, field)
        assert getattr(full, field) == pytest.approx(getattr(STRONG, field))
    assert none.style == {"a": 0, "b": 0.2} and full.style == {"a": 0.5, "b": 0}


def test_intensity_scales_the_distance_from_neutral():
    neutral = Prosody(pitch=-1, pitch_range=0.8)
    half, double = STRONG.scaled(0.5, neutral), STRONG.scaled(2, neutral)
    assert half.pitch == 1 and double.pitch == 7
    assert half.pitch_range == pytest.approx((0.8 * 2) ** 0.5) and double.pitch_range == pytest.approx(2**2 / 0.8)


def test_the_rate_multiplies_the_pace():
    assert STRONG.scaled(1, Prosody(), rate=0.5).pace == pytest.approx(0.6)


def test_pitch_is_raised_by_semitones_where_voiced():
    changed = Prosody(pitch=12).pitch_contour(PITCH)
    assert changed[VOICED] == pytest.approx(2 * PITCH[VOICED], rel=1e-3) and (changed[~VOICED] == 5).all()


def test_the_range_of_pitch_grows_around_its_mean():
    changed = np.log2(Prosody(pitch_range=2).pitch_contour(PITCH)[VOICED])
    before = np.log2(PITCH[VOICED])
    assert changed.std() == pytest.approx(2 * before.std(), rel=1e-3) and changed.mean() == pytest.approx(before.mean())


@pytest.mark.parametrize(
    ("settings", "where"), [(Prosody(initial_pitch=4), 0), (Prosody(final_pitch=4), -1), (Prosody(pitch_slope=8), -1)]
)
def test_a_part_of_the_contour_is_raised(settings, where):
    raised = semitones(settings.pitch_contour(PITCH))
    assert raised[where] == pytest.approx(4, abs=1e-3) and raised[where] == raised.max()


def test_tremor_and_roughness_move_the_pitch_and_are_the_same_each_time():
    for settings in (Prosody(tremor=1), Prosody(roughness=1)):
        changed = settings.pitch_contour(PITCH)
        assert np.abs(semitones(changed)).max() > 0.3
        assert (settings.pitch_contour(PITCH) == changed).all()


def test_pitch_stays_where_the_decoder_was_trained():
    changed = Prosody(pitch=40).pitch_contour(PITCH)
    assert changed.max() <= prosody.HIGHEST_HZ and Prosody(pitch=-40).pitch_contour(PITCH)[VOICED].min() >= 55


def test_a_clause_without_voice_stays_as_it_is():
    whispered = np.full(8, 5, np.float32)
    assert (STRONG.pitch_contour(whispered) == whispered).all()
    assert (STRONG.energy_contour(ENERGY[:8], whispered) == ENERGY[:8]).all()


def test_energy_rises_in_speech_and_not_in_silence():
    changed = Prosody(energy=2).energy_contour(ENERGY, PITCH)
    assert changed[VOICED] == pytest.approx(ENERGY[VOICED] + 2, abs=0.1)
    assert changed[~VOICED] == pytest.approx(ENERGY[~VOICED], abs=0.01)


@pytest.mark.parametrize(
    ("settings", "slower"),
    [
        (Prosody(), ""),
        (Prosody(pauses=2), ",."),
        (Prosody(word_gaps=2), "  "),
        (Prosody(vowels=2), "ɪaɪ"),
        (Prosody(stress=2), "a"),
    ],
)
def test_durations_of_some_phonemes_grow(settings, slower):
    phonemes = "ɪt, wˈaz ɪn."
    speeds = settings.speeds(phonemes)
    assert len(speeds) == len(phonemes) + 2 and speeds[0] == speeds[-1] == 1
    assert "".join(symbol for symbol, speed in zip(phonemes, speeds[1:-1], strict=True) if speed == 0.5) == slower


def test_the_last_syllable_of_a_clause_is_lengthened():
    speeds = Prosody(final_length=2).speeds("wˈaz ɪn")
    assert list(speeds[1:-1]) == [1, 1, 1, 1, 1, 0.5, 0.5]


def test_style_moves_along_its_directions_in_its_own_half():
    direction = {"a": np.ones(256, np.float32)}
    style = np.zeros(256, np.float32)
    moved = STRONG.move(style, direction)
    assert moved[: prosody.TIMBRE] == pytest.approx(-0.1) and moved[prosody.TIMBRE :] == pytest.approx(0.5)
    assert not style.any()
