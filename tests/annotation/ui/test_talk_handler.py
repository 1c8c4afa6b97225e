"""The handler of the endpoint /talk, without a page."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from conftest import tone

from annotation.realtime.conversation import REMEMBERED_TURNS
from annotation.realtime.engine_pool import EnginePool
from annotation.realtime.session import Service
from annotation.ui.talk.api import TalkApi
from annotation.ui.talk.sound_files import save_sound
from emotion_omni.fake import FakeEngine


class RecordingEngine(FakeEngine):
    def __init__(self) -> None:
        self.turns, self.seeds = [], []

    def respond(self, turn, *, seed=0):
        self.turns.append(turn)
        self.seeds.append(seed)
        yield from super().respond(turn, seed=seed)


@pytest.fixture
def recording() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
def api(recording) -> TalkApi:
    return TalkApi(Service(EnginePool(lambda _: recording), "fake"))


def test_the_api_passes_on_corrections_seed_and_history(api, recording):
    history = [{"transcript": "Hello", "heard": "happy", "reply": "Hi"}] * (REMEMBERED_TURNS + 1)
    result, reply = api.talk(save_sound(tone(1.0)), "fake", 5, "sad", "W" * 1000, history)
    (turn,) = recording.turns
    assert (turn.emotion, len(turn.transcript), recording.seeds) == ("sad", 600, [5])
    assert len(turn.earlier) == REMEMBERED_TURNS and turn.earlier[0].heard == "happy"
    assert result["heard"]["label"] == "sad" and result["reply"]["text"].startswith("[5]") and result["timings"]
    assert Path(reply).exists()


@pytest.mark.parametrize("history", [[{"no": 1}], ["x"], [{"transcript": "a", "heard": "b", "reply": "c"}]])
def test_the_api_explains_a_history_that_it_cannot_read(api, history):
    with pytest.raises(gr.Error):
        api.talk(save_sound(tone(1.0)), "fake", 0, "", "", history)


def test_hearing_stops_before_the_reply_is_made(api, recording):
    heard = api.hear(save_sound(tone(1.0)), "fake")
    assert heard["transcript"] == "1.0 seconds of sound" and sum(heard["probabilities"].values()) == pytest.approx(1)
    assert not recording.turns[0].speak


def test_a_reply_in_writing_and_words_spoken(api, recording):
    assert api.reply("My dog ran away", "sad", "fake", 2)["text"].startswith("[2]")
    assert (recording.turns[0].transcript, recording.turns[0].emotion) == ("My dog ran away", "sad")
    assert Path(api.speak("Well done!", "happy")).stat().st_size > 1000


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda api: api.hear(None, "fake"), "Give a recording"),
        (lambda api: api.talk(None, "fake"), "Give a recording"),
        (lambda api: api.reply(" ", "sad", "fake"), "Give the words to answer"),
        (lambda api: api.reply("Hello", "hungry", "fake"), "Unknown emotion"),
        (lambda api: api.speak("", "sad"), "Give the words to speak"),
        (lambda api: api.speak("W" * 1000), "At most 600 letters"),
        (lambda api: api.speak("Hello", name="omni:/etc"), "not offered here"),
    ],
)
def test_what_is_missing_or_unknown_is_said(api, call, said):
    with pytest.raises(gr.Error, match=said):
        call(api)
