"""A realtime session without a line: turns, corrections, interruptions, conversations, and what it refuses."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from conftest import EXAMPLES, tone
from realtime_client import HZ, Client, pcm, recording

from annotation.realtime.answer_queue import AnswerQueue
from annotation.realtime.conversation import REMEMBERED_TURNS, UNHEARD, Conversations, Piece, heard_words
from annotation.realtime.engine_pool import EnginePool, menu
from annotation.realtime.session import Service
from emotion_omni import audio, engine
from emotion_omni.fake import FakeEngine
from emotion_omni.types import Audio, EmotionOmniError, Event, Turn, VoiceSettings


class RecordingEngine(FakeEngine):
    """The fake, which keeps what it was asked. ``gate``: it waits here before its second event."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.seeds: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = 0

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        self.turns.append(turn)
        self.seeds.append(seed)
        try:
            for event in super().respond(turn, seed=seed):
                yield event
                self.gate.wait(10)
        finally:
            self.closed += 1


@pytest.fixture
def asked() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
def client(asked) -> Client:
    return Client(asked)


def correct(client: Client, label: str, words: str) -> None:
    client.send("emotion_omni.correct", item_id=client.conversation.turns[-1].identity, emotion=label, transcript=words)
    client.done()


# --- turns --------------------------------------------------------------------------------------------------------


