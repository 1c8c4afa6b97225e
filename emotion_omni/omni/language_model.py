"""The language model that answers: loaded by name, frozen, with LoRA adapters.

Paper, model section: Qwen2.5-7B-Instruct with LoRA of rank 8. A hub id or a folder may name any causal
language model of transformers with a chat template; ``embedded`` is the SmolLM2 of the embedded preset,
without that preset's own adapter; ``random`` is for tests. Knows nothing of sound.

Axes: D width, V vocabulary. Source: Hu et al. 2021, "LoRA".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import peft
import tokenizers
import torch
import transformers
from torch import nn

from emotion_omni import loading, weights
from emotion_omni.omni.config import LanguageModelConfig, LoraConfig
from emotion_omni.response import smollm2
from emotion_omni.types import EmotionOmniError

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, with which SmolLM2 and Qwen2.5 were both tuned; without their default system message."""

Network = TypeVar("Network", bound=nn.Module)

QWEN_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "vocab_size": 152_064,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
}


def load(
    config: LanguageModelConfig,
    lora: LoraConfig,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[peft.PeftModel, Any]:
    """→ the frozen model with fresh LoRA adapters, which change nothing yet, and its tokenizer.

    Only safetensors are read, and no code of the repository is run. Raises :class:`EmotionOmniError`
    (codes ``config``, ``weights``, ``missing-package``, ``memory``).
    """
    builders = {"random": _random, "embedded": _embedded}
    with seeded(seed):
        if config.name in builders:
            model, tokenizer = builders[config.name](config)
        else:
            model, tokenizer = _from_hub(config, dtype)
        if model.config.hidden_size != config.width:
            raise EmotionOmniError(
                f"language_model.width is {config.width}, and the hidden states of {config.name!r} have "
                f"{model.config.hidden_size} features. Set language_model.width and speech.width to that.",
                "config",
            )
        frozen = cast_parameters(model.to(device), dtype).requires_grad_(False)
        return _add_lora(frozen, lora), tokenizer


def cast_parameters(network: Network, dtype: torch.dtype) -> Network:
    """The parameters in ``dtype``, in place. Buffers keep theirs: rounded rotary frequencies misplace far positions."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    return network


def _add_lora(model: nn.Module, lora: LoraConfig) -> peft.PeftModel:
    names = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    if unknown := sorted(set(lora.target_modules) - names):
        raise EmotionOmniError(
            f"lora.target_modules names {', '.join(unknown)}, and the language model has no such layer. "
            f"It has: {', '.join(sorted(names))}.",
            "config",
        )
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    # peft asks for a name that transformers has deprecated
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return peft.get_peft_model(model, settings)


def _from_hub(config: LanguageModelConfig, dtype: torch.dtype) -> tuple[Any, Any]:
    name, _, revision = config.name.partition("@")
    source: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    with loading.explained(config.name):
        model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True, **source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **source)
    if not tokenizer.chat_template:
        raise EmotionOmniError(
            f"{config.name!r} has no chat template. Choose a language model tuned for conversation.", "config"
        )
    return model, tokenizer


def _embedded(config: LanguageModelConfig) -> tuple[Any, Any]:
    checkpoint = smollm2.read_gguf(weights.fetch("smollm2/smollm2-135m-instruct-q4_1.gguf"))
    model = transformers.LlamaForCausalLM(smollm2.transformers_config())
    tensors = {name: torch.from_numpy(values) for name, values in checkpoint.tensors.items()}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]  # tied
    model.load_state_dict(tensors, strict=True)
    return model, _with_chat_template(checkpoint.tokenizer)


def _random(config: LanguageModelConfig) -> tuple[Any, Any]:
    """Qwen2 over bytes: the paper's architecture at the size of a test or, for benchmarks, of the paper."""
    tokenizer = byte_tokenizer()
    shape = random_qwen2_config(config.width, len(tokenizer), tokenizer.eos_token_id)
    return transformers.Qwen2ForCausalLM(shape), tokenizer


def random_qwen2_config(width: int, vocab_size: int, eos_token_id: int) -> transformers.Qwen2Config:
    """Two layers; for the width of the paper's model, that model's own shape (Qwen2.5-7B: Yang et al. 2024)."""
    shape: dict[str, Any] = {
        "vocab_size": vocab_size,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    }
    if width == QWEN_7B["hidden_size"]:
        shape = QWEN_7B
    return transformers.Qwen2Config(
        **shape | {"hidden_size": width},
        eos_token_id=eos_token_id,
        pad_token_id=eos_token_id,
        bos_token_id=None,
    )


def byte_tokenizer() -> Any:
    """One token per byte: no merges, nothing to download."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bytes_only = tokenizers.Tokenizer(
        tokenizers.models.BPE({letter: index for index, letter in enumerate(alphabet)}, [])
    )
    bytes_only.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_only.decoder = tokenizers.decoders.ByteLevel()
    bytes_only.add_special_tokens([smollm2.BOS, smollm2.EOS])
    return _with_chat_template(bytes_only)


def _with_chat_template(tokenizer: tokenizers.Tokenizer) -> Any:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=smollm2.EOS,
        pad_token=smollm2.EOS,
        chat_template=CHAT,
        clean_up_tokenization_spaces=False,
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights depend on ``seed`` alone; the caller's random state is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
