"""Kokoro: what a delivery changes, and that every phoneme has an id."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_omni import audio, emotion
from emotion_omni.synthesis import prosody
from emotion_omni.synthesis.config import KokoroConfig
from emotion_omni.synthesis.kokoro import PHONEME_IDS, VOICES, KokoroSynthesizer
from emotion_omni.synthesis.text_normalization import normalize_text
from emotion_omni.types import Audio, Delivery

TEXT = "I went to the market, and I came back before the rain."


def spoken(kokoro: KokoroSynthesizer, delivery: Delivery) -> Audio:
    return audio.join(list(kokoro.synthesize(TEXT, delivery)))


@pytest.mark.slow
def test_pace_and_level_of_an_emotion_are_audible(kokoro):
    sounds = {name: spoken(kokoro, Delivery(name)) for name in ("neutral", "happy", "sad", "calm")}
    assert sounds["happy"].seconds < sounds["neutral"].seconds < sounds["calm"].seconds < sounds["sad"].seconds
    assert audio.dbfs(sounds["sad"].samples) < audio.dbfs(sounds["neutral"].samples) - 1


@pytest.mark.slow
def test_intensity_is_gradual(kokoro):
    seconds = [spoken(kokoro, Delivery("sad", intensity)).seconds for intensity in (0.0, 0.5, 1.0, 1.5)]
    assert seconds == sorted(set(seconds))


def test_full_intensity_is_the_table_to_the_last_bit():
    assert prosody.BY_EMOTION.keys() == set(emotion.NAMES)
    for row in prosody.BY_EMOTION.values():
        assert row.scaled(1.0, 1.0) == row and row.style_voice in VOICES


@pytest.mark.slow
def test_a_delivery_chooses_another_voice_and_the_settings_the_default(kokoro):
    sounds = {voice: spoken(kokoro, Delivery("happy", voice=voice)).samples.tobytes() for voice in ("", *VOICES)}
    assert len(set(sounds.values())) == len(VOICES) and sounds[""] == sounds[KokoroConfig().voice]
    other = KokoroSynthesizer.load(KokoroConfig(voice="af_bella"))
    assert spoken(other, Delivery("happy")).samples.tobytes() == sounds["af_bella"]


def test_an_emotion_moves_the_prosody_and_keeps_the_timbre(kokoro):
    for name, row in prosody.BY_EMOTION.items():
        styles = [kokoro._style("af_heart", each, 40) for each in (prosody.BY_EMOTION["neutral"], row)]
        assert np.array_equal(styles[0][:128], styles[1][:128])
        assert np.array_equal(styles[0], styles[1]) == (name == "neutral")


@pytest.mark.parametrize(
    "text", ["The quick brown fox, jumping over 13 lazy dogs!", "Zbigniew Brzezinski's pyjamas: why?"]
)
def test_every_phoneme_has_an_id(g2p, text):
    assert set(g2p(normalize_text(text))) <= set(PHONEME_IDS)
