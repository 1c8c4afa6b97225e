"""The semantic encoders equal their originals."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from tiny_encoders import recording

from emotion_omni.omni import encoders
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.recognition.whisper_encoder import HZ, read_ctranslate2


@pytest.mark.parametrize("name", ["whisper", "large"])
def test_whisper_over_its_full_30_s_equals_transformers_own(make, folders, name):
    ours, samples = make(f"semantic {name}"), recording(4.0)
    theirs = transformers.WhisperModel.from_pretrained(folders / name).eval()
    features = transformers.WhisperFeatureExtractor(feature_size=theirs.config.num_mel_bins)
    mel = features(samples, sampling_rate=HZ, return_tensors="pt")["input_features"]  # padded to 30 s
    padded = torch.from_numpy(np.pad(samples, (0, 30 * HZ - len(samples))))
    assert mel.shape == (1, theirs.config.num_mel_bins, 3000) and torch.equal(ours.log_mel(padded), mel)
    with torch.no_grad():
        assert torch.allclose(ours.encode(mel), theirs.encoder(mel).last_hidden_state, atol=1e-5)


def test_the_same_weights_give_the_same_frames_by_either_path(make, whisper_base, tmp_path):
    """Whisper base of the embedded engine, saved as transformers would hold it: mel, crop and layers must all agree."""
    tensors = {name.removeprefix("encoder/"): value for name, value in read_ctranslate2(whisper_base).items()}
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, num_mel_bins=80
    )
    config.architectures = ["WhisperModel"]
    config.save_pretrained(tmp_path)
    safetensors.torch.save_file(as_transformers(tensors), tmp_path / "model.safetensors", metadata={"format": "pt"})
    ours = encoders.semantic_encoder(EncoderConfig(str(tmp_path), 512))
    frames, _ = ours([recording(1.3)])
    expected, _ = make("semantic embedded")([recording(1.3)])
    assert torch.allclose(frames, expected, atol=2e-3) and expected.std() > 0.1


def as_transformers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder of a CTranslate2 Whisper under the names of transformers."""
    named = {"model.encoder.embed_positions.weight": tensors["position_encodings/encodings"]}

    def put(name: str, at: str, weight: str = "weight", bias: str = "bias") -> None:
        named.update(
            {
                f"model.encoder.{name}.{kind}": tensors[f"{at}/{key}"]
                for kind, key in (("weight", weight), ("bias", bias))
            }
        )

    put("conv1", "conv1"), put("conv2", "conv2"), put("layer_norm", "layer_norm", "gamma", "beta")
    for index in range(6):
        here, there = f"layers.{index}", f"layer_{index}"
        put(f"{here}.self_attn_layer_norm", f"{there}/self_attention/layer_norm", "gamma", "beta")
        put(f"{here}.final_layer_norm", f"{there}/ffn/layer_norm", "gamma", "beta")
        put(f"{here}.self_attn.out_proj", f"{there}/self_attention/linear_1")
        put(f"{here}.fc1", f"{there}/ffn/linear_0"), put(f"{here}.fc2", f"{there}/ffn/linear_1")
        for kind in ("weight", "bias"):
            parts = tensors[f"{there}/self_attention/linear_0/{kind}"].chunk(3)
            named.update(
                {
                    f"model.encoder.{here}.self_attn.{letter}_proj.{kind}": part
                    for letter, part in zip("qkv", parts, strict=True)
                }
            )
        del named[f"model.encoder.{here}.self_attn.k_proj.bias"]  # Whisper's keys have none; CTranslate2 holds zeros
    return {name: value.float().contiguous() for name, value in named.items()}
