"""A conversation on the Talk tab without a browser: its handlers, its API, its files, and what is given to research."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from conftest import tone

from annotation.studio import Studio
from annotation.study.rules import Study
from annotation.ui.engine_pool import EnginePool, menu
from annotation.ui.talk import contribute
from annotation.ui.talk.answer_queue import AnswerQueue
from annotation.ui.talk.api import TalkApi
from annotation.ui.talk.conversation import REMEMBERED_TURNS, ChatTurn, Conversation, save_sound
from annotation.ui.talk.page_update import chat_messages
from annotation.ui.talk.tab import Handlers
from emotion_omni import engine
from emotion_omni.fake import FakeEngine
from emotion_omni.types import NO_WORDS, Audio, EmotionOmniError, Event, Turn, VoiceSettings


class RecordingEngine(FakeEngine):
    """The fake, which keeps what it was asked."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.seeds: list[int] = []

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        self.turns.append(turn)
        self.seeds.append(seed)
        yield from super().respond(turn, seed=seed)


@pytest.fixture
def recording() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
def handlers(recording: RecordingEngine) -> Handlers:
    return Handlers(EnginePool(lambda _: recording), AnswerQueue())


@pytest.fixture
def api(recording: RecordingEngine) -> TalkApi:
    return TalkApi(EnginePool(lambda _: recording), AnswerQueue())


def answered(handlers: Handlers, conversation: Conversation, seed: int = 0) -> Conversation:
    """The conversation after one more recording."""
    *_, last = handlers.respond(save_sound(tone(1.0)), "fake", seed, conversation)
    return last[-1]


def corrected(handlers: Handlers, conversation: Conversation, label: str, transcript: str) -> Conversation:
    *_, last = handlers.again(label, transcript, "fake", 0, conversation)
    return last[-1]


# --- turns --------------------------------------------------------------------------------------------------------


def test_the_engine_is_given_the_earlier_turns_and_the_seed_of_the_page(handlers, recording):
    conversation = answered(handlers, answered(handlers, Conversation(), seed=4), seed=7)
    assert recording.seeds == [4, 7]
    assert recording.turns[0].earlier == ()
    (earlier,) = recording.turns[1].earlier
    assert earlier.transcript == "1.0 seconds of sound" and earlier.reply.startswith("[4]")
    assert [turn.seed for turn in conversation.turns] == [4, 7]


def test_answering_again_replaces_the_last_turn_and_forgets_it(handlers, recording):
    conversation = answered(handlers, answered(handlers, Conversation()))
    conversation = corrected(handlers, conversation, "disgusted", "My own words")
    assert len(conversation.turns) == 2 and len(recording.turns[2].earlier) == 1
    last = conversation.turns[-1]
    assert (last.heard.transcript, last.heard.emotion.label, last.corrected) == ("My own words", "disgusted", True)
    assert last.recognized.transcript == "1.0 seconds of sound", "what the model heard is kept beside the correction"


def test_a_turn_without_words_says_so_and_can_be_corrected(handlers, recording, monkeypatch):
    heard = recording._recognize(Turn(tone(1.0)))
    monkeypatch.setattr(
        recording, "_recognize", lambda turn: replace(heard, transcript=turn.transcript or ""), raising=True
    )
    *steps, last = handlers.respond(save_sound(tone(1.0)), "fake", 0, Conversation())
    conversation = last[-1]
    assert NO_WORDS in [message["content"] for message in chat_messages(conversation)]
    boxes = [value for step in steps for value in step if isinstance(value, dict) and value.get("placeholder")]
    assert any("No words made out" in box["placeholder"] and box["value"] == "" for box in boxes)
    same = corrected(handlers, conversation, heard.emotion.label, "")
    assert recording.turns[-1].transcript is None, "an empty box is what was heard, not a correction"
    corrected(handlers, same, heard.emotion.label, "My own words")
    assert recording.turns[-1].transcript == "My own words"


def test_what_was_not_changed_is_no_correction(handlers, recording):
    conversation = answered(handlers, Conversation())
    heard = conversation.turns[0].heard
    conversation = corrected(handlers, conversation, heard.emotion.label, f" {heard.transcript} ")
    assert (recording.turns[-1].emotion, recording.turns[-1].transcript) == (None, None)
    assert not conversation.turns[0].corrected


def test_corrected_words_stay_corrected_when_the_emotion_is_corrected_next(handlers, recording):
    conversation = answered(handlers, Conversation())
    label = conversation.turns[0].heard.emotion.label
    conversation = corrected(handlers, conversation, label, "My own words")
    corrected(handlers, conversation, "sad", "My own words")
    assert (recording.turns[-1].transcript, recording.turns[-1].emotion) == ("My own words", "sad")


def test_a_turn_that_is_being_answered_again_is_not_finished(handlers):
    conversation = answered(handlers, Conversation())
    steps = handlers.again("sad", "My own words", "fake", 0, conversation)
    next(steps)
    *_, shown = next(steps)
    steps.close()
    assert shown.turns[-1].heard is not None and not shown.turns[-1].timings and conversation.turns[-1].timings


