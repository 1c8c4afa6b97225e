"""Retrieval: written exchanges whose words and tone are nearest to what was said, for their replies.

Axes: M written turns, D width 384.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from emotion_omni import weights
from emotion_omni.emotion import HURTING
from emotion_omni.response.reranker import Situation
from emotion_omni.response.sentence_encoder import SentenceEncoder

SHIPPED = Path(__file__).parent / "weights" / "reply_bank.safetensors"
SAME_TONE, OPPOSITE_TONE, SAME_NEWS = 0.15, -0.15, 0.05  # added to the cosine of the words


@dataclass(frozen=True)
class BankTurn:
    """One written turn."""

    text: str
    tone: str
    news: str
    reply: str


class ReplyBank:
    """``turns``: M written turns; ``vectors``: of their texts [M, D]."""

    def __init__(self, encoder: SentenceEncoder, turns: Sequence[BankTurn], vectors: Tensor) -> None:
        self.encoder, self.turns, self.vectors = encoder, list(turns), vectors

    @classmethod
    def of(cls, encoder: SentenceEncoder, turns: Sequence[BankTurn]) -> ReplyBank:
        """Encodes the turns."""
        batches = [encoder([turn.text for turn in turns[at : at + 64]]) for at in range(0, len(turns), 64)]
        return cls(encoder, turns, torch.cat(batches))

    @classmethod
    def load(cls, encoder: SentenceEncoder, path: str | Path = "") -> ReplyBank:
        """Without ``path`` the shipped one. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        file = Path(path or SHIPPED)
        with weights.part_explained(file, "reply bank"), safetensors.safe_open(file, "pt") as opened:
            turns = [BankTurn(*fields) for fields in json.loads(opened.metadata()["turns"])]
            return cls(encoder, turns, opened.get_tensor("vectors").float())

    def save(self, path: Path) -> None:
        turns = json.dumps([[one.text, one.tone, one.news, one.reply] for one in self.turns])
        safetensors.torch.save_file({"vectors": self.vectors.half()}, path, metadata={"turns": turns})

    def nearest(self, situation: Situation, count: int) -> list[tuple[BankTurn, float]]:
        """The nearest turns, nearest first, with the cosine of their words."""
        cosines = (self.encoder([situation.text]) @ self.vectors.T)[0]
        bonus = torch.tensor([self._bonus(turn, situation) for turn in self.turns])
        order = (cosines + bonus).topk(min(count, len(self.turns))).indices.tolist()
        return [(self.turns[index], cosines[index].item()) for index in order]

    @staticmethod
    def _bonus(turn: BankTurn, situation: Situation) -> float:
        same = SAME_TONE if turn.tone in situation.tones else 0.0
        tones = {turn.tone, *situation.tones}
        opposite = OPPOSITE_TONE if "happy" in tones and tones & set(HURTING) else 0.0
        return same + opposite + (SAME_NEWS if turn.news == situation.news else 0.0)
