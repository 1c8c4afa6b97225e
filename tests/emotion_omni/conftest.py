"""Engines and parts with tiny random weights, made once."""

from __future__ import annotations

import pytest
import tiny_cosyvoice2
import tiny_parts

from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.cascade.engine import CascadeEngine


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
def published(tmp_path_factory):
    """A folder like the published CosyVoice2."""
    pytest.importorskip("cosyvoice", reason="cosyvoice-minicpmo is not installed (requirements-gpu.txt)")
    return tiny_cosyvoice2.write_published(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def cosyvoice2(published, tmp_path_factory):
    return tiny_cosyvoice2.convert_published(published, tmp_path_factory.mktemp("converted"))
