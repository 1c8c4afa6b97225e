"""The cascade as an engine: the contract, memory, a GPU on loan."""

from __future__ import annotations

from dataclasses import replace

import loans
import pytest
import torch
from conftest import tone
from engine_contract import (  # noqa: F401 (the whole contract, run again for the engines of this file)
    fingerprint,
    test_a_turn_yields_what_the_contract_says,
    test_bad_sound_is_refused_with_a_reason_or_answered,
    test_closing_early_frees_everything,
    test_corrections_replace_what_is_heard,
    test_hostile_words_are_answered,
    test_it_is_an_engine,
    test_the_conversation_travels_in_the_turn,
    test_the_same_seed_gives_the_same_bytes,
    test_turns_do_not_leak,
    test_words_only,
)

from emotion_omni import emotion, engine
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.response.openers import every_opener
from emotion_omni.response.safe_replies import CRISIS, no_words_reply
from emotion_omni.types import (
    Delivery,
    Done,
    EmotionOmniError,
    Exchange,
    Heard,
    Plan,
    Speech,
    Text,
    Turn,
    VoiceSettings,
)


@pytest.fixture(params=["kokoro", "cosyvoice2", pytest.param("mixed", marks=pytest.mark.slow)])
def chosen(request, hub) -> CascadeEngine:
    """What the contract's tests ask for."""
    if request.param == "kokoro":
        return hub
    if request.param == "mixed":
        return request.getfixturevalue("mixed")
    synthesizer = request.getfixturevalue("cosyvoice2")
    return CascadeEngine(hub.recognizer, hub.planner, hub.responder, synthesizer, "hub")


@pytest.fixture(scope="module")
def mixed(checkpoints, embedded, tmp_path_factory) -> engine.Engine:
    """A file that mixes a Whisper of transformers, our small language model and Kokoro."""
    file = tmp_path_factory.mktemp("files") / "mixed.yaml"
    file.write_text(
        f"""
recognizer:
  kind: whisper-hf
  transcriber: {{name: {checkpoints / "whisper"}}}
  emotion: {{kind: speech-emotion}}
responder: {{kind: smollm2}}
synthesizer: {{kind: kokoro, voice: af_bella}}
device: cpu
"""
    )
    return engine.load(f"cascade:{file}")


def test_a_file_makes_the_engine_that_it_describes(mixed, embedded, hub):
    assert mixed.name == "cascade:mixed" and isinstance(mixed, CascadeEngine)
    assert type(mixed.recognizer) is type(hub.recognizer) and type(mixed.responder) is type(embedded.responder)
    assert type(mixed.synthesizer) is type(embedded.synthesizer) and mixed.planner.guard is mixed.responder.guard


def test_it_is_an_engine_that_also_reads_aloud(hub):
    assert isinstance(hub, engine.Engine) and isinstance(hub, engine.SpeaksText)
    assert (hub.name, hub.hz) == ("hub", 24_000)
    assert sum(piece.seconds for piece in hub.speak("Good to see you.", Delivery("happy"))) > 0.5


def test_the_stages_are_timed_as_in_the_embedded_engine(hub, spoken):
    timings = list(hub.respond(Turn(spoken)))[-1].timings
    marks = [timings[name] for name in ("heard", "planned", "first_text", "first_speech", "done")]
    assert marks == sorted(marks) and 0 < timings["words"] + timings["tone"] < marks[0]


