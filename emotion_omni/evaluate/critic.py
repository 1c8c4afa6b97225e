"""The critic: does a reply make sense as an answer, does it lean the right way, which kinds of empathy does it show?

For evaluation only, like the second recognizer: nothing may be trained on, filtered, chosen or searched by it, and a
test on imports holds that. It shares no data with the reranker: it learned from people's own conversations
(:mod:`emotion_omni.evaluate.critic_training`), the reranker from our written exchanges. Words and reply go through
MiniLM together, whose upper layers are its own.

Axes: B pairs, T tokens, D width 384, K = :data:`JUDGED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.response.sentence_encoder import WIDTH, SentenceEncoder
from emotion_omni.types import Exchange

SHIPPED = Path(__file__).parent / "weights" / "critic.safetensors"  # trained by us, with its card
JUDGED = ("sense", "direction", "emotional_reactions", "interpretations", "explorations")
MAX_TOKENS = 96
LONGEST_CONTEXT = 20  # words of the exchange before
BATCH = 16


@dataclass(frozen=True)
class Answered:
    """A reply and what it answers."""

    words: str
    tone: str
    reply: str
    earlier: tuple[Exchange, ...] = ()

    @property
    def texts(self) -> tuple[str, str]:
        """The two texts of a pair: tone, last exchange and words; the reply. Lower case, as the corpora are."""
        before = " ".join(f"{one.transcript} {one.reply}" for one in self.earlier[-1:])
        context = " ".join([*before.split()[-LONGEST_CONTEXT:], self.words])
        return f"{self.tone}: {context}".lower(), self.reply.lower()


class CriticHead(nn.Module):
    """Mean hidden states [B, D] → logits [B, K]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.1), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, len(JUDGED)))

    def forward(self, states: Tensor) -> Tensor:
        return self.layers(states)


class Critic:
    """``encoder``: MiniLM with the critic's upper layers. ``tokenizer``: of pairs."""

    def __init__(self, encoder: SentenceEncoder, tokenizer: tokenizers.Tokenizer, head: CriticHead) -> None:
        self.encoder, self._tokenizer, self.head = encoder, tokenizer, head

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Critic:
        """Fetches the sentence encoder. Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``)."""
        encoder, tokenizer = load_encoder()
        with weights.part_explained(path, "critic"):
            tensors = {name: value.float() for name, value in safetensors.torch.load_file(path).items()}
            head = CriticHead()
            head.load_state_dict({name[5:]: one for name, one in tensors.items() if name.startswith("head.")})
            tuned = {name[6:]: one for name, one in tensors.items() if name.startswith("tuned.")}
            return cls(encoder.with_layers(tuned), tokenizer, head.eval())

    @torch.inference_mode()
    def judge(self, answered: Sequence[Answered]) -> list[dict[str, float]]:
        """The probability of each of :data:`JUDGED` for each reply."""
        found: list[dict[str, float]] = []
        for at in range(0, len(answered), BATCH):
            logits = self.logits([one.texts for one in answered[at : at + BATCH]])
            found += [dict(zip(JUDGED, row, strict=True)) for row in logits.sigmoid().tolist()]
        return found

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """[B, K], with gradients."""
        encodings = self._tokenizer.encode_batch(list(pairs))
        ids = torch.tensor([one.ids for one in encodings])
        mask = torch.tensor([one.attention_mask for one in encodings], dtype=torch.bool)
        weight = mask[..., None].float()
        return self.head((self.encoder.hidden_states(ids, mask) * weight).sum(1) / weight.sum(1))


def load_encoder() -> tuple[SentenceEncoder, tokenizers.Tokenizer]:
    """MiniLM as published and its tokenizer, set up for pairs. Raises :class:`EmotionOmniError` (code ``weights``)."""
    file = weights.fetch("minilm/tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), file), tokenizer
