"""The contract of every recognizer."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import music, noise, tone

from emotion_omni import emotion
from emotion_omni.recognition.recognizer import Recognizer, with_words
from emotion_omni.types import Audio, EmotionOmniError, Heard, Turn


@pytest.fixture(params=["whisper-ct2", "whisper-hf"])
def recognizer(request) -> Recognizer:
    return request.getfixturevalue("embedded" if request.param == "whisper-ct2" else "hub").recognizer


def test_it_follows_the_protocol(recognizer):
    assert isinstance(recognizer, Recognizer)


def test_words_emotion_and_timings(recognizer, spoken):
    heard = recognizer.recognize(Turn(spoken))
    assert any(letter.isalnum() for letter in heard.transcript)
    assert set(heard.emotion.probabilities) == set(emotion.NAMES)
    assert sum(heard.emotion.probabilities.values()) == pytest.approx(1, abs=1e-6)
    times = [at for at, _ in heard.trajectory]
    assert times and times == sorted(times) and all(0 <= at <= spoken.seconds for at in times)
    assert list(heard.timings) == ["voice_activity", "encode", "words", "tone"]
    assert all(seconds >= 0 for seconds in heard.timings.values())


def test_the_same_turn_gives_the_same_result(recognizer, spoken):
    assert recognizer.recognize(Turn(spoken)) == recognizer.recognize(Turn(spoken))  # timings do not count


def test_what_a_person_corrects_is_taken_as_it_is(recognizer, spoken):
    plain = recognizer.recognize(Turn(spoken))
    words = recognizer.recognize(Turn(spoken, transcript=" We won! "))
    assert (words.transcript, words.emotion, words.trajectory) == ("We won!", plain.emotion, plain.trajectory)
    felt = recognizer.recognize(Turn(spoken, emotion="joy"))
    assert (felt.transcript, felt.emotion, felt.trajectory) == (plain.transcript, emotion.one_hot("happy"), ())
    assert "words" not in words.timings
    assert "tone" in felt.timings, "the estimate of the voice needs it, whatever the label is"


@pytest.mark.parametrize("sound", [None, "spoken"])
def test_with_both_corrections_nothing_is_listened_to(recognizer, spoken, sound):
    silence = Audio(np.zeros(16_000, np.float32), 16_000)
    turn = Turn(None if sound is None else silence, transcript="We won!", emotion="happy")
    assert recognizer.recognize(turn) == Heard("We won!", emotion.one_hot("happy"))


def test_speech_without_words_keeps_its_tone(recognizer, spoken, monkeypatch):
    """Whatever cannot be read, a foreign language above all, is an empty transcript and no error."""
    plain = recognizer.recognize(Turn(spoken))
    monkeypatch.setattr(type(recognizer), "transcribe", lambda self, encoded: with_words(" ... "))
    heard = recognizer.recognize(Turn(spoken))
    assert heard.transcript == "" and heard.emotion == plain.emotion and heard.trajectory == plain.trajectory


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        ({"audio": Audio(np.zeros(16_000, np.float32), 16_000)}, "silent"),
        ({"audio": tone(0.1)}, "too-short"),
        ({"audio": noise(130, hz=8_000)}, "too-long"),
        ({"audio": Audio(np.full(16_000, np.nan, np.float32), 16_000)}, "not-finite"),
        ({"audio": noise(3)}, "no-speech"),
        ({"audio": music(4)}, "no-speech"),
        ({"audio": noise(3), "transcript": "  "}, "empty"),
        ({"audio": noise(3), "emotion": "grumpy"}, "unknown-emotion"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_recognized_is_refused_with_its_code(recognizer, turn, code, spoken):
    with pytest.raises(EmotionOmniError) as caught:
        recognizer.recognize(Turn(**turn))
    assert caught.value.code == code and len(str(caught.value)) > 20
    assert recognizer.recognize(Turn(spoken)).transcript  # the next turn works
