"""Learning from ratings: methods take steps, resume on the same curve, and leave the parent alone without cause."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from emotion_omni import emotion
from emotion_omni.rating_contract import CONTRACT, TABLES
from emotion_omni.recognition.speech_emotion import HeadConfig, SpeechEmotionHead
from emotion_omni.response.reranker import ReplyScorer, Reranker
from emotion_omni.response.sentence_encoder import WIDTH
from emotion_omni.train.feedback import loop, parent, process, recognizer, reward, run, status, writer
from emotion_omni.train.feedback.settings import FeedbackSettings
from emotion_omni.types import EmotionOmniError

WORDS = ("tea", "rain", "garden", "letter", "bus", "window")


def row(number: int, table: str, **more):
    """A row of an export: raters like answers that name a thing."""
    thing = WORDS[number % len(WORDS)]
    values = dict.fromkeys(TABLES[table]) | {
        "transcript": f"I had a day, the {number}th.",
        "emotion": "sad or calm",
        "event": "bad",
        "history": [],
        "split": "train",
        "judged_from": "text",
        "family": f"f{number}",
        "raters": ["r1", "r2"],
        "source": "comparison",
        "margin": 1.0,
        "flip_rate": 0.1,
        "same_words": False,
        "label": number % 2 == 0,
        "chosen": [{"role": "assistant", "content": f"There is {thing} for you, number {number}."}],
        "rejected": [{"role": "assistant", "content": f"Number {number} is what it is."}],
        "completion": [{"role": "assistant", "content": f"There is {thing}, number {number}."}],
        "reply": f"There is {thing}.",
    }
    return values | more


def export(folder: Path, split: str = "training", rows: int = 30) -> Path:
    folder.mkdir(parents=True)
    lines = [json.dumps(row(n, "dpo")) + "\n" for n in range(rows)]
    (folder / "dpo.jsonl").write_text("".join(lines))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    manifest = {"contract": CONTRACT, "split": split, "study": "s1", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def encode(texts):
    """Each word has a vector of its own; that of a text is their sum."""
    return torch.stack([_vector(text) for text in texts])


def _vector(text):
    seeds = [int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) for word in text.lower().strip(".").split()]
    found = sum(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds)
    return torch.nn.functional.normalize(found, dim=0)


def reranker() -> Reranker:
    torch.manual_seed(0)
    return Reranker(encode, ReplyScorer())


def rewards(rows, **settings) -> reward.RewardLearner:
    chosen = replace(FeedbackSettings(max_steps=40), **settings).of("reward")
    return reward.RewardLearner(rows, reranker(), chosen, lambda text, tone: "bad")


def go(learner, folder, identity=None):
    folder.mkdir(exist_ok=True)
    return loop.run(learner, folder, learner.settings, identity or {}, status.Status("running"))


def test_a_reranker_learns_what_raters_prefer_and_keeps_its_shape(tmp_path):
    rows = [row(n, "dpo") for n in range(40)]
    learner = rewards(rows)
    course, stopped = go(learner, tmp_path)
    assert not stopped and course.best_step and learner.is_better(course.first, learner.evaluate())
    assert learner.evaluate()["agreement"] == 1
    learner.save(tmp_path)
    child, before = Reranker.load(tmp_path / "reranker.safetensors", encode), reranker()
    inputs = Reranker.inputs([reward.situation_of(rows[0], lambda *_: "bad")] * 2, ["Some tea.", "It is."], encode)
    with torch.no_grad():
        wanted = before.scorer(*inputs) + learner.module(reward.features_of(before.scorer, inputs))
        assert torch.allclose(child.scorer(*inputs), wanted, atol=0.02)  # saved in half precision


def test_random_ratings_leave_the_parent_as_it_is():
    """Of 20 sets of ratings at random, about one looks like a pattern."""
    fooled = 0
    for seed in range(20):
        rows = [row(n, "dpo") for n in range(60)]
        for n in torch.randperm(60, generator=torch.Generator().manual_seed(seed)).tolist()[:30]:
            rows[n]["chosen"], rows[n]["rejected"] = rows[n]["rejected"], rows[n]["chosen"]
        fooled += rewards(rows).is_better({}, {})
    assert fooled <= 4  # more by chance in 1 of 400


def test_a_stopped_run_goes_on_with_the_same_curve(tmp_path):
    rows = [row(n, "dpo") for n in range(30)]
    whole, halted, resumed = rewards(rows), rewards(rows), rewards(rows)
    go(whole, tmp_path / "whole")
    original = halted.losses

    def losses(step):
        if step == 17:
            (tmp_path / "halted" / status.CANCEL).touch()
        return original(step)

    halted.losses = losses
    course, stopped = go(halted, tmp_path / "halted", {"parent": "p"})
    assert stopped and course.step == 18
    (tmp_path / "halted" / status.CANCEL).unlink()
    with pytest.raises(EmotionOmniError, match="started with parent"):
        go(rewards(rows), tmp_path / "halted", {"parent": "another"})
    go(resumed, tmp_path / "halted", {"parent": "p"})
    for name, value in whole.module.named_parameters():
        assert torch.equal(value, dict(resumed.module.named_parameters())[name])
    assert status.curve(tmp_path / "whole") == status.curve(tmp_path / "halted")


@pytest.fixture
def tiny():
    """SmolLM2's kind of network with random weights and an adapter, and a tokenizer of letters."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    class Letters:
        def encode(self, text):
            return type("Encoded", (), {"ids": [ord(letter) % 128 for letter in text]})

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=128, **sizes))
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)  # the parent's adapter is no fresh one
    return model, Letters()


