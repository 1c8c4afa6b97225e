"""A small CosyVoice2, saved as the published one is, its language model by the package's own class."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
import transformers

from emotion_omni.omni.language_model import byte_tokenizer
from emotion_omni.synthesis import token2wav
from emotion_omni.synthesis.token2wav import CODES, SMALL


def save_official(folder: Path) -> Path:
    """A folder like the published CosyVoice2, its language model saved by the package's own class."""
    pytest.importorskip("cosyvoice", reason="cosyvoice-minicpmo is not installed (requirements-gpu.txt)")
    flow, hift = token2wav.build(SMALL)
    with torch.no_grad():
        hift.f0_predictor.classifier.bias.fill_(200.0)
    torch.save(flow.state_dict(), folder / "flow.pt")
    torch.save(hift.state_dict(), folder / "hift.pt")
    tokenizer = byte_tokenizer()
    shape = transformers.Qwen2Config(
        vocab_size=len(tokenizer) + 8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.3,
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        transformers.Qwen2ForCausalLM(shape).save_pretrained(folder / "CosyVoice-BlankEN")
        tokenizer.save_pretrained(folder / "CosyVoice-BlankEN")
        torch.save(published(folder).state_dict(), folder / "llm.pt")
    return folder


def published(folder):
    """The package's own network around a Qwen2 of ours, with the weights of llm.pt if they are there."""
    llm = importlib.import_module("cosyvoice.llm.llm")
    network = llm.Qwen2LM(16, 16, CODES, llm.Qwen2Encoder(str(folder / "CosyVoice-BlankEN")), sampling=None).eval()
    if (folder / "llm.pt").exists():
        network.load_state_dict(torch.load(folder / "llm.pt", weights_only=True))
    else:
        network.llm_decoder.bias.data[CODES] = (
            30  # it ends as soon as it may, or the tests would wait for it to talk on
        )
    return network
