"""Spoiled weights of real parts are refused by the gate, each for the right reason, and by few items."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from emotion_omni import emotion
from emotion_omni.cascade import presets
from emotion_omni.evaluate import critic, gate
from emotion_omni.evaluate.figures import Sample
from emotion_omni.evaluate.measure import Measure, Outcome, Sources
from emotion_omni.evaluate.measures import recognition, replies, voice
from emotion_omni.evaluate.subject import Subject
from emotion_omni.recognition import speech_emotion
from emotion_omni.response import reply_bank
from emotion_omni.response.config import RerankedConfig, SmolLM2Config
from emotion_omni.response.smollm2_responder import SHIPPED as ADAPTER
from emotion_omni.types import Delivery

pytestmark = pytest.mark.slow


def refused(child, parent, *measures: Measure, sources: Sources | None = None, monkeypatch) -> gate.Verdict:
    monkeypatch.setattr(gate.registry, "MEASURES", measures)
    verdict = gate.check(child, parent, "quick", sources or Sources(), parent.cache, lambda text: None, measures)
    assert not verdict.passes and not verdict.unjudged
    return verdict


def small(measure: Measure, size: int, run=None) -> Measure:
    return replace(measure, sizes={"quick": size}, run=run or measure.run)


def with_tensors(source: Path, target: Path, change) -> str:
    with safetensors.safe_open(source, "np") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    safetensors.numpy.save_file(change(tensors), target, metadata=metadata)
    return str(target)


@pytest.mark.data
def test_a_recognizer_with_permuted_labels(embedded, speech_packs, tmp_path, monkeypatch):
    def permuted(tensors):
        order = np.roll(np.arange(len(emotion.NAMES)), 3)
        rows = ("classifier.weight", "classifier.bias")
        return tensors | {name: np.ascontiguousarray(tensors[name][order]) for name in rows}

    file = with_tensors(speech_emotion.SHIPPED, tmp_path / "speech_emotion.safetensors", permuted)
    base = presets.embedded()
    child = replace(base, recognizer=replace(base.recognizer, weights=file))
    subjects = Subject("child", tmp_path, child), Subject("parent", tmp_path, base)
    sources = Sources(tuple(speech_packs[:1]))
    verdict = refused(*subjects, small(recognition.MEASURE, 12), sources=sources, monkeypatch=monkeypatch)
    assert any(one.startswith("recognition, UAR, a stranger's first turn") for one in verdict.lost)


def test_a_bank_whose_replies_are_shuffled(embedded, tmp_path, monkeypatch):
    with safetensors.safe_open(reply_bank.SHIPPED, "np") as opened:
        turns, vectors = json.loads(opened.metadata()["turns"]), opened.get_tensor("vectors")
    order = np.random.default_rng(0).permutation(len(turns))
    shuffled = [[*turn[:3], turns[other][3]] for turn, other in zip(turns, order, strict=True)]
    file = tmp_path / "reply_bank.safetensors"
    safetensors.numpy.save_file({"vectors": vectors}, file, metadata={"turns": json.dumps(shuffled)})
    base = replace(presets.embedded(), responder=RerankedConfig(written=0))
    child = replace(base, responder=replace(base.responder, bank=str(file)))
    subjects = Subject("child", tmp_path, child), Subject("parent", tmp_path, base)
    verdict = refused(*subjects, small(replies.MEASURE, 0), monkeypatch=monkeypatch)
    assert any(one.startswith("replies, makes sense as an answer") for one in verdict.lost)


def test_a_reply_adapter_with_shuffled_rows(embedded, tmp_path, monkeypatch):
    def shuffled(tensors):
        rng = np.random.default_rng(0)
        return {name: np.ascontiguousarray(rng.permutation(value)) for name, value in tensors.items()}

    file = with_tensors(ADAPTER, tmp_path / "responder.safetensors", shuffled)
    base = replace(presets.embedded(), responder=SmolLM2Config())
    subjects = (
        Subject("child", tmp_path, replace(base, responder=SmolLM2Config(weights=file))),
        Subject("parent", tmp_path, base),
    )
    verdict = refused(*subjects, small(replies.MEASURE, 60), monkeypatch=monkeypatch)
    assert any(one.startswith("replies, speaks marks of its prompt") for one in verdict.lost)


def test_a_voice_without_prosody(embedded, tmp_path, monkeypatch):
    flat = tmp_path / "prosody.json"
    flat.write_text(json.dumps({"version": 1, "emotions": {name: {} for name in emotion.NAMES}}))
    base = presets.embedded()
    child = replace(base, synthesizer=replace(base.synthesizer, prosody=str(flat)))
    subjects = Subject("child", tmp_path, child), Subject("parent", tmp_path, base)

    def heard_alone(run):
        """Of the figures of the voice only what the second recognizer hears, of two sentences."""
        clips = [
            voice.Clip("", label, 1.0, text, run.subject.speak(text, Delivery(label)))
            for label in emotion.NAMES
            for text in voice.SENTENCES[:2]
        ]
        recognizer = voice.FunctionalsRecognizer.load()
        found = voice.synthesis.judge(recognizer, clips, run.say, "second recognizer")
        rows = [(one, float(found[one].label == one.emotion)) for one in clips]
        return Outcome(
            [Sample("heard", f"{c.emotion} {c.sentence}", v, group=c.emotion, stratum=c.emotion) for c, v in rows]
        )

    verdict = refused(*subjects, small(voice.MEASURE, 2, heard_alone), monkeypatch=monkeypatch)
    (lost,) = verdict.lost
    assert lost.startswith("voice, the emotion meant is heard")


def test_the_critic_tells_sense_and_direction():
    judged = critic.Critic.load().judge(
        [
            critic.Answered("my dog died this morning", "sad", "i am so sorry. how long did you have him?"),
            critic.Answered("my dog died this morning", "sad", "congratulations, you must be so proud!"),
            critic.Answered("i won the race", "happy", "congratulations, you must be so proud!"),
            critic.Answered("i won the race", "happy", "i am so sorry for your loss."),
            critic.Answered("i won the race", "happy", "the the tax over blue if sandwich was. refund spoon"),
        ]
    )
    assert judged[0]["direction"] > judged[1]["direction"] and judged[2]["direction"] > judged[3]["direction"]
    assert judged[2]["sense"] > judged[4]["sense"] and judged[0]["explorations"] > judged[2]["explorations"]
