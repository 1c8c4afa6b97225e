"""Synthesizers, loaded once: Kokoro with its real weights, CosyVoice2 with tiny random ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_cosyvoice2 import convert_published, write_published

from emotion_omni.synthesis.cosyvoice2 import CosyVoice2Synthesizer
from emotion_omni.synthesis.g2p import G2P
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.types import EmotionOmniError


@pytest.fixture(scope="session")
def kokoro() -> KokoroSynthesizer:
    try:
        return KokoroSynthesizer.load()
    except EmotionOmniError as error:
        if error.code == "weights" and not os.environ.get("CI"):
            pytest.skip(f"weights cannot be fetched here: {error}")
        raise


@pytest.fixture(scope="session")
def g2p(kokoro) -> G2P:
    return kokoro._g2p


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """A folder like the published CosyVoice2."""
    pytest.importorskip("cosyvoice", reason="cosyvoice-minicpmo is not installed (requirements-gpu.txt)")
    return write_published(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def cosyvoice2(published, tmp_path_factory) -> CosyVoice2Synthesizer:
    return convert_published(published, tmp_path_factory.mktemp("converted"))