def test_a_turn_is_told_in_the_order_of_the_protocol(client):
    assert client.say()["status"] == "completed"
    kinds = [event["type"] for event in client.told if not event["type"].startswith("session")]
    assert list(dict.fromkeys(kinds)) == [
        "emotion_omni.conversation",
        "conversation.item.added",
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "emotion_omni.loading",
        "conversation.item.input_audio_transcription.completed",
        "emotion_omni.heard",
        "emotion_omni.plan",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    (heard,) = client.of("emotion_omni.heard")
    assert heard["transcript"] == "1.0 seconds of sound" and sum(heard["probabilities"].values()) == pytest.approx(1)
    said = "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta"))
    assert said == client.of("response.output_audio_transcript.done")[0]["transcript"]
    sound = b"".join(base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta"))
    assert len(sound) == 2 * HZ // 2, "two pieces of a quarter of a second, at the protocol's rate"


def test_the_engine_is_given_the_earlier_turns_the_seed_and_the_voice(client, asked):
    voice = {"output": {"voice": "am_echo", "speed": 1.5}}
    client.send("session.update", session={"audio": voice, "emotion_omni": {"seed": 4, "intensity": 0.5}})
    client.say()
    client.say()
    assert asked.seeds == [4, 4] and asked.turns[0].voice == VoiceSettings("am_echo", 0.5, 1.5)
    assert asked.turns[0].earlier == ()
    (earlier,) = asked.turns[1].earlier
    assert earlier.transcript == "1.0 seconds of sound" and earlier.reply.startswith("[4]")
    assert asked.turns[1].speaker.turns == 1, "the voice is known from the first turn"


def test_a_corrected_turn_replaces_the_last_one_and_keeps_what_was_heard(client, asked):
    client.say()
    client.say()
    correct(client, "disgusted", "My own words")
    assert len(client.conversation.turns) == 2 and len(asked.turns[2].earlier) == 1
    last = client.conversation.turns[-1]
    assert (last.heard.transcript, last.heard.emotion.label, last.corrected) == ("My own words", "disgusted", True)
    heard = client.of("emotion_omni.heard")[-1]
    assert heard["corrected"] and heard["own"]["transcript"] == "1.0 seconds of sound"
    assert heard["own"]["label"] != "disgusted"


def test_what_was_not_changed_is_no_correction(client, asked):
    client.say()
    heard = client.conversation.turns[0].heard
    correct(client, heard.emotion.label, f" {heard.transcript} ")
    assert (asked.turns[-1].emotion, asked.turns[-1].transcript) == (None, None)
    assert not client.conversation.turns[0].corrected


def test_corrected_words_stay_corrected_when_the_emotion_is_corrected_next(client, asked):
    client.say()
    correct(client, client.conversation.turns[0].heard.emotion.label, "My own words")
    correct(client, "sad", "My own words")
    assert (asked.turns[-1].transcript, asked.turns[-1].emotion) == ("My own words", "sad")


def test_only_the_last_turn_can_be_corrected_and_its_words_are_bounded(client, asked):
    client.say()
    first = client.conversation.turns[0].identity
    client.say()
    client.send("emotion_omni.correct", item_id=first, emotion="sad", transcript="x")
    assert "Only the last turn" in client.fault()
    correct(client, "sad", "W" * 100_000)
    assert len(asked.turns[-1].transcript) == 600
    assert client.conversation.turns[0].query is None, "sound is kept of the last turn alone"


def test_a_message_in_writing_and_an_earlier_conversation(client, asked):
    for role, text in (("user", "Hello"), ("assistant", "Hi there"), ("user", "My dog ran away")):
        item = {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
        client.send("conversation.item.create", item=item)
    client.send("response.create")
    client.done()
    (turn,) = asked.turns
    assert turn.audio is None and turn.transcript == "My dog ran away"
    assert [(one.transcript, one.reply) for one in turn.earlier] == [("Hello", "Hi there")]


def test_a_long_conversation_is_cut_to_its_newest_turns(client):
    for _ in range(REMEMBERED_TURNS + 2):
        client.say(tone(0.3))
    assert len(client.conversation.turns) == REMEMBERED_TURNS
    assert len(client.conversation.exchanges()) == REMEMBERED_TURNS


# --- interruptions ------------------------------------------------------------------------------------------------


def test_a_second_recording_within_moments_of_the_first_is_answered_and_the_first_is_stopped(client, asked):
    asked.gate.clear()
    client.session.receive(recording(tone(1.0)))
    client.send("response.create")
    client.until(lambda: client.of("emotion_omni.heard"))
    client.session.receive(recording(tone(2.0)))
    client.send("response.create")
    asked.gate.set()
    client.done()
    client.until(lambda: asked.closed == 2)
    statuses = [event["response"]["status"] for event in client.of("response.done")]
    assert statuses == ["cancelled", "completed"]
    assert [turn.heard.transcript for turn in client.conversation.turns] == [
        "1.0 seconds of sound",
        "2.0 seconds of sound",
    ], "what was heard of the first turn is not lost"


def test_nothing_of_a_cancelled_reply_is_sent_after_its_end(client, asked):
    asked.gate.clear()
    client.session.receive(recording(tone(1.0)))
    client.send("response.create")
    client.until(lambda: client.of("emotion_omni.heard"))
    client.send("response.cancel")
    told = len(client.told)
    asked.gate.set()
    client.until(lambda: asked.closed == 1)
    assert client.told[told - 1]["type"] == "response.done" and len(client.told) == told
    client.send("response.cancel")
    assert "No reply is being made" in client.fault()


def test_what_was_heard_of_an_interrupted_reply_is_what_history_keeps(client, asked):
    client.say()
    reply = client.of("response.output_item.added")[0]["item"]["id"]
    client.send("conversation.item.truncate", item_id=reply, content_index=0, audio_end_ms=375)
    kept = client.of("conversation.item.truncated")[0]["emotion_omni"]["transcript"]
    assert kept.startswith("[0] I heard") and kept[-1] == UNHEARD
    client.say()
    assert asked.turns[1].earlier[0].reply == kept
    assert len(asked.turns[1].earlier[0].reply) < 50


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, UNHEARD), (1.0, f"One two.{UNHEARD}"), (1.6, f"One two. Three{UNHEARD}"), (9, "One two. Three four.")],
)
def test_the_words_that_were_heard(seconds, words):
    assert heard_words([Piece("One two. ", 1.0), Piece("Three four.", 1.0)], seconds) == words


# --- speech that streams in ---------------------------------------------------------------------------------------


def spoken(name: str) -> Audio:
    return audio.resample(audio.decode(EXAMPLES / name), HZ)


def quiet(seconds: float) -> Audio:
    return Audio(np.random.default_rng(0).normal(0, 1e-4, int(seconds * HZ)).astype(np.float32), HZ)


