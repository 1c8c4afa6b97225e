"""What our voice promises."""

from __future__ import annotations

from emotion_omni import audio
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.synthesis import kokoro as speak
from emotion_omni.types import Turn


def test_clauses_join_to_the_text():
    text = "Oh no! That is hard, and " + "very " * 60 + "long. Is it? " + "x" * 400
    assert "".join(speak.clauses(text)) == text and max(map(len, speak.clauses(text))) <= speak.COMFORTABLE


def test_our_voice_is_understood(embedded):
    sound = audio.join(list(embedded.speak("Please meet Dr. Brown at 7:30 pm, and bring $12.50.", "calm")))
    words = embedded.recognizer.recognize(Turn(audio.resample(sound, HZ))).transcript.lower()
    assert "brown" in words and "30" in words.replace("thirty", "30") and "12" in words.replace("twelve", "12")


def test_each_manner_is_audible(embedded):
    """Pace and level follow the table, against neutral on the same words."""
    said = "I went to the market, and I came back before the rain."
    sounds = {name: audio.join(list(embedded.speak(said, name))) for name in ("neutral", "happy", "sad", "calm")}
    assert sounds["happy"].seconds < sounds["neutral"].seconds < sounds["calm"].seconds < sounds["sad"].seconds
    assert audio.dbfs(sounds["sad"].samples) < audio.dbfs(sounds["neutral"].samples) - 1


def test_what_cannot_be_said_is_silent(embedded):
    assert list(embedded.speak("", "happy")) == list(embedded.speak("🙂 …", "happy")) == []
