"""CosyVoice2 with tiny random weights: a folder like the published one, and the converted folder that speaks."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
import transformers

from emotion_omni.omni.language_model import byte_tokenizer
from emotion_omni.synthesis import cosyvoice2_networks, text2token, token2wav
from emotion_omni.synthesis.config import CosyVoice2Config
from emotion_omni.synthesis.cosyvoice2 import CosyVoice2Synthesizer
from emotion_omni.synthesis.cosyvoice2_networks import CODES, SMALL
from emotion_omni.synthesis.token2wav import Streaming, Token2Wav

CPU = torch.device("cpu")


def write_published(folder: Path) -> Path:
    """The networks behind the tokens and the language model, saved by the package's own classes."""
    flow, hift = cosyvoice2_networks.build(SMALL)
    with torch.no_grad():
        hift.f0_predictor.classifier.bias.fill_(200.0)
    torch.save(flow.state_dict(), folder / "flow.pt")
    torch.save(hift.state_dict(), folder / "hift.pt")
    tokenizer = byte_tokenizer()
    config = transformers.Qwen2Config(
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
        transformers.Qwen2ForCausalLM(config).save_pretrained(folder / "CosyVoice-BlankEN")
        tokenizer.save_pretrained(folder / "CosyVoice-BlankEN")
        torch.save(published_language_model(folder).state_dict(), folder / "llm.pt")
    return folder


def published_language_model(folder: Path) -> Any:
    """The package's own class around a Qwen2 of ours, with the weights of llm.pt if they are there."""
    llm = importlib.import_module("cosyvoice.llm.llm")
    model = llm.Qwen2LM(16, 16, CODES, llm.Qwen2Encoder(str(folder / "CosyVoice-BlankEN")), sampling=None).eval()
    if (folder / "llm.pt").exists():
        model.load_state_dict(torch.load(folder / "llm.pt", weights_only=True))
    else:
        model.llm_decoder.bias.data[CODES] = 30  # it ends as soon as it may: the tests need not wait for a long reply
    return model


def convert_published(published: Path, folder: Path) -> CosyVoice2Synthesizer:
    """→ a synthesizer of one Euler step, from ``folder``."""
    text2token.convert(published, folder)
    token2wav.convert(published, folder, Token2Wav.random(0).voice, SMALL)
    synthesizer = CosyVoice2Synthesizer.load(CosyVoice2Config(folder=str(folder)), CPU)
    synthesizer.token2wav.streaming = Streaming(steps=1)  # the fewer, the faster
    return synthesizer
