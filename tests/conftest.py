"""Sounds to test with, made on the spot, and engines loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emotion_omni import engine, processors
from emotion_omni.types import Audio, Delivery, EmotionOmniError

processors.disable_thread_spinning()

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


def pytest_collection_modifyitems(items):
    """The slow page tests last, so that a plain mistake shows in seconds."""
    items.sort(key=lambda item: "page" in item.keywords)


@pytest.fixture(scope="session")
def embedded():
    """The real engine with the small language model. Its weights come from the package registries; without them the
    cases are skipped."""
    try:
        return engine.load("embedded-small")
    except EmotionOmniError as error:
        if error.code == "weights" and not os.environ.get("CI"):
            pytest.skip(f"weights cannot be had here: {error}")
        raise


@pytest.fixture(scope="session")
def spoken(embedded) -> Audio:
    """A real sentence, spoken by our own voice."""
    from emotion_omni import audio

    pieces = list(embedded.speak("I have lost my keys, and I do not know what to do.", Delivery("neutral")))
    return audio.resample(audio.join(pieces), 16_000)


@pytest.fixture(scope="session")
def speech_packs() -> list[Path]:
    """Folders of real recordings with a manifest.csv: EMOTION_OMNI_SPEECH, joined by the path separator."""
    folders = os.environ.get("EMOTION_OMNI_SPEECH")
    if not folders:
        pytest.skip("EMOTION_OMNI_SPEECH names no folder of recordings")
    return [Path(folder) for folder in folders.split(os.pathsep)]


def tone(seconds: float, hz: int = 16_000, pitch: float = 220.0, level: float = 0.2) -> Audio:
    times = np.arange(int(seconds * hz)) / hz
    return Audio((level * np.sin(2 * np.pi * pitch * times)).astype(np.float32), hz)


def noise(seconds: float, hz: int = 16_000, level: float = 0.05, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, level, int(seconds * hz))
    return Audio(np.clip(samples, -1, 1).astype(np.float32), hz)


def music(seconds: float, hz: int = 16_000) -> Audio:
    """A slow chord progression: periodic and loud like a voice, but nobody speaks."""
    times = np.arange(int(seconds * hz)) / hz
    chords = ((220, 277, 330), (247, 311, 370), (196, 247, 294))
    wave = sum(
        np.sin(2 * np.pi * np.choose((times // 0.7).astype(int) % 3, [c[i] for c in chords]) * times) for i in range(3)
    )
    return Audio((0.15 * wave).astype(np.float32), hz)
