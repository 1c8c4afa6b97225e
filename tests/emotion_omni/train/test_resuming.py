"""Interrupted runs continue as if they had not been interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import (
    ROOT,
    ROWS,
    TINY,
    VALIDATION,
    command,
    environment,
    log_lines,
    understand,
)

from emotion_omni import cli
from emotion_omni.train import loop
from emotion_omni.train.run_log import RunLog
from emotion_omni.train.settings import modernize
from emotion_omni.train.understand import UnderstandTask
from emotion_omni.types import EmotionOmniError

OLD = ROOT / "tests" / "data"  # as release 0.1 wrote it
DROPPING = dataclasses.replace(
    TINY, lora=dataclasses.replace(TINY.lora, dropout=0.2), head=dataclasses.replace(TINY.head, dropout=0.2)
)


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(sounds, tmp_path):
    config, folder = tmp_path / "config.json", tmp_path / "killed"
    config.write_text(DROPPING.to_json())
    more = ("--batch-size", "3", "--epochs", "60", "--save-steps", "4", "--eval-steps", "10")
    process = subprocess.Popen(
        [sys.executable, "-m", "emotion_omni", *command(sounds, folder, config, *more)],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not ((folder / "log.jsonl").exists() and len(lines_so_far(folder)) >= 7):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and len(lines_so_far(folder)) < 120, "killed in the middle"
    assert cli.main(command(sounds, folder, config, *more, "--resume")) == 0
    assert cli.main(command(sounds, tmp_path / "whole", config, *more)) == 0
    assert log_lines(folder) == log_lines(tmp_path / "whole")
    one, other = (load_file(tmp_path / name / "last" / "understand.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def lines_so_far(folder: Path) -> list[str]:
    return (folder / "log.jsonl").read_text(encoding="utf-8").split("\n")[:-1]


def test_ctrl_c_saves_the_state_and_exits(sounds, tmp_path, monkeypatch):
    step = loop.Trainer.train_step

    def interrupted(trainer, batch):
        values = step(trainer, batch)
        if trainer.done == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return values

    monkeypatch.setattr(loop.Trainer, "train_step", interrupted)
    before = signal.getsignal(signal.SIGINT)  # the caller may ignore it
    report = understand(sounds, tmp_path / "left", max_steps=8)
    monkeypatch.undo()
    assert report["stopped"] and report["steps"] == 3 and (tmp_path / "left" / "last").is_dir()
    assert signal.getsignal(signal.SIGINT) is before
    finished = understand(sounds, tmp_path / "left", max_steps=8, resume=True)
    understand(sounds, tmp_path / "whole", max_steps=8)
    trained = [[line["loss"] for line in log_lines(tmp_path / name) if "loss" in line] for name in ("left", "whole")]
    assert not finished["stopped"] and trained[0] == trained[1]


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(sounds, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    with pytest.raises(EmotionOmniError, match="--resume") as error:
        understand(sounds, folder, max_steps=40)
    assert error.value.code == "exists"
    other = [ROWS[0] | {"reply": "Well, well, well!"}, *ROWS[1:], VALIDATION]
    rank = dataclasses.replace(TINY, lora=dataclasses.replace(TINY.lora, rank=3))
    for changed, named in (
        ({"rows": other}, "data"),
        ({"config": rank}, "config"),
        ({"seed": 5}, "seed"),
        ({"batch_size": 2}, "batch_size"),
    ):
        with pytest.raises(EmotionOmniError, match=f"started with {named}") as error:
            understand(sounds, folder, **{"max_steps": 40, "resume": True} | changed)
        assert error.value.code == "resume"


def test_a_damaged_state_is_refused(sounds, tmp_path):
    understand(sounds, tmp_path, max_steps=1)
    (tmp_path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(EmotionOmniError, match="not a training state"):
        understand(sounds, tmp_path, max_steps=1, resume=True)


def test_a_nan_loss_ends_the_run_and_keeps_the_saved_state(sounds, tmp_path):
    with pytest.raises(EmotionOmniError, match="loss of step") as error:
        understand(sounds, tmp_path, max_steps=40, learning_rate=1e30, max_grad_norm=1e30, rows=ROWS, save_steps=1)
    assert error.value.code == "diverged"
    assert all(value.isfinite().all() for value in load_file(tmp_path / "state.safetensors").values())


def test_a_nan_gradient_is_never_applied(sounds, tmp_path, monkeypatch):
    plain, calls = UnderstandTask.forward, []

    def forward(self, *given):
        losses = plain(self, *given)
        calls.append(1)
        if len(calls) == 3:
            losses["loss"].register_hook(lambda gradient: gradient * torch.nan)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(UnderstandTask, "forward", forward)
        with pytest.raises(EmotionOmniError, match="gradient of step 3") as error:
            understand(sounds, tmp_path, max_steps=5, rows=ROWS, save_steps=1)
    assert error.value.code == "diverged"
    assert understand(sounds, tmp_path, max_steps=5, rows=ROWS, save_steps=1, resume=True)["steps"] == 5, (
        "the state before it is valid"
    )


def test_a_run_of_the_last_release_is_resumed(tmp_path):
    """Written by release 0.1 on its example dialogues and stopped after 3 of 6 steps."""
    saved, data, folder = OLD / "understand-run-0.1", OLD / "dialogues-0.1/dialogues.jsonl", tmp_path / "run"
    shutil.copytree(saved, folder)
    options = ["--steps=6", "--batch=2", "--accumulate=2", "--adapter-rate=3e-3", "--lora-rate=3e-3", "--warm-up=0.3"]
    options += ["--clip=2", "--told=0.3", "--held-out=0.25", "--evaluate-every=2", "--save-every=2"]
    options += ["--weight-decay=0.02", "--emotion-weight=0.5"]
    start = ["train", "understand", "--config=tiny", "--data", str(data), "--out", str(folder), "--resume"]
    assert cli.main([*start, *options, "--batch=3"]) == 1, "other settings"
    assert cli.main([*start, *options]) == 0
    lines = [json.loads(line) for line in (saved / "uninterrupted.jsonl").read_text().splitlines()]
    for line, expected in zip(log_lines(folder), lines, strict=True):
        assert line == pytest.approx(expected, rel=1e-3)


def test_settings_of_the_last_release_have_their_names_of_today():
    old = {"stage": "speak", "batch": 3, "adapter_rate": 1.0, "speech_rate": 2.0, "told": 0.5, "frozen": "bfloat16"}
    new = {"stage": "speak", "batch_size": 3, "learning_rate": 2.0, "correction_rate": 0.5, "base_dtype": "bfloat16"}
    assert modernize("speak", old) == new
    assert modernize("understand", old)["learning_rate"] == 1.0
    assert modernize("speak", new) == new


def test_a_resumed_log_keeps_the_steps_that_were_saved_under_the_names_of_today(tmp_path):
    rows = ['{"step": 1, "loss": 2.0}', '{"step": 1, "held_out": {"loss": 3.0}}', '{"step": 2, "loss": 1.0}', '{"st']
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    RunLog(tmp_path, done=1, total=2).close()
    assert log_lines(tmp_path) == [{"step": 1, "loss": 2.0}, {"step": 1, "validation": {"loss": 3.0}}]
