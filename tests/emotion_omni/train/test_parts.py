"""The trainers of the small parts run from data to a weights file."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EXAMPLES
from safetensors.torch import load_file

from emotion_omni import emotion
from emotion_omni.recognition.speech_emotion import HeadConfig, SpeechEmotionHead
from emotion_omni.train import g2p, guard, recognizer, responder
from emotion_omni.train.emotion_corpus import Clip, report
from emotion_omni.train.part_settings import G2PSettings, GuardSettings, RecognizerSettings, ResponderSettings
from emotion_omni.types import EmotionOmniError

CORPUS = Path(responder.__file__).with_name("replies.jsonl.gz")


@pytest.fixture
def few_replies(tmp_path) -> Path:
    """Sixty rows of the reply corpus."""
    rows = random.Random(0).sample(responder.read_rows(CORPUS), 60)
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_responder_learns_from_a_few_replies(few_replies, tmp_path):
    settings = ResponderSettings(rank=2, alpha=4, epochs=1, batch_size=8, validation_ratio=0.2, learning_rate=1e-3)
    log = responder.train(few_replies, tmp_path / "out", settings)
    assert log["validation_loss"][1] < log["validation_loss"][0] and sum(log["rows"].values()) == 60
    tensors = load_file(tmp_path / "out" / "responder.safetensors")
    assert {name.rpartition(".")[2] for name in tensors} == {"lora_A", "lora_B"}
    assert json.loads((tmp_path / "out" / "responder.log.json").read_text()) == log


def test_the_responders_learning_rate_warms_up_and_falls_to_a_tenth():
    rates = [responder.learning_rate_factor(step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]) and max(rates) == 1
    assert rates[52] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 47 / 95))) and 0.1 < rates[-1] < 0.101


@pytest.mark.slow
def test_the_guard_learns_from_a_few_sentences(few_replies, tmp_path):
    events = tmp_path / "events.tsv"
    lines = Path(guard.__file__).with_name("events.tsv").read_text(encoding="utf-8").splitlines()
    events.write_text("\n".join(lines[:60]) + "\n", encoding="utf-8")
    log = guard.train(guard.GuardData(few_replies, events), tmp_path / "out", GuardSettings(epochs=1))
    assert {"own words", "own events", "own replies"} <= log.keys()
    tensors = load_file(tmp_path / "out" / "guard.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"words", "reply", "tuned"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_events_are_read_in_the_encodings_of_other_programs(tmp_path, encoding):
    text = "good\tMy fiancé said yes\r\n" + "bad\tIt broke\r\n" * 10
    (tmp_path / "events.tsv").write_bytes(text.encode(encoding))
    found = guard.own_events(tmp_path / "events.tsv")
    assert found[True][0][0] == "My fiancé said yes" and len(found[True]) == 10 and len(found[False]) == 1


@pytest.mark.parametrize("line", ["good", "great\tx", "good\t", "good x"])
def test_an_event_without_label_or_text_is_named(tmp_path, line):
    (tmp_path / "events.tsv").write_text(f"bad\tIt\u2028broke\n{line}\n", encoding="utf-8")
    with pytest.raises(EmotionOmniError, match=r"Line 2 of events\.tsv"):
        guard.own_events(tmp_path / "events.tsv")


@pytest.mark.slow
def test_g2p_learns_from_a_few_words(tmp_path, monkeypatch):
    words = ["".join(random.Random(index).choices("abcdefghij", k=6)) for index in range(600)]
    monkeypatch.setattr(g2p, "read_lexicon", lambda: {word: word[:4] for word in words})
    monkeypatch.setattr(g2p, "VALIDATION_WORDS", 5)
    monkeypatch.setattr(g2p, "BATCH", 64)
    log = g2p.train(tmp_path, G2PSettings(epochs=1))
    assert log["validation"]["words"] == 5 and (tmp_path / "g2p.safetensors").is_file()


def test_levenshtein_distance():
    assert g2p.distance("kitten", "sitting") == 3 and g2p.distance("", "abc") == 3 and g2p.distance("a", "a") == 0
    assert g2p.distance(["well", "done"], ["well"]) == 1


@pytest.mark.slow
def test_the_recognizer_learns_from_a_few_clips(tmp_path):
    clips = sorted(EXAMPLES.glob("*.wav"))
    rows = []
    for split, copies in (("train", 8), ("dev", 1), ("test", 1)):
        for _ in range(copies):
            for number, clip in enumerate(clips):
                rows.append([clip, ("sad", "happy", "angry", "neutral")[number], f"s{split}", "own", split])
    with open(tmp_path / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "emotion", "speaker", "source", "split"], *rows])
    log = recognizer.train([tmp_path], tmp_path / "out", tmp_path / "cache", RecognizerSettings(examples_each=2))
    kind = "trained corpora, 0 earlier turns"
    assert log["clips"] == {"train": 32, "dev": 4, "test": 4} and log["test"][kind]["uar"] > 0.5
    saved = recognizer.evaluate([tmp_path], tmp_path / "out" / "speech_emotion.safetensors", tmp_path / "cache")
    assert saved["test"][kind]["confusion"] == log["test"][kind]["confusion"]


def corpus(rows: list[tuple[str, str, str]]) -> recognizer.Corpus:
    """Of (emotion, source, speaker), with random means."""
    clips = [Clip(Path("x"), name, source, "train", speaker) for name, source, speaker in rows]
    means = np.random.default_rng(0).normal(size=(len(rows), HeadConfig().features))
    return recognizer.Corpus.of(clips, means)


def test_earlier_turns_are_other_clips_of_the_same_speaker():
    found = corpus([("sad", "a", "1"), ("happy", "a", "1"), ("sad", "a", "1"), ("sad", "a", "2")])
    pool = recognizer.by_speaker(found, np.arange(4))["a/1"]
    rng = np.random.default_rng(0)
    assert sorted(recognizer.earlier_turns(found, 0, pool, 9, rng)) == [1, 2]
    for _ in range(10):
        assert len(set(found.labels[recognizer.earlier_turns(found, 0, pool, 9, rng, same_mood=True)])) == 1


def test_an_emotion_that_a_corpus_lacks_takes_no_part_in_its_loss():
    """Corpus a has no calm clips: nothing it holds may push the logit of calm down."""
    rows = [("sad", "a", "1"), ("happy", "a", "1")] * 4
    found = corpus(rows)
    head = recognizer.fit(found, np.arange(8), RecognizerSettings(examples_each=1, iterations=5))
    names = list(emotion.NAMES)
    assert head.classifier.bias[names.index("calm")].abs() < 1e-6
    assert head.classifier.weight[names.index("sad")].abs().sum() > 0


def test_one_corpus_unlike_all_others_sets_the_slope_more_than_the_temperature_if_it_lies_far_out():
    labels = torch.arange(8).repeat(50)
    logits = torch.eye(8)[labels] * 8 + torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    usual = (logits, logits, torch.ones(400), labels)
    near, far = SpeechEmotionHead(HeadConfig()), SpeechEmotionHead(HeadConfig())
    for head, distance in ((near, 1.0), (far, 4.0)):
        strange = (logits * 3, logits * 3, torch.full((400,), distance), labels.roll(1))
        recognizer.calibrate(head, [usual, usual, usual, usual, strange])
    assert near.distance[1] == 0 and far.distance[1] > 0
    assert far.temperature.max() < 1 < near.temperature.min()


def test_the_temperature_rises_with_the_distance_where_errors_do_and_else_not():
    head, rng = SpeechEmotionHead(HeadConfig()), torch.Generator().manual_seed(0)
    labels, distance = torch.arange(8).repeat(50), torch.linspace(0.5, 2, 400)
    right = torch.eye(8)[labels] * 4 + torch.randn(400, 8, generator=rng)
    guessed = torch.where((distance > 1.5)[:, None], right[torch.randperm(400, generator=rng)], right)
    recognizer.calibrate(head, [(guessed, guessed, distance, labels)])
    assert head.distance[0] == pytest.approx(distance.quantile(recognizer.FAR)) and head.distance[1] > 0
    recognizer.calibrate(head, [(right, right, distance, labels)])
    assert head.distance[1] == 0


def test_the_report_averages_recall_over_emotions():
    clips = [
        Clip(Path("x"), name, source, "test")
        for name, source in (("sad", "a"), ("sad", "a"), ("sad", "b"), ("happy", "b"))
    ]
    probabilities = torch.full((4, len(emotion.NAMES)), 0.01)
    for row, name in enumerate(("sad", "sad", "angry", "happy")):
        probabilities[row, emotion.NAMES.index(name)] = 0.93
    found = report(probabilities, clips)
    assert found["uar"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-4) and found["accuracy"] == 0.75
    assert found["uar_by_corpus"] == {"a": 1.0, "b": 0.5} and found["confusion"]["sad"]["angry"] == 1
