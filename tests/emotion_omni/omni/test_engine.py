"""The omni engine from a saved checkpoint: what it hears, plans, writes and says, and how it is chosen."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import loans
import numpy as np
import pytest
import soundfile
import tiny_omni
import torch
from conftest import EXAMPLES, noise
from engine_contract import fingerprint
from transformers import DynamicCache

from annotation.realtime.conversation import ChatTurn
from annotation.realtime.engine_pool import EnginePool, menu
from emotion_omni import audio, checkpoint, cli, emotion, engine
from emotion_omni.omni import encoders
from emotion_omni.omni.config import OmniConfig, SpeechDecoderConfig, TextSampling
from emotion_omni.response import safe_replies
from emotion_omni.response.safe_replies import CRISIS
from emotion_omni.synthesis import codec, cosyvoice2_folder
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.types import Audio, Delivery, Done, EmotionOmniError, Exchange, Heard, Plan, Speech, Text, Turn

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two checkpoints: one whole, one that has learnt to understand only."""
    folder = tmp_path_factory.mktemp("home")
    tiny_omni.save(folder / "checkpoints" / "tiny", knows=(1, 2))
    tiny_omni.save(folder / "checkpoints" / "mute", speaks=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOTION_OMNI_HOME", str(folder))
        patch.delenv(engine.CHECKPOINT, raising=False)
        tiny_omni.give_voice(patch, folder)
        yield folder


@pytest.fixture(scope="module")
def omni(embedded, home):
    return tiny_omni.load("tiny")


@pytest.fixture(scope="module")
def mute(embedded, home):
    return tiny_omni.load("mute")


@pytest.fixture(scope="module")
def query() -> Audio:
    return audio.decode(sorted(EXAMPLES.glob("*.wav"))[0])


def words(events) -> str:
    return "".join(event.piece for event in events if isinstance(event, Text))


def written(omni, said: str = "My cat is back.", tone: str = "happy", **more) -> list:
    return list(omni.respond(Turn(None, transcript=said, emotion=tone, **more)))


# --- one turn -----------------------------------------------------------------------------------------------


def test_it_is_named_after_its_checkpoint_and_can_read_aloud(omni):
    assert omni.name == "omni:tiny" and isinstance(omni, engine.Engine) and isinstance(omni, engine.SpeaksText)
    assert sum(piece.seconds for piece in omni.speak("Good to see you.", Delivery("happy"))) > 0.5
    assert list(omni.speak("?!", Delivery("happy"))) == []


def test_the_stages_of_a_turn_are_timed_in_their_order(omni, query):
    done = list(omni.respond(Turn(query)))[-1]
    stages = ["heard", "encoded", "prefilled", "planned", "first_text", "first_tokens", "first_speech", "done"]
    assert list(done.timings) == stages and list(done.timings.values()) == sorted(done.timings.values())


def test_speech_comes_before_the_text_has_ended(omni):
    kinds = [type(event) for event in written(omni)]
    last_text = len(kinds) - 1 - kinds[::-1].index(Text)
    assert Speech in kinds[:last_text]


def test_the_model_hears_the_voice_and_not_only_the_recognized_words(omni, query):
    turned = Audio(query.samples[::-1].copy(), query.hz)  # no words in it, and another tone
    told = {"transcript": "My cat is back.", "emotion": "happy", "speak": False}

    def answers(sound: Audio | None) -> list[str]:  # of a random model, which now and then says the same to both
        return [words(omni.respond(Turn(sound, **told), seed=seed)) for seed in range(6)]

    heard = answers(query)
    assert heard != answers(turned) and heard != answers(None), "a sound is not no sound"


def test_speech_without_words_is_answered_with_a_question(omni, query, monkeypatch):
    heard = Heard("", emotion.one_hot("sad"))
    monkeypatch.setattr(omni, "_hear", lambda turn: (heard, encoders.prepare(turn.audio)))
    earlier = (Exchange("", "sad", "Could you say that again?"),)
    said = [words(omni.respond(Turn(query, given, speak=False))).strip() for given in ((), earlier)]
    assert said == [safe_replies.no_words_reply("sad", 0), safe_replies.no_words_reply("sad", 1)]


def test_the_model_hears_a_recording_as_it_does_in_training(omni, query):
    """Training encodes ``encoders.prepare(recording)``; any other preparation would be unlike all training data."""
    quiet = Audio(np.concatenate([np.zeros(query.hz // 2, np.float32), query.samples * np.float32(0.1)]), query.hz)
    _, samples = omni._hear(Turn(quiet))
    assert np.array_equal(samples, encoders.prepare(quiet))


def test_what_a_person_corrects_reaches_the_model(omni, query):
    plain, said, felt = (
        words(omni.respond(Turn(query, speak=False, **told)))
        for told in ({}, {"transcript": "I won."}, {"emotion": "angry"})
    )
    assert len({plain, said, felt}) == 3
    asked = omni.respond(Turn(query, emotion="joy"))
    assert next(asked).emotion.label == "happy"
    asked.close()


def test_the_conversation_so_far_reaches_the_model(omni):
    earlier = (Exchange("My dog died.", "sad", "That hurts."),)
    assert words(written(omni, speak=False)) != words(written(omni, speak=False, earlier=earlier))


def test_the_plan_is_the_nearest_emotion_of_the_training_set(omni, mute):
    plans = {
        next(event for event in written(omni, tone=tone) if isinstance(event, Plan)).emotion for tone in emotion.NAMES
    }
    assert plans <= {"happy", "sad"}, "the two it knows"
    for tone in ("angry", "happy"):  # a model that knows none
        plan = next(event for event in written(mute, tone=tone) if isinstance(event, Plan))
        assert plan.emotion == emotion.answer_with(tone, "neutral")


def test_words_about_self_harm_are_answered_with_care_in_fixed_words(omni):
    events = written(omni, "I want to die.", "sad")
    assert words(events) in CRISIS and any(isinstance(event, Speech) for event in events)
    assert [event.emotion for event in events if isinstance(event, Plan)] == ["calm"]


def test_an_answer_of_blanks_is_replaced_by_one_of_ours(embedded, home):
    omni = tiny_omni.load("tiny")
    model = omni.model
    head = torch.nn.Linear(32, len(model.prompt_builder.tokenizer))
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[model.prompt_builder.encode(" ")[0]] = 50
    model.causal_lm.lm_head = head
    events = written(omni)
    assert len(words(events).strip()) > 20 and sum(isinstance(event, Plan) for event in events) == 1
    assert isinstance(events[-1], Done)


def test_every_piece_of_text_is_whole(omni):
    omni.generator.text_sampling = TextSampling(max_new_tokens=60, temperature=2.0)
    try:
        for seed in range(4):
            said = words(omni.respond(Turn(None, transcript="Hi", emotion="neutral", speak=False), seed=seed))
            assert said.encode() and "\ufffd" not in said and all(letter in "\n\t" or letter >= " " for letter in said)
    finally:
        omni.generator.text_sampling = tiny_omni.BRIEF


def test_what_holds_no_speech_is_refused_before_anything_is_said(omni):
    for sound, code in ((Audio(np.zeros(32_000, np.float32), 16_000), "silent"), (noise(2), "no-speech")):
        with pytest.raises(EmotionOmniError) as caught:
            next(omni.respond(Turn(sound, transcript="Hello", emotion="happy")))
        assert caught.value.code == code


@pytest.mark.parametrize("until", [Heard, Plan, Speech])
def test_barging_in_frees_what_was_remembered(omni, until):
    def remembered() -> int:
        gc.collect()
        return sum(isinstance(thing, DynamicCache) for thing in gc.get_objects())

    before = remembered()
    events = omni.respond(Turn(None, transcript="Hello", emotion="happy"))
    for event in events:
        if isinstance(event, until):
            break
    assert until is Heard or remembered() > before
    events.close()
    assert remembered() == before


# --- without a voice ----------------------------------------------------------------------------------------


def test_without_stage_two_it_answers_in_words(mute):
    events = written(mute)
    assert words(events).strip() and not any(isinstance(event, Speech) for event in events)
    with pytest.raises(EmotionOmniError, match="train speak") as caught:
        list(mute.speak("Hello", Delivery("happy")))
    assert caught.value.code == "no-voice"


def test_the_page_shows_the_words_of_a_model_without_a_voice(mute, query):
    turn = ChatTurn(query)
    for event in mute.respond(Turn(query)):
        turn.add(event)
    assert turn.reply.strip() and turn.speech is None and turn.planned


def test_a_voice_that_is_not_there_or_not_the_models_is_refused(monkeypatch, home, tmp_path):
    monkeypatch.setenv(cosyvoice2_folder.VARIABLE, str(tmp_path))
    paper, tiny = OmniConfig.preset("paper"), OmniConfig.preset("tiny")
    for load in (voice.load_vocoder, voice.load_tokenizer):
        with pytest.raises(
            EmotionOmniError, match=r"Run once: python -m emotion_omni convert cosyvoice2\. .*voice codec"
        ) as caught:
            load(paper.voice, paper.speech.codebook_size)
        assert caught.value.code == "missing"
        with pytest.raises(EmotionOmniError) as caught:
            load(paper.voice, paper.speech.codebook_size, folder=tmp_path)
        assert caught.value.code == "missing"
    other = OmniConfig.from_json(
        json.dumps(json.loads(tiny.to_json()) | {"speech": {"width": 32, "heads": 2, "codes": 900}})
    )
    assert isinstance(other.speech, SpeechDecoderConfig)
    for load in (voice.load_vocoder, voice.load_tokenizer):
        with pytest.raises(EmotionOmniError, match="900.*1024") as caught:
            load(other.voice, other.speech.codebook_size)
        assert caught.value.code == "config"
    for name in ("codec", "units"):  # checkpoints of earlier releases call it units
        assert isinstance(voice.load_vocoder(name, tiny.speech.codebook_size), codec.CodecVocoder)
        assert isinstance(voice.load_tokenizer(name, tiny.speech.codebook_size), codec.CodecTokenizer)


# --- choosing it --------------------------------------------------------------------------------------------


def test_a_checkpoint_without_a_name_is_plainly_omni(embedded, home, tmp_path):
    about = checkpoint.read_about(home / "checkpoints" / "mute")
    model, _ = checkpoint.load("mute")
    nameless = checkpoint.save(tmp_path / "one", model, checkpoint.About(**{**about.__dict__, "name": "", "files": {}}))
    assert engine.load(f"omni:{nameless}").name == "omni"


@pytest.mark.parametrize(
    ("name", "given", "code", "says"),
    [
        ("omni", None, "checkpoint", "Here there are: .*tiny"),
        ("omni:nowhere", None, "checkpoint", "nowhere"),
        ("fake:x", None, "unknown-engine", "embedded"),
        ("fake", "tiny", "checkpoint", "no other checkpoint"),
        ("omni:tiny", "mute", "checkpoint", "no other checkpoint"),
        ("loud", None, "unknown-engine", "omni"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_what_can(home, name, given, code, says):
    with pytest.raises(EmotionOmniError, match=says) as caught:
        engine.load(name, given)
    assert caught.value.code == code


def test_the_environment_names_the_engine_to_begin_with(embedded, home, monkeypatch):
    monkeypatch.delenv(engine.HUB, raising=False)
    assert engine.default() == "embedded"
    monkeypatch.setenv(engine.HUB, "light")
    assert engine.default() == "hub"
    monkeypatch.setenv(engine.CHECKPOINT, "mute")
    assert engine.default() == engine.offered()[0] == "omni:mute"
    assert engine.load("omni").name == "omni:mute"
    monkeypatch.setenv(engine.CHECKPOINT, str(home / "checkpoints" / "mute"))
    assert engine.default() == "omni", "where a folder lies is not for visitors"


def test_warming_up_leaves_nothing_behind(omni, query):
    before = fingerprint(omni.respond(Turn(query)))
    omni._warm_up()
    assert fingerprint(omni.respond(Turn(query))) == before


def test_on_zero_gpu_a_turn_is_heard_here_and_answered_on_loan(omni, home, monkeypatch, query):
    here = fingerprint(omni.respond(Turn(query)))
    loans.give(monkeypatch)
    assert [name for name in engine.offered() if name.startswith("omni")] == [], (
        "only what the page began with has the GPU"
    )
    lent = tiny_omni.load("tiny")
    assert fingerprint(lent.respond(Turn(query))) == here
    with pytest.raises(EmotionOmniError, match="silent"):
        list(lent.respond(Turn(Audio(np.zeros(16_000, np.float32), 16_000))))
    assert list(lent.speak("Hello.", Delivery("calm")))


@pytest.mark.slow
def test_on_zero_gpu_the_model_is_loaded_onto_the_gpu_that_is_announced(embedded, home):
    devices = loans.announced(
        "from emotion_omni import engine\n"
        "omni = engine.load('omni', sys.argv[1])\n"
        "print({value.device.type for value in omni.model.parameters()}, omni.semantic.device)",
        str(home / "checkpoints" / "tiny"),
    )
    assert devices == "{'cuda'} cuda"


def test_the_menu_lists_every_checkpoint(home, monkeypatch):
    monkeypatch.delenv("EMOTION_OMNI_HUB", raising=False)
    offered = menu("embedded")
    assert offered[0] == "embedded" and {"omni:tiny", "omni:mute", "fake"} <= set(offered) and "omni" not in offered
    assert len(offered) == len(set(offered)) and menu("omni:user/one")[0] == "omni:user/one"
    monkeypatch.setenv("EMOTION_OMNI_HUB", "light")
    assert "hub" in menu("embedded")


def test_visitors_load_nothing_that_is_not_offered(home):
    loaded = []
    engines = EnginePool(loaded.append, also="omni:user/one")
    for name in ("omni:user/other", f"omni:{home / 'checkpoints' / 'tiny'}", "omni", "../tiny"):
        with pytest.raises(EmotionOmniError, match="not offered here"):
            engines.get(name)
    for name in ("omni:user/one", "omni:tiny", "fake"):
        engines.get(name)
    assert loaded == ["omni:user/one", "omni:tiny", "fake"]


def test_choosing_an_engine_needs_no_torch(home):
    code = (
        "import sys, emotion_omni.cli, emotion_omni.engine as e; assert 'omni:tiny' in e.offered(); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys, embedded, home):
    def call(*arguments: str) -> tuple[int, list[dict], str]:
        status = cli.main([*arguments, "--json"])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return call


def test_talk_writes_the_reply_of_a_checkpoint(run, tmp_path):
    file = str(sorted(EXAMPLES.glob("*.wav"))[0])
    status, (row,), _ = run("talk", file, "--checkpoint", "tiny", "--out", str(tmp_path / "reply.wav"))
    sound = soundfile.info(str(tmp_path / "reply.wav"))
    assert status == 0 and row["transcript"] and row["reply"]["text"] and "prefilled" in row["timings"]
    assert sound.samplerate == 24_000 and sound.frames > 0


def test_talk_says_why_there_is_no_sound(run, tmp_path):
    status, rows, err = run(
        "talk", str(sorted(EXAMPLES.glob("*.wav"))[0]), "--engine", "omni:mute", "--out", str(tmp_path / "r.wav")
    )
    assert status == 1 and rows[0]["error"]["code"] == "no-voice" and "text only" in err


def test_a_checkpoint_goes_with_no_other_engine(run, capsys):
    with pytest.raises(SystemExit) as wrong:
        run("hear", "q.wav", "--engine", "fake", "--checkpoint", "tiny")
    assert wrong.value.code == 2 and "--engine fake" in capsys.readouterr().err
