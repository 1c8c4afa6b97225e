"""Stock readers and trainers read the files."""

from __future__ import annotations

import gzip
import hashlib
import socket

import pytest
from export_desk import (
    Desk,
    answered,
    asked,
    comparison,
    first_value,
    prefers,
    scores,
    small,
)

from annotation.export.writing import export_study


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Reads a configuration of a folder, with a cache of its own and no way out to any network."""
    datasets = pytest.importorskip("datasets")

    def refuse(*_):
        raise AssertionError("A reader of local files has called the network.")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return lambda folder, name: datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))


def test_stock_datasets_reads_every_configuration(desk, tmp_path, offline):
    import datasets

    study, out = small(desk), tmp_path / "out"
    manifest = export_study(desk.studio, study, out)
    for name in ("ratings", "items", "dpo", "kto", "reward"):
        found = offline(out, name)["train"]
        assert found.num_rows == manifest.rows[f"{name}.parquet"]
        if name != "ratings":
            path = str(out / f"{name}.jsonl")
            as_lines = datasets.load_dataset("json", data_files=path, cache_dir=str(tmp_path / "cache"))["train"]
            assert as_lines.sort("item").to_list() == found.select_columns(as_lines.column_names).sort("item").to_list()
    empty = desk.study("emotion-recognition", [desk.item({"speech": "Not rated."})], split="evaluation")
    export_study(desk.studio, empty, tmp_path / "empty")
    assert offline(tmp_path / "empty", "items")["test"].num_rows > 0
    study = desk.study(
        "emotion-recognition", [desk.item({"speech": f"Speech number {n}, all different."}) for n in range(2)]
    )
    desk.rate(study, lambda item, screen: asked(screen, first_value))
    export_study(desk.studio, study, tmp_path / "emotions")
    found = offline(tmp_path / "emotions", "emotion")["train"]
    assert isinstance(found.features["audio"], datasets.Audio) and found.features["audio"].sampling_rate == 16_000
    row = found.cast_column("audio", datasets.Audio(decode=False))[0]
    assert hashlib.sha256(row["audio"]["bytes"]).hexdigest() == row["audio_sha256"][0]


def test_a_column_whose_first_rows_are_empty_keeps_its_type(desk, tmp_path, offline):
    """Otherwise a file would be read as far as its first value, and then refused."""
    study = small(desk)
    export_study(desk.studio, study, tmp_path / "out")
    found = offline(tmp_path / "out", "dpo")["train"]
    assert set(found["chosen_emotion"]) == {None} and found.features["chosen_emotion"].dtype == "string"
    assert found.features["chosen_seed"].dtype == "int64"


@pytest.fixture(scope="module")
def tiny():
    """A Llama of a few thousand random weights and a tokenizer of bytes, made on the spot."""
    pytest.importorskip("trl")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({letter: n for n, letter in enumerate([*letters, "<end>", "<pad>"])}, []))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }

    def model(kind: str):
        torch.manual_seed(0)
        made, labels = (
            (LlamaForSequenceClassification, {"num_labels": 1}) if kind == "reward" else (LlamaForCausalLM, {})
        )
        return made(LlamaConfig(**size, **labels))

    return model, tokenizer


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Training files of every kind for text: a comparison, and answers with scores."""
    home = tmp_path_factory.mktemp("exported")
    desk = Desk(home / "home")
    compared = desk.study("compare", [comparison(desk, f"What a day number {n}.") for n in range(4)])
    for wanted in ("a", "a", "b"):
        desk.rate(compared, prefers(wanted))
    manifest = export_study(desk.studio, compared, home / "compared")
    about = {"event": "bad", "emotion": "sad"}
    scored = desk.study(
        "empathy", [answered(desk, f"I say this, the {n}th.", "Tell me more.", about=about) for n in range(4)]
    )
    for _ in range(2):
        desk.rate(scored, scores(5))
    export_study(desk.studio, scored, home / "scored")
    desk.studio.store.close()
    return home, manifest


@pytest.mark.slow  # imports TRL and trains
@pytest.mark.parametrize("kind", ["sft", "dpo", "kto", "reward"])
def test_one_step_of_the_trl_trainer_changes_the_weights(exported, tiny, tmp_path, offline, kind):
    import torch
    import trl

    (home, manifest), (make, tokenizer) = exported, tiny
    rows = offline(home / ("scored" if kind == "sft" else "compared"), kind)["train"]
    trainer_of, config_of = {
        "sft": (trl.SFTTrainer, trl.SFTConfig),
        "dpo": (trl.DPOTrainer, trl.DPOConfig),
        "kto": (trl.KTOTrainer, trl.KTOConfig),
        "reward": (trl.RewardTrainer, trl.RewardConfig),
    }[kind]
    more = {"kto": manifest.kto_weights}
    if kind == "dpo":
        more["dpo"] = {"loss_type": ["robust"], "label_smoothing": manifest.label_smoothing}
    settings = config_of(
        output_dir=str(tmp_path / "run"),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
        max_length=256,
        **more.get(kind, {}),
    )
    model = make(kind)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    reference = {"ref_model": make(kind)} if kind in ("dpo", "kto") else {}
    trainer = trainer_of(model=model, args=settings, train_dataset=rows, processing_class=tokenizer, **reference)
    loss = trainer.train().training_loss
    assert torch.isfinite(torch.tensor(loss)) and loss > 0
    assert any(not torch.equal(weight.detach(), before[name]) for name, weight in model.named_parameters())


def test_our_own_trainer_reads_the_conversations(exported, tmp_path):
    from emotion_omni.train import responder as answer

    class Letters:
        def encode(self, text):
            return type("Encoded", (), {"ids": [ord(letter) for letter in text]})

    home, _ = exported
    path = tmp_path / "sft.jsonl.gz"
    path.write_bytes(gzip.compress((home / "scored/sft.jsonl").read_bytes()))
    rows = answer.read_rows(path)
    assert len(rows) == 4
    for row in rows:
        ids, labels = answer.encode(row, Letters())
        prompt = "".join(chr(one) for one, label in zip(ids, labels, strict=True) if label == answer.IGNORED)
        assert "(sad, bad) I say this" in prompt
        assert "".join(map(chr, labels[len(prompt) :])).startswith("Tell me more.")