def test_when_the_gpu_is_full_the_error_says_what_to_do_and_the_next_turn_works(hub, monkeypatch):
    turn = Turn(None, transcript="Hello there.", emotion="neutral", speak=False)

    def full(*given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(hub.responder.model, "forward", full)
        with pytest.raises(EmotionOmniError, match=r"four_bit.*light") as caught:
            list(hub.respond(turn))
    assert caught.value.code == "memory"
    assert isinstance(list(hub.respond(turn))[-1], Done)


class Unclear:
    """A recognizer that makes out a tone but no words."""

    def __init__(self, label: str, confidence: float) -> None:
        rest = {"neutral": 1 - confidence} if label != "neutral" else {}
        self.heard = Heard("", emotion.mixture({label: confidence} | rest))

    def recognize(self, turn: Turn) -> Heard:
        return self.heard


class Remembering:
    """A responder that keeps the histories it is given."""

    def __init__(self) -> None:
        self.histories: list[tuple[Exchange, ...]] = []

    def reply(self, heard, plan, history=(), *, seed=0):
        assert heard.transcript, "there is nothing to respond to"
        self.histories.append(tuple(history))
        yield "I see."


EARLIER = (Exchange("My dog died.", "sad", "I am sorry."), Exchange("", "sad", "Could you say that again?"))


@pytest.mark.parametrize(("label", "confidence"), [("sad", 0.9), ("angry", 0.8), ("happy", 0.9), ("sad", 0.3)])
def test_speech_without_words_is_answered_with_a_question_in_its_tone(hub, label, confidence):
    engine = CascadeEngine(Unclear(label, confidence), hub.planner, Remembering(), hub.synthesizer)
    said = []
    for seed in range(3):
        events = list(engine.respond(Turn(tone(1), speak=False), seed=seed))
        plan = next(event for event in events if isinstance(event, Plan))
        said.append("".join(event.piece for event in events if isinstance(event, Text)))
        assert plan.news == "neutral" and isinstance(events[-1], Done)
    assert set(said) == {no_words_reply(label if confidence > 0.5 else "neutral", seed) for seed in range(3)}
    assert len(set(said)) == 3


def test_it_does_not_ask_twice_in_the_same_words(hub):
    engine = CascadeEngine(Unclear("sad", 0.9), hub.planner, Remembering(), hub.synthesizer)

    def said(earlier):
        return [event for event in engine.respond(Turn(tone(1), earlier, speak=False)) if isinstance(event, Text)]

    assert said(()) != said((Exchange("", "sad", "…"),))


class Deaf:
    """A recognizer that must not be asked."""

    def recognize(self, turn: Turn) -> Heard:
        raise AssertionError("heard before the voice was checked")


@pytest.mark.parametrize("voice", [VoiceSettings("af_nobody"), VoiceSettings(rate=9.0), VoiceSettings(intensity=-1)])
def test_a_voice_that_cannot_be_is_refused_before_anything_is_heard(hub, voice):
    engine = CascadeEngine(Deaf(), hub.planner, hub.responder, hub.synthesizer)
    with pytest.raises(EmotionOmniError) as caught:
        next(engine.respond(Turn(tone(1), voice=voice)))
    assert caught.value.code in ("unknown-voice", "delivery")


def test_a_turn_without_words_is_kept_out_of_the_history(hub):
    responder = Remembering()
    engine = CascadeEngine(hub.recognizer, hub.planner, responder, hub.synthesizer)
    list(engine.respond(Turn(None, EARLIER, transcript="He was old.", emotion="sad", speak=False)))
    assert responder.histories == [EARLIER[:1]]


def test_on_zero_gpu_a_turn_crosses_into_another_process_and_back(embedded, settings, monkeypatch, spoken):
    loans.give(monkeypatch)
    lent = CascadeEngine.load(settings)
    here = CascadeEngine(lent.recognizer, lent.planner, lent.responder, lent.synthesizer)
    assert fingerprint(lent.respond(Turn(spoken))) == fingerprint(here.respond(Turn(spoken)))
    with pytest.raises(EmotionOmniError, match="recording is silent") as caught:
        list(lent.respond(Turn(tone(1, level=0.0))))
    assert caught.value.code == "silent"
    assert list(lent.speak("Hello.", Delivery("calm")))


@pytest.mark.slow
def test_on_zero_gpu_models_are_loaded_onto_the_gpu_that_is_announced(embedded, settings):
    """By the package itself, which takes CUDA's place until a call is lent a GPU."""
    devices = loans.announced(
        "from emotion_omni.cascade.config import CascadeConfig; from emotion_omni.cascade.engine import CascadeEngine\n"
        "from dataclasses import replace\n"
        "hub = CascadeEngine.load(replace(CascadeConfig.from_json(sys.argv[1]), device='auto'))\n"
        "print(hub.responder.model.device, hub.recognizer.transcriber.model.device)",
        settings.to_json(),
    )
    assert devices == "cuda:0 cuda:0"


@pytest.mark.slow
def test_the_default_engine_opens_at_once_and_speaks_of_what_was_said():
    """The real language model of 1.5 billion parameters: fetched and prepared where it is not yet."""
    chosen = engine.load("embedded")
    turn = Turn(None, transcript="My old dog died this morning.", emotion="sad")
    first, again = (list(chosen.respond(turn)) for _ in range(2))
    pieces = [event.piece for event in first if isinstance(event, Text)]
    assert pieces[0] in {phrase for phrase, _ in every_opener()}
    assert isinstance(first[3], Speech)  # the opener is heard before the next words are written
    assert "dog" in "".join(pieces[1:]) and pieces == [event.piece for event in again if isinstance(event, Text)]
    refused = list(chosen.respond(replace(turn, transcript="I want to kill myself.")))
    assert [event.piece for event in refused if isinstance(event, Text)][0] == CRISIS[0]