def stream(client: Client, *sounds: Audio) -> None:
    samples = np.concatenate([sound.samples for sound in sounds])
    for at in range(0, len(samples), HZ // 50):
        client.send("input_audio_buffer.append", audio=pcm(Audio(samples[at : at + HZ // 50], HZ)))


def test_speech_begins_a_turn_and_its_end_is_answered_without_a_button(client, asked):
    stream(client, quiet(1.0), spoken("4-neutral.wav"), quiet(2.0))
    client.done()
    (started,), (stopped,) = (
        client.of("input_audio_buffer.speech_started"),
        client.of("input_audio_buffer.speech_stopped"),
    )
    assert 600 <= started["audio_start_ms"] <= 1200
    assert stopped["emotion_omni"]["finished"] > 0.5, "Smart Turn has ended it, not a long pause"
    assert stopped["audio_end_ms"] < 1000 + 2445 + 800
    (turn,) = asked.turns
    assert turn.audio.seconds == pytest.approx((stopped["audio_end_ms"] - started["audio_start_ms"]) / 1000, abs=0.01)
    assert client.of("input_audio_buffer.committed")[0]["item_id"] == started["item_id"] == stopped["item_id"]


def test_speaking_over_the_reply_stops_it(client, asked):
    asked.gate.clear()
    client.session.receive(recording(tone(1.0)))
    client.send("response.create")
    client.until(lambda: client.of("emotion_omni.heard"))
    stream(client, quiet(0.5), spoken("3-angry.wav"))
    assert client.of("response.done")[0]["response"]["status"] == "cancelled"
    asked.gate.set()
    stream(client, quiet(2.0))
    client.done()
    assert len(client.conversation.turns) == 2 and len(asked.turns[1].earlier) == 1


def test_who_goes_on_after_a_pause_that_was_taken_for_the_end_says_one_turn(client, asked):
    hold = threading.Event()
    client.service.engines.get("fake")
    recognize, asked._recognize = asked._recognize, lambda turn: (hold.wait(10), recognize(turn))[1]
    stream(client, quiet(0.5), spoken("4-neutral.wav"), quiet(0.6))
    client.until(lambda: asked.turns)
    stream(client, spoken("3-angry.wav"), quiet(1.5))
    hold.set()
    client.done()
    client.until(lambda: len(asked.turns) == 2)
    assert client.of("conversation.item.deleted")
    assert len(client.conversation.turns) == 1 and asked.turns[1].audio.seconds > 2.4 + 3.4


def test_noise_and_music_begin_no_turn(client):
    hum = tone(3.0, HZ, pitch=110)
    stream(client, quiet(1.0), hum, quiet(1.0))
    assert not client.of("input_audio_buffer.speech_started")


def test_push_to_talk_commits_by_hand(client, asked):
    client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
    stream(client, spoken("4-neutral.wav"))
    assert not client.of("input_audio_buffer.speech_started")
    client.send("input_audio_buffer.commit")
    assert not asked.turns
    client.send("response.create")
    client.done()
    assert asked.turns[0].audio.seconds == pytest.approx(2.445, abs=0.03)
    client.send("input_audio_buffer.commit")
    assert "no sound to commit" in client.fault()


def test_a_silent_hour_is_not_kept(client):
    stream(client, quiet(4.0))
    assert client.session._input.kept_seconds < 2.0


# --- conversations ------------------------------------------------------------------------------------------------


def test_new_begins_a_conversation_and_undo_goes_back(client, asked):
    client.say()
    old = client.conversation.identity
    client.send("emotion_omni.new")
    assert client.conversation.identity != old and not client.conversation.turns
    client.send("emotion_omni.open", conversation=old)
    assert client.of("emotion_omni.conversation")[-1]["conversation"] == {"id": old, "turns": 1}
    client.send("emotion_omni.new")
    client.send("emotion_omni.forget", conversation=old)
    client.send("emotion_omni.open", conversation=old)
    assert "is forgotten" in client.fault()


def test_a_conversation_survives_a_lost_line(client, asked):
    client.say()
    client.session.close()
    again = Client(asked, client.service, client.service.conversations.get(client.conversation.identity))
    again.say()
    assert len(asked.turns[1].earlier) == 1


def test_conversations_end_by_time_and_number():
    kept = Conversations(most=2, seconds=60)
    first, second = kept.start(), kept.start()
    assert kept.get(first.identity) is first
    kept.start()
    assert kept.get(second.identity) is None and kept.get(first.identity) is first, "the one used longest ago"
    over = Conversations(seconds=-1)
    assert over.get(over.start().identity) is None


# --- what cannot be used --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "Unknown event"),
        ([], "Unknown event"),
        ({"type": "response.make"}, "Known are: session.update"),
        ({"type": "input_audio_buffer.append"}, "audio is base64"),
        ({"type": "input_audio_buffer.append", "audio": "…"}, "not base64"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "half a sample"),
        ({"type": "response.create"}, "nothing to answer yet"),
        ({"type": "session.update", "session": []}, "session is an object"),
        ({"type": "session.update", "session": {"model": "omni:/etc"}}, "not offered here"),
        ({"type": "session.update", "session": {"audio": {"output": {"speed": 9}}}}, "speed is a number from 0.5 to 2"),
        ({"type": "session.update", "session": {"audio": {"input": {"format": {"type": "g711"}}}}}, "audio/pcm"),
        ({"type": "session.update", "session": {"audio": {"input": {"turn_detection": {}}}}}, "semantic_vad"),
        ({"type": "conversation.item.create", "item": {"role": "system"}}, "role user or assistant"),
        ({"type": "conversation.item.truncate", "audio_end_ms": 1, "item_id": "x"}, "no such reply"),
        ({"type": "conversation.item.truncate", "audio_end_ms": None}, "milliseconds"),
        ({"type": "emotion_omni.correct", "item_id": "x"}, "Only the last turn"),
    ],
)
def test_what_cannot_be_used_is_explained_and_the_session_goes_on(client, event, said):
    if isinstance(event, dict):
        event = event | {"event_id": "mine"}
    client.session.receive(event)
    assert said in client.fault()
    assert client.of("error")[-1]["error"]["event_id"] == ("mine" if isinstance(event, dict) else None)
    assert client.say()["status"] == "completed"


def test_a_recording_that_is_too_short_is_refused(client):
    client.session.receive(recording(tone(0.1)))
    client.send("response.create")
    assert "too short" in client.fault() and not client.conversation.turns


def test_a_silent_recording_leaves_the_conversation_as_it_is(client):
    client.say()
    response = client.say(Audio(np.zeros(HZ, np.float32), HZ))
    assert response["status"] == "failed" and "silent" in response["status_details"]["error"]["message"]
    assert len(client.conversation.turns) == 1


def test_a_correction_that_fails_keeps_the_turn(client, asked):
    client.say()
    heard = client.conversation.turns[0].heard

    def fail(turn):
        raise EmotionOmniError("It cannot be done.", "memory")

    asked._recognize = fail
    correct(client, "sad", "x")
    assert client.conversation.turns[0].heard is heard


def test_an_unexpected_failure_is_told_and_logged(caplog):
    def broken(name):
        raise KeyError("a broken file")

    client = Client(None, Service(EnginePool(broken), "fake"))
    response = client.say()
    message = response["status_details"]["error"]["message"]
    assert "Something went wrong" in message and "a broken file" not in message and "a broken file" in caplog.text


def test_a_turn_without_words_can_be_corrected(client, asked):
    heard = asked._recognize(Turn(tone(1.0)))
    asked._recognize = lambda turn: replace(heard, transcript=turn.transcript or "")
    client.say()
    assert client.of("emotion_omni.heard")[0]["transcript"] == ""
    correct(client, heard.emotion.label, "")
    assert asked.turns[-1].transcript is None, "an empty box is what was heard, not a correction"
    correct(client, heard.emotion.label, "My own words")
    assert asked.turns[-1].transcript == "My own words"


# --- engines and the queue ----------------------------------------------------------------------------------------


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


def test_a_full_queue_is_reported_at_once():
    queue = AnswerQueue(capacity=1)
    with queue.slot(), pytest.raises(EmotionOmniError, match="in line"), queue.slot():
        pass
    with pytest.raises(ValueError), queue.slot():
        raise ValueError("the engine failed")
    with queue.slot():
        pass
