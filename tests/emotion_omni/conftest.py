"""Engines and parts with tiny random weights, made once."""

from __future__ import annotations

import pytest
import tiny_cosyvoice
import tiny_parts
import torch

from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.cascade.speech import SpeakerConfig
from emotion_omni.synthesis import text2token, token2wav
from emotion_omni.synthesis.cosyvoice2 import CosyVoice, load_speaker
from emotion_omni.synthesis.token2wav import SMALL, Streaming, Token2Wav


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    return tiny_parts.save_all(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def settings(checkpoints) -> CascadeConfig:
    return tiny_parts.config(checkpoints)


@pytest.fixture(scope="session")
def hub(embedded, settings) -> CascadeEngine:  # embedded: skips without its weights, because the voice is the same
    return CascadeEngine.load(settings, "hub")


@pytest.fixture(scope="session")
def emotion2vec(tmp_path_factory):
    return tiny_parts.save_emotion2vec(tmp_path_factory.mktemp("emotion2vec"))


@pytest.fixture(scope="session")
def official(tmp_path_factory):
    """A folder like the published CosyVoice2."""
    return tiny_cosyvoice.save_official(tmp_path_factory.mktemp("cosyvoice"))


@pytest.fixture(scope="session")
def cosyvoice(official, tmp_path_factory) -> CosyVoice:
    folder = tmp_path_factory.mktemp("prepared")
    text2token.convert(official, folder)
    token2wav.convert(official, folder, Token2Wav.random(0).voice, SMALL)
    voice = load_speaker(SpeakerConfig("cosyvoice2", str(folder)), torch.device("cpu"))
    voice.token2wav.streaming = Streaming(steps=1)  # the fewer, the faster
    return voice