def test_a_long_conversation_is_cut_to_its_newest_turns(handlers):
    conversation = Conversation()
    for seed in range(REMEMBERED_TURNS + 3):
        conversation = answered(handlers, conversation, seed)
    assert [turn.seed for turn in conversation.turns] == list(range(2, REMEMBERED_TURNS + 3))


class HeldEvents:
    """Events to which somebody else keeps a reference, so that only ``close`` ends them, not the garbage collector."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events, self.closed = events, False

    def __iter__(self) -> HeldEvents:
        return self

    def __next__(self) -> Event:
        return next(self.events)

    def close(self) -> None:
        self.closed = True


def test_abandoning_an_answer_closes_the_engine_and_frees_the_queue():
    held: list[HeldEvents] = []

    class Held(FakeEngine):
        def respond(self, turn, *, seed=0):
            held.append(HeldEvents(super().respond(turn, seed=seed)))
            return held[-1]

    handlers = Handlers(EnginePool(lambda _: Held()), AnswerQueue(capacity=1))
    steps = handlers.respond(save_sound(tone(1.0)), "fake", 0, Conversation())
    next(steps)
    next(steps)
    assert not held[0].closed
    steps.close()
    assert held[0].closed
    assert len(answered(handlers, Conversation()).turns) == 1


def test_words_are_escaped_in_the_chat(handlers):
    conversation = answered(handlers, Conversation())
    turn = corrected(handlers, conversation, "sad", "<img src=x>").turns[-1]
    turn.reply = "<b>bold</b>"
    contents = [str(message["content"]) for message in chat_messages(Conversation([turn]))]
    assert "&lt;img src=x&gt;" in contents and "&lt;b&gt;bold&lt;/b&gt;" in contents
    assert not any("<" in content for content in contents)


def test_a_recording_that_cannot_be_read_leaves_the_conversation_as_it_is(handlers, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    conversation = Conversation()
    for path in (None, str(tmp_path / "a.wav")):
        *_, last = handlers.respond(path, "fake", 0, conversation)
        assert last[-1] is conversation and "alert" in last[7]
    *_, last = handlers.again("sad", "words", "fake", 0, conversation)
    assert last[-1] is conversation and "nothing to answer again" in last[7]


def test_a_new_conversation_deletes_the_files_of_the_old_one(handlers):
    conversation = answered(handlers, Conversation())
    files = [Path(conversation.turns[0].query_file), Path(conversation.turns[0].reply_file)]
    assert all(file.exists() for file in files)
    *_, fresh = handlers.forget(conversation)
    assert not any(file.exists() for file in files) and fresh.turns == [] and fresh is not conversation


def test_the_menu_offers_every_engine_with_the_default_first(monkeypatch):
    monkeypatch.setattr(engine, "offered", lambda: ["embedded", "omni:mine", "fake"])
    assert menu("fake") == ["fake", "embedded", "omni:mine"]
    assert menu("omni:user/other")[0] == "omni:user/other"


def test_an_engine_is_loaded_once_and_only_if_it_is_offered(monkeypatch):
    monkeypatch.setattr(engine, "offered", lambda: ["fake"])
    loaded: list[str] = []

    def load(name: str) -> FakeEngine:
        loaded.append(name)
        return FakeEngine()

    pool = EnginePool(load, also="omni:user/default")
    assert pool.get("fake") is pool.get("fake") and pool.is_ready("fake")
    pool.get("omni:user/default")
    with pytest.raises(EmotionOmniError, match="not offered here"):
        pool.get("omni:/etc")
    assert loaded == ["fake", "omni:user/default"]


# --- the API ------------------------------------------------------------------------------------------------------


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


# --- research -----------------------------------------------------------------------------------------------------


@pytest.fixture
def studio(tmp_path) -> Iterator[Studio]:
    opened = Studio.open(tmp_path / "home")
    yield opened
    opened.close()


def stored(studio: Studio, code: str) -> dict[str, Any]:
    with studio.store.read() as view:
        (item,) = view.contributed(code)
    return item["content"]["about"]


def test_only_an_agreed_and_finished_turn_is_stored(handlers, studio, monkeypatch):
    give = contribute.Handlers(studio)
    conversation = answered(handlers, Conversation())
    with pytest.raises(EmotionOmniError, match="without your agreement"):
        give.save(conversation, False, "")
    unfinished = Conversation([ChatTurn(tone(1.0), "")])
    for nothing in (Conversation(), unfinished):
        with pytest.raises(EmotionOmniError, match="no finished turn"):
            give.save(nothing, True, "")
    with pytest.raises(EmotionOmniError, match="Choose one of the list"):
        give.save(conversation, True, "another")
    monkeypatch.setenv("SPACE_ID", "user/space")
    with pytest.raises(EmotionOmniError, match="does not store"):
        give.save(conversation, True, "")
    assert not list(studio.clips.folder.rglob("*.flac"))


def test_what_is_stored_are_the_models_hearing_and_the_speakers_corrections(handlers, studio):
    give = contribute.Handlers(studio)
    conversation = answered(handlers, Conversation())
    own = conversation.turns[0].heard
    _, plain = give.save(conversation, True, "")
    assert stored(studio, plain["value"])["corrections"] == {}
    _, words = give.save(corrected(handlers, conversation, own.emotion.label, "My own words"), True, "")
    assert stored(studio, words["value"])["corrections"] == {"transcript": "My own words"}
    _, both = give.save(corrected(handlers, conversation, "sad", "My own words"), True, "")
    about = stored(studio, both["value"])
    assert about["corrections"] == {"emotion": "sad", "transcript": "My own words"}
    assert about["transcript"] == own.transcript and max(about["heard"], key=about["heard"].get) == own.emotion.label


def test_turns_can_go_only_to_open_studies_that_take_them(studio):
    rules = {"template": "empathy", "takes_turns": True}
    rows = {
        "fits": ({"title": "Fits", **rules}, "open"),
        "rests": ({"title": "Rests", **rules}, "paused"),
        "closed": ({"title": "Closed", **rules}, "closed"),
        "invited": ({"title": "Invited", "access": "invited", **rules}, "open"),
        "private": ({"title": "Private", **rules, "takes_turns": False}, "open"),
    }

    def add(transaction: Any) -> None:
        for name, (settings, state) in rows.items():
            settings = Study.read(settings).settings()
            transaction.record("study.created", study=name, settings=settings, state=state, by=None)

    studio.store.write(add)
    assert {name for _, name in contribute.Handlers(studio).studies()} == {"", "fits", "rests"}


# --- the queue, files and failures ----------------------------------------------------------------------------------


def test_a_full_queue_is_reported_at_once():
    queue = AnswerQueue(capacity=1)
    with queue.slot(), pytest.raises(EmotionOmniError, match="in line"), queue.slot():
        pass
    with pytest.raises(ValueError), queue.slot():
        raise ValueError("the engine failed")
    with queue.slot():
        pass


def test_forgetting_a_conversation_deletes_its_files():
    conversation = Conversation([ChatTurn(tone(1.0), save_sound(tone(1.0)), reply_file=save_sound(tone(1.0)))])
    files = [Path(conversation.turns[0].query_file), Path(conversation.turns[0].reply_file)]
    assert all(file.exists() and file.name == "sound.wav" for file in files)
    conversation.forget()
    assert not any(file.exists() for file in files) and conversation.turns == []


def test_only_uploads_are_ever_deleted(tmp_path):
    outside = tmp_path / "keep.wav"
    outside.write_bytes(b"mine")
    Conversation([ChatTurn(tone(1.0), str(outside), upload=str(outside))]).forget()
    assert outside.exists()


def test_an_upload_is_deleted_once_it_is_answered():
    handlers = Handlers(EnginePool(lambda _: FakeEngine()), AnswerQueue())
    path = save_sound(tone(1.0))
    *_, last = handlers.respond(path, "fake", 0, Conversation())
    assert not Path(path).exists() and len(last[-1].turns) == 1


def test_an_unexpected_failure_is_shown_on_the_page_and_logged(caplog):
    def broken(name):
        raise KeyError("a broken file")

    conversation = Conversation()
    *_, last = Handlers(EnginePool(broken), AnswerQueue()).respond(save_sound(tone(1.0)), "fake", 0, conversation)
    assert last[-1] is conversation and "Something went wrong" in last[7] and "a broken file" not in last[7]
    assert "a broken file" in caplog.text


def test_an_engine_that_fails_leaves_the_conversation_whole():
    class Broken(FakeEngine):
        def respond(self, turn, *, seed=0):
            raise EmotionOmniError("There is no speech in it.", "no-speech")

    handlers = Handlers(EnginePool(lambda _: Broken()), AnswerQueue())
    conversation = Conversation()
    path = save_sound(Audio(tone(1.0).samples, 16_000))
    *_, last = handlers.respond(path, "fake", 0, conversation)
    assert last[-1] is conversation and conversation.turns == [] and "no speech" in last[7]


def test_the_voice_that_is_chosen_speaks_the_reply_and_is_asked_for_another_answer():
    chosen = RecordingEngine()
    handlers = Handlers(EnginePool(lambda name: chosen), AnswerQueue())
    *_, last = handlers.respond(save_sound(tone(1.0)), "fake", 0, Conversation(), "am_echo", 0.5, 1.5)
    *_, last = handlers.again("sad", "Hello", "fake", 0, last[-1], None, None, None)
    assert [turn.voice for turn in chosen.turns] == [VoiceSettings("am_echo", 0.5, 1.5), VoiceSettings()]
