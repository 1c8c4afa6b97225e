"""What a stage teaches a model: which parts learn, at which rate, and by which losses.

Source: AdamW, Loshchilov and Hutter 2019.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from emotion_omni.omni.model import Omni
from emotion_omni.train.batches import Batch
from emotion_omni.train.settings import Settings


class TrainingTask(nn.Module):
    """A stage. Its forward pass is one call, so that DDP and FSDP can wrap it."""

    parts: tuple[str, ...]  # of the model, that learn

    def __init__(self, omni: Omni) -> None:
        super().__init__()
        self.omni = omni
        for name, parameter in omni.named_parameters():
            parameter.requires_grad_(part_of(name) in self.parts)

    @abstractmethod
    def forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        """→ losses by name, each [B], one of them ``loss``. A loss that does not apply to an utterance is NaN there.

        ``progress`` rises from 0 at the first step to 1 at the last.
        """

    @abstractmethod
    def learning_rates(self, settings: Settings) -> dict[str, float]:
        """Peak learning rate by part."""

    def parameter_groups(self, settings: Settings) -> list[dict[str, Any]]:
        """AdamW's groups: a learning rate for each part, weight decay for matrices only."""
        groups = []
        for part, peak in self.learning_rates(settings).items():
            trained = [
                parameter
                for name, parameter in self.omni.named_parameters()
                if parameter.requires_grad and part_of(name) == part
            ]
            matrices = [parameter for parameter in trained if parameter.ndim > 1]
            vectors = [parameter for parameter in trained if parameter.ndim <= 1]
            for parameters, decay in ((matrices, settings.weight_decay), (vectors, 0.0)):
                if parameters:
                    groups.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
        return groups


def part_of(name: str) -> str:
    """The part of the model that a parameter belongs to; ``lora`` for the language model's adaptation."""
    return "lora" if "lora_" in name else name.partition(".")[0]
