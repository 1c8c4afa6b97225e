"""Words that tell of danger: to oneself, or from other people.

Plain patterns (:mod:`~emotion_omni.response.crisis_patterns`) find the open statements. A logistic regression on
MiniLM sentence vectors (trained by :mod:`emotion_omni.train.crisis`) finds some of the veiled ones.

Axes: B texts, D width 384, K = none, self, others (:data:`RISKS`).
"""

from __future__ import annotations

import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from emotion_omni import weights
from emotion_omni.response.crisis_patterns import plain_risk
from emotion_omni.response.sentence_encoder import SentenceEncoder

SHIPPED = Path(__file__).parent / "weights" / "crisis.safetensors"  # trained by us, with its card
RISKS = ("", "unclear", "others")  # what the classifier can find, in the order of its classes


class CrisisHead:
    """Sentence vectors [B, D] → probabilities of none, self, others [B, K].

    ``threshold``: probability of danger of either kind from which there is an alarm.
    """

    def __init__(self, weight: Tensor, bias: Tensor, threshold: float) -> None:
        self.weight, self.bias, self.threshold = weight.float(), bias.float(), threshold

    @classmethod
    def load(cls, path: Path = SHIPPED) -> CrisisHead:
        """Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "crisis"):
            tensors = safetensors.torch.load_file(path)
            return cls(tensors["weight"], tensors["bias"], tensors["threshold"].item())

    def __call__(self, vectors: Tensor) -> Tensor:
        return (vectors @ self.weight.T + self.bias).softmax(1)


class CrisisDetector:
    """``encoder``: MiniLM as published."""

    def __init__(self, encoder: SentenceEncoder, head: CrisisHead) -> None:
        self._encoder, self._head = encoder, head

    def risk(self, text: str) -> str:
        """``crisis`` for open words, ``unclear`` for veiled ones, ``others`` for danger from others, else empty."""
        if plain := plain_risk(text):
            return plain
        danger, likelier = self.probability(text)
        return likelier if danger >= self._head.threshold else ""

    def alarms(self, text: str) -> bool:
        """Whether the classifier alone finds danger."""
        return self.probability(text)[0] >= self._head.threshold

    def probability(self, text: str) -> tuple[float, str]:
        """The probability of danger, and the likelier kind of it."""
        if not re.search(r"\w", text):
            return 0.0, ""
        with torch.inference_mode():
            (found,) = self._head(self._encoder([text]))  # [K]
        return 1 - found[0].item(), RISKS[1 + int(found[1:].argmax())]
