"""Qwen2.5-1.5B: the shape of the model, and its tensors and tokenizer out of a GGUF file.

Knows nothing of prompts or emotions. Axes: O rows out, I columns in.
Source: Qwen Team 2024, "Qwen2.5 Technical Report"; Hui et al. 2024, "Qwen2.5-Coder" (Apache-2.0); GGUF v3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

BOS, EOS = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class Qwen2Shape:
    """The defaults are those of 1.5 billion parameters."""

    layers: int = 28
    heads: int = 12
    key_value_heads: int = 2
    width: int = 1536
    inner: int = 8960
    vocabulary: int = 151_936
    rotary_base: float = 1_000_000.0
    norm_epsilon: float = 1e-6

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    def transformers_config(self) -> Any:
        """The same shape for transformers, for training and for comparison."""
        from transformers import Qwen2Config

        return Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            rope_parameters={"rope_type": "default", "rope_theta": self.rotary_base},
            rms_norm_eps=self.norm_epsilon,
            tie_word_embeddings=True,
        )


# transformers' name of a tensor inside a layer → llama.cpp's
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# The file keeps the tied table twice; the one of the output has more bits.
_OUTER_NAMES = {"model.embed_tokens": "output", "model.norm": "output_norm"}

# How Qwen2 cuts text before merging: contractions, words, single digits, punctuation, white space.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Qwen2File:
    """A GGUF file, read one tensor at a time: 1.5 billion float32 values would not fit many machines."""

    def __init__(self, path: Path) -> None:
        import gguf  # slow, and needed once: the converted folder is kept

        self._gguf = gguf
        self._reader = gguf.GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def __call__(self, name: str) -> np.ndarray:
        """[O, I] or [O], float32, by transformers' name. Raises ``KeyError``."""
        stem, kind = name.rsplit(".", 1)
        if stem in _OUTER_NAMES:
            found = self._tensors[f"{_OUTER_NAMES[stem]}.{kind}"]
        else:
            _, _, layer, part = stem.split(".", 3)
            found = self._tensors[f"blk.{layer}.{_LAYER_NAMES[part]}.{kind}"]
        return self._gguf.quants.dequantize(found.data, found.tensor_type).astype(np.float32, copy=False)

    def tokenizer(self) -> tokenizers.Tokenizer:
        fields = self._reader.fields
        tokens, merges, kinds = (
            fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type")
        )
        control = self._gguf.TokenType.CONTROL
        return build_tokenizer(
            tokens, merges, [one for one, kind in zip(tokens, kinds, strict=True) if kind == control]
        )


def build_tokenizer(tokens: list[str], merges: list[str], special: list[str]) -> tokenizers.Tokenizer:
    """Byte-level BPE with Qwen2's own cutting of text."""
    pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(_PIECES), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer
