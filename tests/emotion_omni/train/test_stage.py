"""Whole runs: what is learned, reported and saved."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import (
    ROWS,
    TINY,
    VALIDATION,
    dataset,
    log_lines,
    same_steps,
    settings,
    speak,
    understand,
    write_rows,
)

from emotion_omni import checkpoint
from emotion_omni.omni.model import Omni
from emotion_omni.train import stage
from emotion_omni.train.settings import Settings
from emotion_omni.train.understand import UnderstandTask
from emotion_omni.types import EmotionOmniError


@pytest.mark.slow
def test_four_dialogues_are_memorized(sounds, distinct_tokens, tmp_path):
    report = understand(
        sounds, tmp_path, max_steps=100, rows=ROWS, config=distinct_tokens, learning_rate=1e-2, lora_learning_rate=1e-2
    )
    losses = [line["loss"] for line in log_lines(tmp_path) if "loss" in line]
    assert losses[0] > 5 and report["loss"]["text"] < 0.3 and report["loss"]["emotion"] < 0.2
    assert losses[-1] == report["loss"]["loss"] and report["validation_rows"] == 0
    model, _ = checkpoint.load(tmp_path / "best")
    made = dataset(sounds, model=model, config=distinct_tokens)
    batch = made.batch([0, 1, 2, 3])
    _, scores = model(batch.query, batch.prompts, batch.answers)
    assert all(
        scores[row, : len(answer)].argmax(-1).tolist() == list(answer) for row, answer in enumerate(batch.answers)
    )


def test_the_report_states_steps_data_and_parameters(trained):
    folder, report = trained
    assert report == json.loads((folder / "report.json").read_text())
    assert report["steps"] == report["total_steps"] == 40 and report["data"]["rows"] == {
        "train": 4,
        "dev": 1,
        "test": 0,
    }
    built = Omni.build(TINY)
    assert report["parameters"]["all"] == sum(value.numel() for value in built.parameters())
    assert 0 < report["parameters"]["trained"] < report["parameters"]["all"] and report["tokens_per_second"] > 0
    assert {"loss", "text", "emotion"} == set(report["validation"]) and report["machine"]["cores"] >= 1
    about = checkpoint.read_about(folder / "best")
    assert about.stages == ("understand",) and about.data[0].sha256 == report["data"]["sha256"]


def test_a_loaded_checkpoint_has_the_validation_losses_of_its_metrics(sounds, trained):
    folder, report = trained
    loaded, about = checkpoint.load(folder / "last")
    made = dataset(sounds, rows=[VALIDATION | {"split": "train"}], model=loaded)
    with torch.no_grad():
        losses = UnderstandTask(loaded).eval()(made.batch([0]), 0, 1.0)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(report["validation"], rel=1e-5)
    assert about.metrics == report["validation"] and loaded.emotion_label(loaded.prototypes[2]) == "sad"


def test_the_best_checkpoint_has_the_lowest_validation_loss(trained):
    folder, report = trained
    measured = {line["step"]: line["validation"]["loss"] for line in log_lines(folder) if "validation" in line}
    assert len(measured) == 20 and report["best"] == {
        "loss": min(measured.values()),
        "step": min(measured, key=measured.get),
    }
    assert checkpoint.read_about(folder / "best").steps == report["best"]["step"]


def test_stage_two_trains_the_speech_decoder_and_nothing_else(sounds, trained, tmp_path):
    parent, _ = trained
    report = speak(sounds, tmp_path, parent, max_steps=40, eval_steps=20)
    losses = [line["loss"] for line in log_lines(tmp_path) if "loss" in line]
    assert losses[0] > 6.5 and losses[-1] < 3.5
    before, after = (load_file(folder / "best" / "understand.safetensors") for folder in (parent, tmp_path))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    about = checkpoint.read_about(tmp_path / "best")
    assert about.stages == ("understand", "speak") and about.parent == checkpoint.identity(parent / "best")
    assert report["stage"] == "speak"


def test_rows_without_a_spoken_answer_are_left_out_of_stage_two(sounds, trained, tmp_path):
    silent = [{key: value for key, value in row.items() if key != "reply_audio"} for row in ROWS]
    report = speak(sounds, tmp_path / "some", trained[0], rows=[silent[0], *ROWS[1:], VALIDATION], max_steps=1)
    assert report["train_rows"] == 3 and report["data"]["without_reply_audio"] == 1
    with pytest.raises(EmotionOmniError, match="No training row .* spoken answer"):
        speak(sounds, tmp_path / "none", trained[0], rows=[*silent, VALIDATION], max_steps=1)


@pytest.mark.slow
def test_accumulation_changes_nothing(sounds, tmp_path):
    for folder, parts in (("one", 1), ("two", 2), ("three", 3)):
        understand(sounds, tmp_path / folder, max_steps=3, gradient_accumulation_steps=parts)
    same_steps(tmp_path / "one", tmp_path / "two", 1e-5)
    same_steps(tmp_path / "one", tmp_path / "three", 1e-5)


def test_activation_checkpointing_changes_nothing(sounds, tmp_path):
    understand(sounds, tmp_path / "plain", max_steps=2)
    understand(sounds, tmp_path / "saving", max_steps=2, gradient_checkpointing=True)
    same_steps(tmp_path / "plain", tmp_path / "saving", 1e-5)


@pytest.mark.slow
def test_bfloat16_learns_too(sounds, tmp_path):
    report = understand(sounds, tmp_path, max_steps=30, precision="bfloat16", base_dtype="bfloat16")
    losses = [line["loss"] for line in log_lines(tmp_path) if "loss" in line]
    assert losses[-1] < losses[0] - 0.5 and report["settings"]["base_dtype"] == "bfloat16"
    assert all(
        value.dtype is torch.float32 for value in load_file(tmp_path / "last" / "understand.safetensors").values()
    )


def test_the_seed_determines_the_speech_decoders_weights_too(trained):
    begin = stage.Start(None, str(trained[0]))
    one, again, other = (
        stage.build_model("speak", begin, Settings(seed=seed))[0].speech_decoder.out.weight for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_either_precision_option_selects_bfloat16():
    assert (
        stage.with_mixed_precision(Settings(), "bf16").precision
        == stage.with_mixed_precision(Settings(precision="bfloat16"), "no").precision
        == "bfloat16"
    )
    assert stage.with_mixed_precision(Settings(), "no").precision == "float32"
    with pytest.raises(EmotionOmniError, match="fp16 is not supported"):
        stage.with_mixed_precision(Settings(), "fp16")


def test_stage_two_needs_a_checkpoint_of_stage_one(sounds, tmp_path):
    data = str(write_rows(sounds, ROWS))
    with pytest.raises(EmotionOmniError, match="--parent"):
        stage.train("speak", stage.Start(TINY), data, tmp_path, settings(sounds))
    with pytest.raises(EmotionOmniError, match="no checkpoint"):
        stage.train("speak", stage.Start(None, str(tmp_path / "nowhere")), data, tmp_path, settings(sounds))


def test_a_voice_is_not_dropped_unasked(sounds, trained, tmp_path, caplog):
    """Stage 1 changes the hidden states that a speech decoder was trained on."""
    speak(sounds, tmp_path / "speaks", trained[0], max_steps=1)
    data = str(write_rows(sounds, [*ROWS, VALIDATION], "again"))
    parent = str(tmp_path / "speaks")
    with pytest.raises(EmotionOmniError, match="--drop-speech") as error:
        stage.train("understand", stage.Start(None, parent), data, tmp_path / "no", settings(sounds, max_steps=1))
    assert error.value.code == "checkpoint" and not (tmp_path / "no" / "last").exists()
    start = stage.Start(None, parent, drop_speech=True)
    stage.train("understand", start, data, tmp_path / "yes", settings(sounds, max_steps=1))
    about = checkpoint.read_about(tmp_path / "yes" / "last")
    assert about.stages == ("understand",) and about.parent == checkpoint.identity(tmp_path / "speaks" / "best")
    assert "speech decoder" in caplog.text and "dropped" in caplog.text
    speak(sounds, tmp_path / "speaks again", tmp_path / "yes", max_steps=1)


def test_the_losses_of_a_run_are_weighted_as_its_settings_say(sounds, tmp_path):
    understand(sounds, tmp_path, max_steps=2, emotion_weight=0.25)
    for line in (line for line in log_lines(tmp_path) if "loss" in line):
        assert line["loss"] == pytest.approx(line["text"] + 0.25 * line["emotion"], rel=1e-5)
