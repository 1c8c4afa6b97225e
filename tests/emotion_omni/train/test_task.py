"""Which parts a stage trains, and at which rates."""

from __future__ import annotations

from tiny_training import (
    TINY,
)

from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.train.settings import Settings
from emotion_omni.train.speak import SpeakTask
from emotion_omni.train.understand import UnderstandTask


def test_a_stage_trains_its_own_parts_only():
    for kind, parts in ((UnderstandTask, UNDERSTAND), (SpeakTask, SPEAK)):
        built = Omni.build(TINY)
        task = kind(built)
        moved = {
            ("lora" if "lora_" in name else name.partition(".")[0])
            for name, value in built.named_parameters()
            if value.requires_grad
        }
        assert moved == set(parts) - {"prototypes"}
        grouped = sum(value.numel() for group in task.parameter_groups(Settings()) for value in group["params"])
        assert grouped == sum(value.numel() for value in built.parameters() if value.requires_grad)
    built.train()
    task.train()
    assert built.speech_decoder.training and not built.language_model.training and not built.emotion_head.training


def test_learning_rates_and_decay_are_those_of_the_paper():
    groups = UnderstandTask(Omni.build(TINY)).parameter_groups(Settings())
    assert {group["peak"] for group in groups} == {2e-4, 5e-5}
    lora = [group for group in groups if group["peak"] == 5e-5]
    assert sum(len(group["params"]) for group in lora) == 2 * 2 * len(TINY.lora.target_modules), (
        "two layers, two matrices each"
    )
    for group in groups:
        assert all((value.ndim > 1) is (group["weight_decay"] > 0) for value in group["params"])
