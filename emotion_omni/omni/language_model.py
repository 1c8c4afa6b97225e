"""The language model that answers: loaded by name, frozen, with a low-rank adaptation (LoRA) beside it.

Paper, model section: Qwen2.5-7B-Instruct with LoRA of rank 8. By a hub id or a folder any causal
language model of transformers with a chat template will do; ``embedded`` is the SmolLM2 of the
embedded engine, before that engine's own adapter; ``random`` fits a test. Knows nothing of sound.

Axes: D width, V vocabulary. Source: Hu et al. 2021, "LoRA".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peft
import tokenizers
import torch
import transformers
from torch import nn

from emotion_omni import weights
from emotion_omni.omni.config import LanguageModelConfig, LoraSettings
from emotion_omni.response import smollm2
from emotion_omni.types import EmotionOmniError

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, which SmolLM2 and Qwen2.5 were both tuned with; without their default system message."""

QWEN_7B = {
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
    lora: LoraSettings,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[peft.PeftModel, Any]:
    """→ the frozen model with a fresh adaptation that changes nothing yet, and its tokenizer.

    Only safetensors are read, and no code of the repository is run. Raises :class:`EmotionOmniError`
    (codes ``config``, ``weights``).
    """
    makers = {"random": _random, "embedded": _embedded}
    with seeded(seed):
        if config.name in makers:
            model, tokenizer = makers[config.name](config)
        else:
            model, tokenizer = _from_hub(config, dtype)
        if model.config.hidden_size != config.width:
            raise EmotionOmniError(
                f"language_model.width is {config.width}, and the states of {config.name!r} have {model.config.hidden_size} "
                "features. Set language_model.width and speech.width to that.",
                "config",
            )
        return _adapted(in_precision(model.to(device), dtype).requires_grad_(False), lora), tokenizer


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The parameters in ``dtype``. Buffers stay as they are: rotary frequencies that are rounded turn far positions wrongly."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    return network


def _adapted(model: nn.Module, lora: LoraSettings) -> peft.PeftModel:
    names = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    if unknown := sorted(set(lora.targets) - names):
        raise EmotionOmniError(
            f"lora.targets names {', '.join(unknown)}, and the language model has no such layer. It has: {', '.join(sorted(names))}.",
            "config",
        )
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings(
        action="ignore", category=FutureWarning
    ):  # peft asks for a name that transformers gave up
        return peft.get_peft_model(model, settings)


def _from_hub(config: LanguageModelConfig, dtype: torch.dtype) -> tuple[nn.Module, Any]:
    name, _, revision = config.name.partition("@")
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            name, revision=revision or "main", dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    except weights.loading_errors() as error:
        raise EmotionOmniError(
            f"The language model {config.name!r} cannot be loaded: {error}. Check the name and the network, or name a folder.",
            "weights",
        ) from error
    if not tokenizer.chat_template:
        raise EmotionOmniError(
            f"{config.name!r} has no chat template. Choose a language model tuned for conversation.", "config"
        )
    return model, tokenizer


def _embedded(config: LanguageModelConfig) -> tuple[nn.Module, Any]:
    checkpoint = smollm2.read_gguf(weights.fetch("smollm2/smollm2-135m-instruct-q4_1.gguf"))
    model = transformers.LlamaForCausalLM(smollm2.transformers_config())
    tensors = {name: torch.from_numpy(values) for name, values in checkpoint.tensors.items()}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]  # tied
    model.load_state_dict(tensors, strict=True)
    return model, _wrapped(checkpoint.tokenizer)


def _random(config: LanguageModelConfig) -> tuple[nn.Module, Any]:
    """Qwen2 over bytes: the paper's wiring, at a test's size or, for measuring what it costs, at the paper's."""
    tokenizer = byte_tokenizer()
    return transformers.Qwen2ForCausalLM(random_shape(config.width, len(tokenizer), tokenizer.eos_token_id)), tokenizer


def random_shape(width: int, vocabulary: int, end: int) -> transformers.Qwen2Config:
    """Of two layers; the width of the paper's model gives that model's own shape (Qwen2.5-7B: Yang et al. 2024)."""
    shape = {
        "vocab_size": vocabulary,
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
        **shape | {"hidden_size": width}, eos_token_id=end, pad_token_id=end, bos_token_id=None
    )


def byte_tokenizer() -> Any:
    """A token for each byte: no merges, nothing to download."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bytes_only = tokenizers.Tokenizer(
        tokenizers.models.BPE({letter: index for index, letter in enumerate(alphabet)}, [])
    )
    bytes_only.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_only.decoder = tokenizers.decoders.ByteLevel()
    bytes_only.add_special_tokens([smollm2.BOS, smollm2.EOS])
    return _wrapped(bytes_only)


def _wrapped(tokenizer: tokenizers.Tokenizer) -> Any:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=smollm2.EOS,
        pad_token=smollm2.EOS,
        chat_template=CHAT,
        clean_up_tokenization_spaces=False,
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights that depend on ``seed`` alone; the caller's own draws go on as if nothing had happened."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
