"""How a stage of the omni model is trained: every number that a run can set, with its default.

Each field is an option of `python -m emotion_omni train` and stands in the saved state, so that a run
is never resumed as another. Imports no torch. Marks: (paper), (code) its authors', (VocalNet) the
recipe that code was forked from; the rest are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from emotion_omni.strict import Strict

STAGES = ("understand", "speak")
MAY_CHANGE = ("evaluate_every", "save_every", "feature_folder", "prefetch")  # they change nothing that is learnt


def _field(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings(Strict):
    """``batch`` counts the utterances of one step over all processes; so their number changes no gradient."""

    epochs: int = _field(1, "times over the data (VocalNet: 1)")
    steps: int = _field(0, "end after so many steps instead; 0: as the epochs say")
    batch: int = _field(32, "utterances a step, of all processes together")
    accumulate: int = _field(1, "parts in which a process works through its share of a batch, to save memory")
    adapter_rate: float = _field(2e-4, "peak learning rate of adapters and emotion head (paper)")
    lora_rate: float = _field(5e-5, "peak learning rate of the language model's adaptation (paper)")
    speech_rate: float = _field(2e-4, "peak learning rate of the speech decoder (paper)")
    weight_decay: float = _field(0.01, "of matrices (paper, for the speech decoder)")
    warm_up: float = _field(0.03, "share of the steps in which the rate rises; then it falls as a cosine (VocalNet)")
    clip: float = _field(1.0, "largest norm of a step's gradient")
    emotion_weight: float = _field(1.0, "of the emotion trajectory's loss beside the text's")
    told: float = _field(
        0.1, "share of the utterances whose words, and of those whose emotion, a person has told beside the sound"
    )
    held_out: float = _field(0.02, "share of the rows to measure on, where the data names no split")
    evaluate_every: int = _field(0, "steps between two measurements on held-out rows; 0: twenty in a run")
    save_every: int = _field(0, "steps between two saved states; 0: as often as measured")
    seed: int = _field(0, "of weights, order and draws")
    precision: Literal["float32", "bfloat16"] = _field("float32", "of the computation; trained weights stay float32")
    frozen: Literal["float32", "bfloat16"] = _field("float32", "of the frozen language model's weights")
    checkpointing: bool = _field(
        False, "compute the language model's activations again in the backward pass, to save memory"
    )
    half_features: bool = _field(
        False, "keep the encoders' frames as float16: half the disk, and what is then learnt from"
    )
    feature_folder: str = _field("", "where frames of the frozen encoders are kept; default: in the cache of weights")
    prefetch: int = _field(2, "batches read ahead")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("epochs", "batch", "accumulate", "clip")
        self._share("warm_up", "held_out", "told")
        for name in (
            "steps",
            "adapter_rate",
            "lora_rate",
            "speech_rate",
            "weight_decay",
            "emotion_weight",
            "evaluate_every",
            "save_every",
            "prefetch",
        ):
            self._require(getattr(self, name) >= 0, name, "0 or more")
