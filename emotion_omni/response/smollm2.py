"""SmolLM2-135M-Instruct: from a GGUF file to tensors, a tokenizer and a CTranslate2 folder.

Training needs the tensors under their transformers names, the responder a fast int8 decoder with our adapter merged in,
both the tokenizer. Knows the shape of this one model and nothing of prompts or emotions.

Axes: O rows out, I columns in, R rank of the adapter.
Source: Allal et al. 2025, "SmolLM2" (Apache-2.0); GGUF v3; LoRA: Hu et al. 2021, eq. 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

LAYERS, HEADS, KEY_VALUE_HEADS = 30, 9, 3
WIDTH, INNER, VOCABULARY = 576, 1536, 49_152
ROTARY_BASE, NORM_EPSILON = 100_000.0, 1e-5

BOS, EOS = "<|im_start|>", "<|im_end|>"

# llama.cpp's name of a tensor → transformers' name, inside layer n
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


@dataclass(frozen=True)
class Checkpoint:
    """Tensors [O, I] float32 by their transformers names, and their tokenizer."""

    tensors: dict[str, np.ndarray]
    tokenizer: tokenizers.Tokenizer


def read_gguf(path: Path) -> Checkpoint:
    """The weights, dequantized to float32."""
    import gguf  # slow, and needed once: the converted folder is kept

    reader = gguf.GGUFReader(path)
    tensors = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] in ("attn_q", "attn_k"):
                values = _unpermute(values, HEADS if parts[2] == "attn_q" else KEY_VALUE_HEADS)
            tensors[f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.weight"] = values
        else:
            tensors[f"{_OUTER_NAMES[parts[0]]}.weight"] = values
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.CONTROL]
    return Checkpoint(tensors, build_tokenizer(tokens, merges, special))


def _unpermute(values: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's interleaving of the two rotary halves of each head. [O, I] → [O, I]."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def build_tokenizer(tokens: list[str], merges: list[str], special: list[str]) -> tokenizers.Tokenizer:
    """Byte-level BPE that splits every digit, as SmolLM2 was trained."""
    pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer


def merge_adapter(tensors: dict[str, np.ndarray], adapter: dict[str, np.ndarray], scale: float) -> None:
    """W ← W + scale · B A, in place. ``adapter`` holds ``NAME.lora_A`` [R, I] and ``NAME.lora_B`` [O, R]."""
    names = {name.removesuffix(".lora_A") for name in adapter if name.endswith(".lora_A")}
    if {f"{name}.lora_{half}" for name in names for half in "AB"} != set(adapter):
        raise ValueError("The adapter must hold a lora_A and a lora_B for each tensor it changes, and nothing else.")
    for name in names:
        down, up = adapter[f"{name}.lora_A"].astype(np.float32), adapter[f"{name}.lora_B"].astype(np.float32)
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] + scale * (up @ down)


def transformers_config() -> Any:
    """The same shape as a transformers configuration, for training and for comparison."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
        rms_norm_eps=NORM_EPSILON,
        tie_word_embeddings=True,
    )


def write_ctranslate2(checkpoint: Checkpoint, folder: Path, quantization: str = "int8") -> None:
    """Write a CTranslate2 generator and its tokenizer into an existing, empty ``folder``."""
    from ctranslate2.specs import common_spec, transformer_spec

    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        LAYERS,
        HEADS,
        activation=common_spec.Activation.SWISH,
        pre_norm=True,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,
        rotary_interleave=False,
        rotary_base=ROTARY_BASE,
        num_heads_kv=KEY_VALUE_HEADS,
    )
    tensors, decoder = checkpoint.tensors, spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = tensors["model.embed_tokens.weight"]
    decoder.projection.weight = tensors["model.embed_tokens.weight"]  # tied
    decoder.layer_norm.gamma = tensors["model.norm.weight"]
    for index, layer in enumerate(decoder.layer):
        at = f"model.layers.{index}"
        qkv = [tensors[f"{at}.self_attn.{name}_proj.weight"] for name in "qkv"]
        layer.self_attention.layer_norm.gamma = tensors[f"{at}.input_layernorm.weight"]
        layer.self_attention.linear[0].weight = np.concatenate(qkv)
        layer.self_attention.linear[1].weight = tensors[f"{at}.self_attn.o_proj.weight"]
        layer.ffn.layer_norm.gamma = tensors[f"{at}.post_attention_layernorm.weight"]
        layer.ffn.linear_0.weight = tensors[f"{at}.mlp.gate_proj.weight"]
        layer.ffn.linear_0_noact.weight = tensors[f"{at}.mlp.up_proj.weight"]
        layer.ffn.linear_1.weight = tensors[f"{at}.mlp.down_proj.weight"]

    vocabulary = checkpoint.tokenizer.get_vocab()
    spec.register_vocabulary(sorted(vocabulary, key=vocabulary.__getitem__))
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = BOS, EOS, "<|endoftext|>"
    spec.config.layer_norm_epsilon = NORM_EPSILON
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
