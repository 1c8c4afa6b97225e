"""Kokoro: what a delivery changes in the sound, and that every phoneme has an id."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pyloudnorm
import pytest

from emotion_omni import audio, emotion, weights
from emotion_omni.synthesis.config import VOICE_MENU, KokoroConfig
from emotion_omni.synthesis.kokoro import HZ, PHONEME_IDS, VOICES, KokoroSynthesizer, style_table
from emotion_omni.synthesis.kokoro_graph import HALVES, KokoroGraph, prepare_halves
from emotion_omni.synthesis.prosody import Prosody
from emotion_omni.synthesis.text_normalization import normalize_text
from emotion_omni.types import Audio, Delivery, EmotionOmniError

TEXT = "I went to the market, and I came back before the rain."


def spoken(kokoro: KokoroSynthesizer, delivery: Delivery, text: str = TEXT) -> Audio:
    return audio.join(list(kokoro.synthesize(text, delivery)))


@pytest.fixture(scope="module")
def in_every_emotion(kokoro) -> dict[str, Audio]:
    return {label: spoken(kokoro, Delivery(label)) for label in emotion.NAMES}


def test_the_halves_of_the_graph_speak_as_the_whole(kokoro, g2p):
    phonemes = g2p("We are here.")
    ids = np.array([0, *(PHONEME_IDS[symbol] for symbol in phonemes), 0])
    style, speed = style_table("af_heart")[len(phonemes)], np.ones(1, np.float32)
    whole = onnxruntime.InferenceSession(str(weights.fetch("kokoro/kokoro-82m-int8.onnx")))
    (expected,) = whole.run(None, {"tokens": ids[None], "style": style[None], "speed": speed})
    said = kokoro._graph.predict(ids, style, np.ones(len(ids), np.float32))
    assert kokoro._graph.decode(said, style) == pytest.approx(expected.ravel(), abs=1e-3)


@pytest.mark.slow
def test_a_damaged_half_is_made_again(kokoro, tmp_path, monkeypatch):
    source = weights.fetch("kokoro/kokoro-82m-int8.onnx")
    monkeypatch.setattr(weights, "cache", lambda: tmp_path)
    folder = prepare_halves(source)
    whole = {half: (folder / f"{half}.onnx").read_bytes() for half in HALVES}
    (folder / "decoder.onnx").write_bytes(whole["decoder"][:1000])
    with monkeypatch.context() as patch:  # another process reads the folder meanwhile: no file may vanish from it
        patch.setattr(Path, "unlink", lambda *given, **named: pytest.fail("a half was taken away"))
        patch.setattr(shutil, "rmtree", lambda *given, **named: pytest.fail("the folder was taken away"))
        KokoroGraph.load(source, 1)
    assert {half: (folder / f"{half}.onnx").read_bytes() for half in HALVES} == whole


@pytest.mark.slow
def test_emotions_differ_in_pitch_and_pace(in_every_emotion):
    seconds = {label: sound.seconds for label, sound in in_every_emotion.items()}
    assert len({sound.samples.tobytes() for sound in in_every_emotion.values()}) == len(emotion.NAMES)
    assert seconds["surprised"] < seconds["calm"] and seconds["fearful"] < seconds["sad"]


@pytest.mark.slow
def test_all_emotions_are_equally_loud(in_every_emotion):
    meter = pyloudnorm.Meter(HZ)
    levels = [meter.integrated_loudness(sound.samples.astype(np.float64)) for sound in in_every_emotion.values()]
    assert max(levels) - min(levels) < 1


@pytest.mark.slow
def test_no_emotion_clips_or_clicks_at_joins(kokoro, in_every_emotion):
    for sound in in_every_emotion.values():
        assert np.abs(sound.samples).max() < 0.98
    pieces = list(kokoro.synthesize("Wait! Stop it, now. Why?", Delivery("angry", 1.5)))
    assert len(pieces) >= 3
    for piece in pieces:
        ends = np.concatenate([[0], piece.samples[:48], piece.samples[-48:], [0]])  # 2 ms
        assert np.abs(np.diff(ends)).max() < 0.01


@pytest.mark.slow
def test_without_intensity_every_emotion_is_neutral_to_the_byte(kokoro, in_every_emotion):
    for label in ("happy", "fearful"):
        assert spoken(kokoro, Delivery(label, 0.0)).samples.tobytes() == in_every_emotion["neutral"].samples.tobytes()


@pytest.mark.slow
def test_intensity_is_gradual(kokoro):
    seconds = [spoken(kokoro, Delivery("disgusted", intensity)).seconds for intensity in (0.0, 0.5, 1.0, 1.5)]
    assert seconds == sorted(set(seconds))


@pytest.mark.slow
def test_a_delivery_chooses_any_voice_and_the_settings_the_default(kokoro):
    voices = ("", *VOICE_MENU, "af_nicole")
    sounds = {voice: spoken(kokoro, Delivery("happy", voice=voice), "Well done!").samples.tobytes() for voice in voices}
    assert len(set(sounds.values())) == len(voices) - 1 and sounds[""] == sounds[KokoroConfig().voice]
    other = KokoroSynthesizer.load(KokoroConfig(voice="af_kore"))
    assert spoken(other, Delivery("happy"), "Well done!").samples.tobytes() == sounds["af_kore"]


def test_an_unknown_voice_is_refused_with_the_known_ones():
    with pytest.raises(EmotionOmniError, match="af_heart"):
        KokoroConfig(voice="af_nobody")
    assert set(VOICE_MENU) <= set(VOICES)


@pytest.mark.slow
def test_the_level_follows_the_emotion_only_where_asked(kokoro, monkeypatch):
    loud = {label: Prosody(decibels=6.0 if label == "angry" else 0.0) for label in emotion.NAMES}
    monkeypatch.setattr("emotion_omni.synthesis.prosody.by_emotion", lambda: loud)
    following = KokoroSynthesizer.load(KokoroConfig(level=True))
    for synthesizer, louder in ((kokoro, 0), (following, 6)):
        sounds = [spoken(synthesizer, Delivery(label), "Stop it.") for label in ("neutral", "angry")]
        levels = [audio.dbfs(sound.samples) for sound in sounds]
        assert levels[1] - levels[0] == pytest.approx(louder, abs=1)


@pytest.mark.parametrize(
    "text", ["The quick brown fox, jumping over 13 lazy dogs!", "Zbigniew Brzezinski's pyjamas: why?"]
)
def test_every_phoneme_has_an_id(g2p, text):
    assert set(g2p(normalize_text(text))) <= set(PHONEME_IDS)
