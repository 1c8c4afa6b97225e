"""Words that tell of danger: to oneself, or from other people.

Plain patterns (:mod:`~emotion_omni.response.crisis_patterns`) find the open statements. A classifier on MiniLM sentence
vectors, whose upper layers are tuned with it (by :mod:`emotion_omni.train.crisis`), finds veiled ones.

Axes: B texts, D width 384, K = none, self, others (:data:`RISKS`).
"""

from __future__ import annotations

import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.response.crisis_patterns import plain_risk
from emotion_omni.response.sentence_encoder import WIDTH, SentenceEncoder

SHIPPED = Path(__file__).parent / "weights" / "crisis.safetensors"  # trained by us, with its card
RISKS = ("", "unclear", "others")  # what the classifier can find, in the order of its classes
SCALE = 10.0  # of unit vectors of 384 numbers, which are small


class CrisisHead(nn.Module):
    """Sentence vectors [B, D] → logits of none, self, others [B, K]."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(WIDTH, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, len(RISKS))
        )

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors * SCALE)


class CrisisDetector:
    """``encoder``: MiniLM with the upper layers that belong to the head. ``threshold``: probability of danger of either
    kind from which there is an alarm."""

    def __init__(self, encoder: SentenceEncoder, head: CrisisHead, threshold: float) -> None:
        self._encoder, self._head, self.threshold = encoder, head.eval(), threshold

    @classmethod
    def load(cls, encoder: SentenceEncoder, path: Path = SHIPPED) -> CrisisDetector:
        """``encoder``: MiniLM as published. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "crisis"):
            tensors = {name: tensor.float() for name, tensor in safetensors.torch.load_file(path).items()}
            threshold, head = tensors.pop("threshold").item(), CrisisHead()
            parts: dict[str, dict[str, Tensor]] = {"tuned": {}, "head": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            head.load_state_dict(parts["head"], strict=True)
            return cls(encoder.with_layers(parts["tuned"]), head, threshold)

    def state(self, first: int) -> dict[str, Tensor]:
        """The tensors of a ``crisis.safetensors``, float16. ``first``: the lowest of the tuned layers."""
        tensors = {f"tuned.{name}": tensor for name, tensor in self._encoder.layers(first).items()}
        tensors |= {f"head.{name}": tensor.detach() for name, tensor in self._head.state_dict().items()}
        tensors["threshold"] = torch.tensor(self.threshold)
        return {name: tensor.half().contiguous() for name, tensor in tensors.items()}

    def risk(self, text: str) -> str:
        """``crisis`` for open words, ``unclear`` for veiled ones, ``others`` for danger from others, else empty."""
        if plain := plain_risk(text):
            return plain
        danger, likelier = self.probability(text)
        return likelier if danger >= self.threshold else ""

    def alarms(self, text: str) -> bool:
        """Whether the classifier alone finds danger."""
        return self.probability(text)[0] >= self.threshold

    def probability(self, text: str) -> tuple[float, str]:
        """The probability of danger, and the likelier kind of it."""
        if not re.search(r"\w", text):
            return 0.0, ""
        with torch.inference_mode():
            found = self._head(self._encoder([text])).softmax(1)[0]  # [K]
        return 1 - found[0].item(), RISKS[1 + int(found[1:].argmax())]
