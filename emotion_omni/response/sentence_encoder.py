"""Sentence vectors: MiniLM-L6 in torch.

Axes: B sentences, T tokens, D width 384. Source: Wang et al. 2020, "MiniLM"; BERT: Devlin et al. 2018.
"""

from __future__ import annotations

import functools
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_omni import weights

LAYERS, HEADS, WIDTH = 6, 12, 384
MAX_TOKENS = 128  # a spoken turn of a minute
EPSILON = 1e-12


class SentenceEncoder:
    """Text → unit vectors [B, 384] whose cosine is the similarity in meaning."""

    def __init__(self, tensors: dict[str, Tensor], tokenizer: tokenizers.Tokenizer) -> None:
        self._tensors, self._tokenizer = tensors, tokenizer

    @classmethod
    def load(cls, tensors: Path, tokenizer: Path) -> SentenceEncoder:
        padded = tokenizers.Tokenizer.from_file(str(tokenizer))
        padded.enable_truncation(MAX_TOKENS)
        padded.enable_padding()
        return cls(safetensors.torch.load_file(tensors), padded)

    def with_layers(self, tensors: dict[str, Tensor]) -> SentenceEncoder:
        """The same encoder with some of its tensors replaced; the rest are shared."""
        unknown = set(tensors) - set(self._tensors)
        if unknown:
            raise ValueError(f"No such tensors in the encoder: {sorted(unknown)[:3]}")
        return SentenceEncoder(self._tensors | tensors, self._tokenizer)

    def layers(self, first: int) -> dict[str, Tensor]:
        """The tensors of layer ``first`` and all above it, by name."""
        above = tuple(f"encoder.layer.{index}." for index in range(first, LAYERS))
        return {name: tensor for name, tensor in self._tensors.items() if name.startswith(above)}

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> Tensor:
        return self.vectors(texts)

    def vectors(self, texts: list[str]) -> Tensor:
        """The same with gradients."""
        encodings = self._tokenizer.encode_batch(texts)
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)
        weight = mask[..., None].float()
        mean = (self.hidden_states(ids, mask) * weight).sum(1) / weight.sum(1)
        return F.normalize(mean, dim=1)

    def hidden_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [B, T], mask [B, T] → last hidden states [B, T, D]."""
        get = self._tensors.__getitem__
        x = get("embeddings.word_embeddings.weight")[ids]
        x = x + get("embeddings.position_embeddings.weight")[: ids.shape[1]]
        x = self._norm(x + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
        for index in range(LAYERS):
            x = self._block(x, mask[:, None, None, :], f"encoder.layer.{index}")
        return x

    def _block(self, x: Tensor, mask: Tensor, at: str) -> Tensor:
        q, k, v = (self._linear(x, f"{at}.attention.self.{name}") for name in ("query", "key", "value"))
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = self._norm(x + self._linear(y, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        y = self._linear(F.gelu(self._linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        return self._norm(x + y, f"{at}.output.LayerNorm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"], EPSILON)


@functools.cache
def load_encoder() -> SentenceEncoder:
    """MiniLM as published, one for all parts that use it. Raises :class:`EmotionOmniError` (code ``weights``)."""
    return SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
