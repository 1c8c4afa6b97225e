"""Which parts a stage trains, and at which rates."""

from __future__ import annotations

import dataclasses

import pytest
from tiny_training import TINY

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.train.settings import Settings
from emotion_omni.train.speak import SpeakTask
from emotion_omni.train.task import part_of
from emotion_omni.train.understand import UnderstandTask

STAGES = pytest.mark.parametrize(("kind", "parts"), [(UnderstandTask, UNDERSTAND), (SpeakTask, SPEAK)])


@STAGES
def test_a_stage_trains_its_own_parts_only(kind, parts):
    built = Omni.build(TINY)
    kind(built)
    trained = {part_of(name) for name, value in built.named_parameters() if value.requires_grad}
    assert trained == set(parts) - {"prototypes"}


def test_only_the_speech_decoder_is_in_training_mode_in_stage_two():
    built = Omni.build(TINY)
    task = SpeakTask(built)
    built.train()
    task.train()
    assert built.speech_decoder.training and not built.language_model.training and not built.emotion_head.training
    task.train(False)
    assert not built.speech_decoder.training


@STAGES
def test_every_trained_parameter_is_in_one_group_with_the_rate_and_decay_of_the_settings(kind, parts):
    settings = Settings(learning_rate=0.1, lora_learning_rate=0.2, weight_decay=0.3)
    built = Omni.build(TINY)
    names = {id(value): name for name, value in built.named_parameters()}
    seen = []
    for group in kind(built).parameter_groups(settings):
        for parameter in group["params"]:
            name = names[id(parameter)]
            rate = 0.2 if "lora_" in name else 0.1
            decay = 0.3 if parameter.ndim > 1 else 0.0
            assert (group["lr"], group["peak"], group["weight_decay"]) == (rate, rate, decay), name
            seen.append(name)
    assert sorted(seen) == sorted(name for name, value in built.named_parameters() if value.requires_grad)


def test_the_defaults_are_those_of_the_paper_and_of_its_sources():
    """Learning rates and decay: paper; epochs, warm-up: VocalNet; weights of the emotion loss: the authors' code."""
    expected = {
        "epochs": 1,
        "max_steps": 0,
        "batch_size": 32,
        "gradient_accumulation_steps": 1,
        "learning_rate": 2e-4,
        "lora_learning_rate": 5e-5,
        "weight_decay": 0.01,
        "warmup_ratio": 0.03,
        "max_grad_norm": 1.0,
        "emotion_weight": 1.0,
        "correction_rate": 0.1,
        "validation_ratio": 0.02,
        "eval_steps": 0,
        "save_steps": 0,
        "seed": 0,
        "precision": "float32",
        "base_dtype": "float32",
        "gradient_checkpointing": False,
        "half_features": False,
        "feature_folder": "",
        "prefetch": 2,
    }
    assert dataclasses.asdict(Settings()) == expected
    head = OmniConfig.preset("paper").head
    assert (head.mse_weight, head.cosine_weight) == (0.6, 0.4)


def test_the_learning_rates_of_the_paper_reach_the_optimizer():
    groups = UnderstandTask(Omni.build(TINY)).parameter_groups(Settings())
    assert {group["lr"] for group in groups} == {2e-4, 5e-5}
    lora = [group for group in groups if group["lr"] == 5e-5]
    matrices = sum(len(group["params"]) for group in lora)
    assert matrices == 2 * 2 * len(TINY.lora.target_modules), "two layers, two matrices each"
    assert {group["lr"] for group in SpeakTask(Omni.build(TINY)).parameter_groups(Settings())} == {2e-4}
