"""The training state on disk: complete, atomic, and refused if it does not fit."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from torch import nn

from emotion_omni.train import state
from emotion_omni.types import EmotionOmniError


def trained(steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    module[0].bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([value for value in module.parameters() if value.requires_grad], lr=0.1)
    for index in range(steps):
        step(module, optimizer, index)
    return module, optimizer


def step(module: nn.Module, optimizer: torch.optim.Optimizer, index: int) -> None:
    optimizer.zero_grad()
    module(torch.arange(3.0) - index).square().sum().backward()
    optimizer.step()


def test_a_loaded_state_takes_the_same_steps(tmp_path):
    module, optimizer = trained()
    path = tmp_path / "state.safetensors"
    state.save(path, state.State(state.state_dict(module, optimizer), {"step": 3}))
    for index in range(3, 6):
        step(module, optimizer, index)
    other, its_optimizer = trained(0)
    saved = state.load(path)
    state.load_state_dict(saved.tensors, other, its_optimizer)
    for index in range(3, 6):
        step(other, its_optimizer, index)
    for one, another in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, another)
    assert saved.about == {"step": 3}


def test_a_state_holds_the_trained_parameters_and_both_moments():
    tensors = state.state_dict(*trained())
    names = {name.partition(".")[2] for name in tensors}
    assert names == {"0.weight", "1.weight", "1.bias"}
    assert {name.partition(".")[0] for name in tensors} == {"model", "step", "exp_avg", "exp_avg_sq"}


def test_a_state_does_not_change_with_the_model(tmp_path):
    module, optimizer = trained()
    tensors = state.state_dict(module, optimizer)
    kept = copy.deepcopy(tensors)
    step(module, optimizer, 3)
    assert all(torch.equal(value, kept[name]) for name, value in tensors.items())


def test_a_crash_while_saving_leaves_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    state.save(path, state.State({"model.x": torch.ones(2)}, {"step": 1}))

    def crash(*_):
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, crash)
            with pytest.raises(KeyboardInterrupt):
                state.save(path, state.State({"model.x": torch.zeros(2)}, {"step": 2}))
        assert state.load(path).about == {"step": 1} and state.load(path).tensors["model.x"].sum() == 2


def test_a_state_of_another_model_is_refused():
    module, optimizer = trained()
    tensors = state.state_dict(module, optimizer)
    del tensors["model.1.bias"]
    with pytest.raises(EmotionOmniError, match="1.bias") as error:
        state.load_state_dict(tensors, module, optimizer)
    assert error.value.code == "resume"
