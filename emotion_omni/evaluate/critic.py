"""The critic: does a reply make sense as an answer, does it lean the right way, which kinds of empathy does it show?

For evaluation only, like the second recognizer: nothing may be trained on, filtered, chosen or searched by it, and a
test on imports holds that. It shares no data with the reranker: it learned from people's own conversations
(:mod:`emotion_omni.evaluate.critic_training`), the reranker from our written exchanges. Small networks on MiniLM's
sentence vectors, and how usual the reply's pairs of words are.

Axes: B replies, D width 384, K = :data:`JUDGED`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.emotion import NAMES
from emotion_omni.response.sentence_encoder import WIDTH, load_encoder
from emotion_omni.types import Exchange

SHIPPED = Path(__file__).parent / "weights" / "critic.safetensors"  # trained by us, with its card
KINDS = ("emotional_reactions", "interpretations", "explorations")  # of empathy, after EPITOME
JUDGED = ("sense", "direction", *KINDS, "fluency")
COUNTS, COSINES = 4, 2
BUCKETS = 1 << 18  # of pairs of words, by their hash
BATCH = 32

Vectors = Callable[[list[str]], Tensor]  # texts → unit vectors [B, D]


@dataclass(frozen=True)
class Answered:
    """A reply and what it answers."""

    words: str
    tone: str
    reply: str
    earlier: tuple[Exchange, ...] = ()

    @property
    def context(self) -> str:
        """The last exchange and the words, as one text."""
        return " ".join([*(f"{one.transcript} {one.reply}".strip() for one in self.earlier[-1:]), self.words])


class Usage:
    """How usual pairs of words are: counts by hash, uint8 [BUCKETS], of their logarithms."""

    def __init__(self, counts: np.ndarray) -> None:
        self.counts = counts

    @classmethod
    def of(cls, texts: Sequence[str]) -> Usage:
        counts = np.zeros(BUCKETS)
        for text in texts:
            np.add.at(counts, _places(text), 1)
        return cls(np.minimum(np.round(16 * np.log2(1 + counts)), 255).astype(np.uint8))

    def features(self, text: str) -> list[float]:
        """Mean and lowest fourth of the logarithms of the counts, and the share of pairs that are unknown."""
        places = _places(text)
        found = np.sort(self.counts[places] / 16)
        if not len(found):
            return [0.0, 0.0, 1.0]
        lowest = found[: max(1, len(found) // 4)]
        return [float(found.mean()) / 8, float(lowest.mean()) / 8, float((found == 0).mean())]


def _places(text: str) -> np.ndarray:
    own = ["^", *re.findall(r"[a-z0-9']+|[.!?]", text.lower())]
    return np.array([zlib.crc32(f"{a} {b}".encode()) % BUCKETS for a, b in zip(own, own[1:], strict=False)], int)


class CriticHeads(nn.Module):
    """Features of :meth:`Critic.features` → logits [B, K]: a network for each of sense, direction, kinds and fluency.

    The sense sees no reply by itself: it must not prefer a style.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sense = _network(3 * WIDTH + COSINES, 64, 1)
        self.direction = _network(3 * WIDTH + len(NAMES), 64, 1)
        self.kinds = _network(2 * WIDTH, 32, len(KINDS))
        self.fluency = nn.Linear(COUNTS, 1)

    def forward(self, parts: tuple[Tensor, ...]) -> Tensor:
        words, context, reply, tones, counts = parts
        both, also = words * reply * WIDTH**0.5, context * reply * WIDTH**0.5
        cosines = torch.stack([(words * reply).sum(1), (context * reply).sum(1)], 1)
        found = [
            self.sense(torch.cat([both, also, (words - reply).abs(), cosines], 1)),
            self.direction(torch.cat([words, reply, both, tones], 1)),
            self.kinds(torch.cat([reply, both], 1)),
            self.fluency(counts),
        ]
        return torch.cat(found, 1)


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(0.3), nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, outputs)
    )


class Critic:
    """``vectors``: MiniLM as published."""

    def __init__(self, vectors: Vectors, usage: Usage, heads: CriticHeads) -> None:
        self.vectors, self.usage, self.heads = vectors, usage, heads

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Critic:
        """Fetches the sentence encoder. Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``)."""
        encoder = load_encoder()
        with weights.part_explained(path, "critic"):
            tensors = safetensors.torch.load_file(path)
            heads, usage = CriticHeads(), Usage(tensors.pop("usage").numpy())
            heads.load_state_dict({name: value.float() for name, value in tensors.items()})
            return cls(encoder, usage, heads.eval())

    @torch.inference_mode()
    def judge(self, answered: Sequence[Answered]) -> list[dict[str, float]]:
        """The probability of each of :data:`JUDGED` for each reply."""
        found: list[dict[str, float]] = []
        for at in range(0, len(answered), BATCH):
            logits = self.heads(self.features(answered[at : at + BATCH]))
            found += [dict(zip(JUDGED, row, strict=True)) for row in logits.sigmoid().tolist()]
        return found

    def features(self, answered: Sequence[Answered]) -> tuple[Tensor, ...]:
        """Vectors of words, context and reply [B, D] each, tones [B, 8], counts [B, COUNTS]."""
        texts = ([one.words for one in answered], [one.context for one in answered], [one.reply for one in answered])
        vectors = [self.vectors([text.lower() or "." for text in some]) for some in texts]
        tones = torch.tensor([[float(name == one.tone) for name in NAMES] for one in answered])
        return *vectors, tones, self.counts([one.reply for one in answered])

    def counts(self, replies: Sequence[str]) -> Tensor:
        """How usual pairs of words are, and the length [B, COUNTS]."""
        return torch.tensor([[*self.usage.features(one), min(len(one.split()), 60) / 30] for one in replies])
