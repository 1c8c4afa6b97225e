"""Kokoro with its real weights, loaded once."""

from __future__ import annotations

import os

import pytest

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
