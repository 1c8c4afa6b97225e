"""Encoders from the hub and from folders."""

from __future__ import annotations

import huggingface_hub
import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import HTTPError
from tiny_encoders import WIDTH

from emotion_omni.omni import encoders
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize(
    ("kind", "name", "lost"),
    [("semantic", "whisper", "layers.1.fc1.weight"), ("emotion", "wav2vec2", "layers.1.layer_norm")],
)
def test_weights_that_are_missing_are_not_made_up(folders, tmp_path, kind, name, lost):
    tensors = safetensors.torch.load_file(folders / name / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if not ("encoder" in key and lost in key)}
    assert 0 < len(kept) < len(tensors)
    for file in (folders / name).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    safetensors.torch.save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EmotionOmniError, match=r"lacks \d+ tensors") as caught:
        getattr(encoders, f"{kind}_encoder")(EncoderConfig(str(tmp_path), WIDTH))
    assert caught.value.code == "weights"


def test_pickled_weights_are_not_read(folders, tmp_path):
    for file in (folders / "whisper").glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(safetensors.torch.load_file(folders / "whisper" / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(EmotionOmniError, match="safetensors") as caught:
        encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH))
    assert caught.value.code == "weights"


def test_a_broken_file_or_connection_is_reported_in_a_sentence(folders, tmp_path, monkeypatch):
    for file in (folders / "whisper").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -100 if file.suffix == ".safetensors" else None])
    with pytest.raises(EmotionOmniError, match="cannot be loaded") as caught:
        encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH))
    assert caught.value.code == "weights"

    def broken(*given, **named):
        raise HTTPError("the line broke")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(EmotionOmniError, match="'me/mine' cannot be loaded: the line broke") as caught:
        encoders.semantic_encoder(EncoderConfig("me/mine", WIDTH))
    assert caught.value.code == "weights"


def test_the_identity_follows_the_weights_and_not_the_folder(folders, tmp_path):
    first = encoders.semantic_encoder(EncoderConfig(str(folders / "whisper"), WIDTH)).identity
    for file in (folders / "whisper").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH)).identity == first
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    tensors["model.encoder.conv1.bias"] += 1
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH)).identity != first


def test_a_pinned_revision_is_read_from_the_hub_and_named_in_the_identity(folders, tmp_path, monkeypatch):
    """Against the hub client's own cache, filled by hand: two commits of one repository, without a network."""
    commits = {"v1": "1" * 40, "main": "2" * 40}
    repository = tmp_path / "models--someone--whisper-tiny"
    for (revision, commit), name in zip(commits.items(), ("whisper", "large"), strict=True):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        for file in (folders / name).iterdir():
            (repository / "snapshots" / commit / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, revision, mels in (("someone/whisper-tiny@v1", "v1", 80), ("someone/whisper-tiny", "main", 128)):
        encoder = encoders.semantic_encoder(EncoderConfig(name, WIDTH))
        assert encoder.network.config.num_mel_bins == mels
        assert f"someone/whisper-tiny@{commits[revision]}" in encoder.identity
    with pytest.raises(EmotionOmniError, match="nobody/nothing.*name a folder") as caught:
        encoders.semantic_encoder(EncoderConfig("nobody/nothing", WIDTH))
    assert caught.value.code == "weights"
