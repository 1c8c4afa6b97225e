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
