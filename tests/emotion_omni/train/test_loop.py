"""The training loop on a linear model, beside a plain loop written out by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import accelerate
import pytest
import torch
from torch import Tensor, nn

from emotion_omni.train.loop import Trainer
from emotion_omni.train.schedule import epoch_batches
from emotion_omni.train.settings import Settings
from emotion_omni.train.task import TrainingTask

LENGTHS = [3, 9, 1, 7, 5, 2, 8, 4, 6, 10]  # ten utterances, in batches of 4, 4 and 2
INPUTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(10, generator=torch.Generator().manual_seed(1)) * 4


@dataclass
class LinearBatch:
    inputs: Tensor
    targets: Tensor
    corrected: bool
    answers: tuple = ()
    speech_lengths: Tensor = torch.zeros(0)

    def to(self, device):
        return self


class LinearData:
    """As far as the loop knows a data set."""

    def __init__(self, count: int = 10) -> None:
        self.lengths = LENGTHS[:count]

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, indices, corrections=None) -> LinearBatch:
        return LinearBatch(INPUTS[list(indices)], TARGETS[list(indices)], corrections is not None)


class LinearTask(TrainingTask):
    parts = ("adapters",)

    def __init__(self) -> None:
        super().__init__(nn.ModuleDict({"adapters": nn.Linear(3, 1), "frozen": nn.Linear(3, 1)}))
        with torch.no_grad():
            self.omni["adapters"].weight.copy_(torch.tensor([[0.5, -0.3, 0.2]]))
            self.omni["adapters"].bias.zero_()
        self.calls: list[tuple] = []

    def learning_rates(self, settings):
        return {"adapters": settings.learning_rate}

    def forward(self, batch, epoch, progress):
        self.calls.append((self.training, epoch, progress, batch.corrected))
        return {"loss": (self.omni["adapters"](batch.inputs)[:, 0] - batch.targets).square()}


def trainer(folder, task=None, validation=0, save=lambda *_: None, **settings) -> Trainer:
    given = Settings(**{"batch_size": 4, "epochs": 3, "learning_rate": 0.1, "max_grad_norm": 3.0} | settings)
    accelerator = accelerate.Accelerator(cpu=True)
    return Trainer(task or LinearTask(), LinearData(), LinearData(validation), given, accelerator, folder, {}, save)


def by_hand(warmup_ratio: float, max_grad_norm: float, weight_decay: float) -> list[nn.Linear]:
    """The model after each of the 9 steps: mean loss, clipped gradient, AdamW, warm-up and cosine."""
    model = copy.deepcopy(LinearTask().omni["adapters"])
    groups = [{"params": [model.weight], "weight_decay": weight_decay}, {"params": [model.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.999))
    warmup = max(1, round(warmup_ratio * 9))
    models = []
    for step in range(9):
        indices = epoch_batches(LENGTHS, 4, 0, step // 3)[step % 3]
        optimizer.zero_grad()
        (model(INPUTS[indices])[:, 0] - TARGETS[indices]).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        rising, falling = (step + 1) / warmup, (1 + math.cos(math.pi * (step - warmup + 1) / (10 - warmup))) / 2
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (rising if step < warmup else falling)
        optimizer.step()
        models.append(copy.deepcopy(model))
    return models


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(("warmup_ratio", "max_grad_norm", "weight_decay"), [(0.34, 3.0, 0.5), (0.0, 100.0, 0.0)])
def test_a_run_is_the_loop_that_one_would_write_by_hand(
    tmp_path, accumulation, warmup_ratio, max_grad_norm, weight_decay
):
    chosen = {"warmup_ratio": warmup_ratio, "max_grad_norm": max_grad_norm, "weight_decay": weight_decay}
    run = trainer(tmp_path, gradient_accumulation_steps=accumulation, **chosen)
    steps = []
    for batch in run._step_batches():
        run.train_step(batch)
        steps.append(copy.deepcopy(run.task.omni["adapters"]))
    for found, expected in zip(steps, by_hand(**chosen), strict=True):
        torch.testing.assert_close(found.weight, expected.weight, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found.bias, expected.bias, atol=1e-6, rtol=1e-6)


def test_the_learning_rate_of_each_step_follows_warm_up_and_cosine(tmp_path):
    run = trainer(tmp_path, max_steps=20, warmup_ratio=0.2)
    rates = []
    for batch in run._step_batches():
        run.train_step(batch)
        rates.append({group["lr"] for group in run.optimizer.param_groups})
    rising = [0.1 * part for part in (0.25, 0.5, 0.75, 1.0)]
    falling = [0.1 * 0.5 * (1 + math.cos(math.pi * step / 17)) for step in range(1, 17)]
    assert [rate.pop() for rate in rates] == pytest.approx(rising + falling)


def test_training_sees_corrections_and_validation_does_not(tmp_path):
    task = LinearTask()
    run = trainer(tmp_path, task, validation=5, epochs=1)
    result = run.train()
    training = [call for call in task.calls if call[0]]
    validation = [call for call in task.calls if not call[0]]
    assert [call[3] for call in training] == [True] * 3 and not any(call[3] for call in validation)
    assert [call[2] for call in training] == [0.0, 0.5, 1.0] and {call[2] for call in validation} == {1.0}
    with torch.no_grad():
        losses = (task.omni["adapters"](INPUTS[:5])[:, 0] - TARGETS[:5]).square()
    assert result.validation["loss"] == pytest.approx(losses.mean().item())
    assert (result.done, result.utterances) == (3, 10)


def test_best_is_the_checkpoint_of_the_lowest_validation_loss(tmp_path, monkeypatch):
    losses, saved = iter([3.0, 1.0, 2.0]), []
    run = trainer(tmp_path, validation=2, epochs=1, eval_steps=1, save=lambda *given: saved.append(given))
    monkeypatch.setattr(run, "evaluate", lambda data: {"loss": next(losses)})
    result = run.train()
    expected = [("best", 1, {"loss": 3.0}), ("best", 2, {"loss": 1.0}), ("last", 3, {"loss": 2.0})]
    assert saved == expected and (result.best, result.best_step) == (1.0, 2)


def test_without_validation_rows_the_last_checkpoint_is_the_best(tmp_path):
    saved = []
    trainer(tmp_path, epochs=1, save=lambda *given: saved.append(given[:2])).train()
    assert saved == [("last", 3), ("best", 3)]


def test_twenty_validations_in_a_run_unless_the_settings_say_otherwise(tmp_path):
    assert (trainer(tmp_path, max_steps=400).eval_steps, trainer(tmp_path, max_steps=400).save_steps) == (20, 20)
    run = trainer(tmp_path, max_steps=400, eval_steps=7, save_steps=9)
    assert (run.eval_steps, run.save_steps, trainer(tmp_path).total) == (7, 9, 9)


def test_a_frozen_part_does_not_move(tmp_path):
    run = trainer(tmp_path, weight_decay=0.5)
    before = run.task.omni["frozen"].weight.clone()
    run.train()
    assert torch.equal(run.task.omni["frozen"].weight, before)
