"""The head of release 0.1: released weights open, and what it saves opens again."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from emotion_omni import weights
from emotion_omni.recognition import lora_head
from emotion_omni.recognition.lora_head import AttentiveStatisticsPooling, LoRAHead
from emotion_omni.recognition.whisper_encoder import WhisperEncoder
from emotion_omni.types import EmotionOmniError


@pytest.fixture(scope="module")
def encoder(embedded) -> WhisperEncoder:
    return embedded.recognizer.encoder


def test_the_released_file_keeps_its_bytes():
    """Its hash is part of the identity of features that are kept on disk, and of encoders in checkpoints."""
    assert weights.sha256(lora_head.SHIPPED).startswith("4e691b437066fcb5")


def test_names_of_before_and_since_hold_the_same_weights(encoder, tmp_path):
    with safe_open(lora_head.SHIPPED, "pt") as file:
        assert "adapted.attend.0.weight" in file.keys() and "linear.centre" in file.keys()  # noqa: SIM118
    head = LoRAHead.load(lora_head.SHIPPED, encoder)
    head.save(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert "adapted.pooling.attention.0.weight" in file.keys() and "linear.mean" in file.keys()  # noqa: SIM118
    again = LoRAHead.load(tmp_path / "new.safetensors", encoder)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in head.state_dict().items())


def test_a_file_without_all_weights_is_refused(encoder, tmp_path):
    (tmp_path / "short.safetensors").write_bytes(lora_head.SHIPPED.read_bytes()[:-100])
    with pytest.raises(EmotionOmniError, match=r"short\.safetensors does not hold") as caught:
        LoRAHead.load(tmp_path / "short.safetensors", encoder)
    assert caught.value.code == "checkpoint"


def test_pooling_ignores_what_the_mask_excludes():
    pooling = AttentiveStatisticsPooling(8).eval()
    x, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    changed = x.clone()
    changed[0, 3:] = 99.0
    assert torch.allclose(pooling(x, mask), pooling(changed, mask), atol=1e-5)
    assert torch.allclose(pooling(x[:1, :3], mask[:1, :3]), pooling(x, mask)[:1], atol=1e-5)
