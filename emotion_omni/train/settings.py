"""How a stage of the omni model is trained: every setting of a run, with its default.

Each field is an option of ``python -m emotion_omni train understand|speak`` and is stored in the training state, so
that a run cannot be resumed with other settings. Imports no torch. Sources of the defaults: (paper), (VocalNet) the
recipe that the authors' code was forked from; the rest are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from emotion_omni.strict import Strict

STAGES = ("understand", "speak")
MAY_CHANGE = ("eval_steps", "save_steps", "feature_folder", "prefetch")  # they do not change what is learned
UNDERSTAND_ONLY = ("lora_learning_rate", "emotion_weight", "gradient_checkpointing")  # no effect in stage 2

# Names of release 0.1. They live on as hidden options and in the training states that it wrote.
_RENAMED = {
    "steps": "max_steps",
    "batch": "batch_size",
    "accumulate": "gradient_accumulation_steps",
    "lora_rate": "lora_learning_rate",
    "warm_up": "warmup_ratio",
    "clip": "max_grad_norm",
    "told": "correction_rate",
    "held_out": "validation_ratio",
    "evaluate_every": "eval_steps",
    "save_every": "save_steps",
    "frozen": "base_dtype",
    "checkpointing": "gradient_checkpointing",
}
RENAMED = {
    "understand": _RENAMED | {"adapter_rate": "learning_rate"},
    "speak": _RENAMED | {"speech_rate": "learning_rate"},
}


def setting(default: Any, text: str) -> Any:
    """A field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings(Strict):
    """``batch_size`` counts the utterances of a step over all processes, so their number changes no gradient."""

    epochs: int = setting(1, "passes over the data (VocalNet: 1)")
    max_steps: int = setting(0, "number of steps, instead of epochs; 0: use --epochs")
    batch_size: int = setting(32, "utterances per step, over all processes")
    gradient_accumulation_steps: int = setting(1, "micro-batches per step and process, to save memory")
    learning_rate: float = setting(
        2e-4, "peak learning rate; understand: of adapters and emotion head, speak: of the speech decoder (paper)"
    )
    lora_learning_rate: float = setting(5e-5, "peak learning rate of the language model's LoRA (paper)")
    weight_decay: float = setting(0.01, "of matrices (paper, for the speech decoder)")
    warmup_ratio: float = setting(0.03, "share of the steps with a rising learning rate; then cosine decay (VocalNet)")
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm")
    emotion_weight: float = setting(1.0, "weight of the emotion loss beside the text loss")
    correction_rate: float = setting(
        0.1,
        "share of utterances with a given transcript, and share with a given emotion, as if a person corrected them",
    )
    validation_ratio: float = setting(0.02, "share of the rows used for validation, where the data names no split")
    eval_steps: int = setting(0, "steps between two validations; 0: twenty validations per run")
    save_steps: int = setting(0, "steps between two saved states; 0: as for --eval-steps")
    seed: int = setting(0, "of weights, order and sampling")
    precision: Literal["float32", "bfloat16"] = setting("float32", "of the computation; trained weights stay float32")
    base_dtype: Literal["float32", "bfloat16"] = setting("float32", "dtype of the frozen language model's weights")
    gradient_checkpointing: bool = setting(
        False, "recompute the language model's activations in the backward pass, to save memory"
    )
    half_features: bool = setting(False, "store encoder features as float16: half the disk space, slightly less exact")
    feature_folder: str = setting("", "folder for encoder features; empty: in the weights cache")
    prefetch: int = setting(2, "batches loaded ahead")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("epochs", "batch_size", "gradient_accumulation_steps", "max_grad_norm")
        self._share("warmup_ratio", "validation_ratio", "correction_rate")
        for name in ("max_steps", "learning_rate", "lora_learning_rate", "weight_decay", "emotion_weight"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        for name in ("eval_steps", "save_steps", "prefetch"):
            self._require(getattr(self, name) >= 0, name, "0 or more")


def affects(stage: str, name: str) -> bool:
    """Whether a setting changes what the stage learns."""
    return name not in MAY_CHANGE and not (stage == "speak" and name in UNDERSTAND_ONLY)


def modernize(stage: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a stored run under the names of today. Release 0.1 stored two learning rates that had no effect."""
    renamed = RENAMED[stage]
    without_effect = {"speech_rate", "adapter_rate"} - set(renamed)
    return {renamed.get(name, name): value for name, value in names.items() if name not in without_effect}