@pytest.mark.parametrize("method", ["dpo", "kto", "sft"])
def test_the_writer_moves_towards_what_raters_prefer(tiny, tmp_path, method):
    model, tokenizer = tiny
    rows = [row(n, method) for n in range(24)]
    settings = FeedbackSettings(max_steps=12, batch_size=6, learning_rate=2e-2, anchor=0.1).of(method)
    learner = writer.LEARNERS[method](rows, model, tokenizer, 2.0, settings, lambda text, tone: "bad")
    before = learner.evaluate()
    if method == "dpo":  # the reference is the parent itself, so nothing has moved yet
        assert before["preference"] == pytest.approx(0.69, abs=0.25)
    course, _ = go(learner, tmp_path)
    assert course.best_step and learner.evaluate()["loss"] < before["loss"]
    learner.save(tmp_path)
    assert (tmp_path / writer.FILE).is_file()
    learner.reset()
    assert learner.evaluate()["loss"] == pytest.approx(before["loss"], abs=1e-3)


def test_a_recognizer_learns_corrected_emotions_and_answers_as_before_elsewhere(tmp_path, monkeypatch):
    torch.manual_seed(0)
    head = SpeechEmotionHead(HeadConfig(states=2, width=8))
    old = recognizer.Rehearsal(torch.randn(6, 16), 0.3 * torch.randn(3, 16), torch.full((16,), 0.1))
    monkeypatch.setattr(recognizer.Rehearsal, "load", classmethod(lambda cls: old))
    centres, names, labels = torch.randn(2, 16) * 2, ("angry", "fearful"), [0, 1] * 30
    means = torch.stack([centres[label] for label in labels]) + 0.3 * torch.randn(60, 16)
    soft = [[0.85 if name == names[label] else 0.15 / 7 for name in emotion.NAMES] for label in labels]
    rows = [
        row(n, "emotion", label=names[label], reliable_label=soft[n], label_weight=3.0, speaker=f"p{n % 5}")
        for n, label in enumerate(labels)
    ]
    settings = FeedbackSettings(learning_rate=5e-2, max_steps=60).of("recognizer")
    learner = recognizer.RecognizerLearner(rows, means, head, settings)
    course, _ = go(learner, tmp_path)
    assert learner.evaluate()["recall"] > max(course.first["recall"], 0.8)
    assert learner.details()["rehearsal_same_answer"] > 0.7


def test_what_cannot_be_trained_is_refused_in_a_line(tmp_path):
    few = run.Request(str(export(tmp_path / "few", rows=3)), "embedded", "reward")
    with pytest.raises(EmotionOmniError, match="reward needs at least 20 rows, and the export has 3"):
        run.prepare(few, FeedbackSettings())
    locked = run.Request(str(export(tmp_path / "locked", split="evaluation")), "embedded", "reward")
    with pytest.raises(EmotionOmniError, match="nothing may be trained on them"):
        run.prepare(locked, FeedbackSettings())
    with pytest.raises(EmotionOmniError, match="is no parent"):
        parent.find(str(tmp_path / "nowhere"), "reward")
    found = run.dry_run(run.Request(str(export(tmp_path / "ok")), "embedded", "dpo"), FeedbackSettings())
    assert found["rows"]["taken"] == {"dpo": 30} and found["estimated_seconds"] > 0


def test_a_run_whose_process_has_died_is_interrupted_and_a_child_inherits(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path))
    folder = process.folder_of("one")
    folder.mkdir(parents=True)
    status.put(folder, status.Status("running", step=3, steps=9, method="reward"))
    assert status.read(folder).state == "interrupted" and process.listed()[0][0] == "one"
    with status.running(folder):
        assert status.read(folder).state == "running"
        with pytest.raises(EmotionOmniError, match="running"):
            process.remove("one")
        process.cancel("one")
    assert (folder / status.CANCEL).exists()
    with pytest.raises(EmotionOmniError, match="cannot name a run"):
        process.folder_of("../one")
    (folder / "responder.safetensors").write_bytes(b"weights")
    found = parent.find(str(folder), "reward")
    found.inherit(tmp_path, "reranker.safetensors")
    assert (tmp_path / "responder.safetensors").read_bytes() == b"weights"
    assert found.identity != parent.find("embedded", "reward").identity
