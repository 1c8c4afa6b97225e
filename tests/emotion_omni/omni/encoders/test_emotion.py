"""The emotion encoders equal their originals."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import transformers
from tiny_encoders import WIDTH, recording

from emotion_omni.omni import encoders
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.recognition import lora_head
from emotion_omni.recognition.lora_head import LoRAHead
from emotion_omni.recognition.whisper_encoder import HZ, WhisperEncoder, valid_frames
from emotion_omni.types import EmotionOmniError


def test_the_embedded_encoders_read_what_the_embedded_engine_reads(make, whisper_base):
    samples = recording(1.7)
    network = WhisperEncoder.load(whisper_base)
    states = network.hidden_states(samples)[:, : valid_frames(len(samples))]
    words, _ = make("semantic embedded")([samples])
    assert torch.equal(words[0], states[-1])
    head = LoRAHead.load(lora_head.SHIPPED, network)
    with torch.inference_mode():
        mixed = head.adapted.features(states[None, head.config.first], torch.ones(1, states.shape[1], dtype=torch.bool))
    tones, _ = make("emotion embedded")([samples])
    assert torch.equal(tones[0], mixed[0])


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_an_encoder_like_wav2vec_gives_what_transformers_gives(make, folders, name):
    """Normalised where its own feature extractor says so, and only there."""
    samples = recording(1.5)
    features = transformers.AutoFeatureExtractor.from_pretrained(folders / name)(
        samples, sampling_rate=HZ, return_tensors="pt"
    )
    theirs = transformers.AutoModel.from_pretrained(folders / name).eval()
    with torch.no_grad():
        expected = theirs(features["input_values"]).last_hidden_state
    frames, _ = make(f"emotion {name}")([samples])
    assert torch.allclose(frames, expected, atol=1e-5)


def test_without_its_package_emotion2vec_says_what_to_install(monkeypatch):
    for name in ["funasr", *(name for name in sys.modules if name.startswith("funasr."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EmotionOmniError, match="pip install funasr") as caught:
        encoders.emotion_encoder(EncoderConfig("iic/emotion2vec_base", 768))
    assert caught.value.code == "missing-package"


def test_emotion2vec_gives_what_its_package_gives(make, emotion2vec):
    from funasr import AutoModel

    theirs = AutoModel(
        model=str(emotion2vec),
        hub="hf",
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
        log_level="ERROR",
    )
    samples = recording(1.4)
    (expected,) = theirs.generate(samples, granularity="frame", extract_embedding=True)
    frames, _ = make("emotion emotion2vec")([samples])
    assert torch.allclose(frames[0], torch.from_numpy(expected["feats"]), atol=1e-6)


def test_emotion2vec_is_filled_from_its_file_or_refused(emotion2vec, tmp_path):
    folder = tmp_path / "emotion2vec"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((emotion2vec / "config.yaml").read_bytes())
    tensors = torch.load(emotion2vec / "weights.pt", weights_only=True)["model"]
    torch.save({name: value for name, value in tensors.items() if "blocks.1" not in name}, folder / "model.pt")
    with pytest.raises(EmotionOmniError, match=r"lacks \d+ tensors, blocks\.1"):
        encoders.emotion_encoder(EncoderConfig(str(folder), WIDTH))
    torch.save({name: value for name, value in tensors.items() if ".decoder." not in name}, folder / "model.pt")
    assert (
        encoders.emotion_encoder(EncoderConfig(str(folder), WIDTH)).width == WIDTH
    )  # the decoder is of its pretraining


def test_a_configuration_of_emotion2vec_is_never_run_as_code(emotion2vec, tmp_path):
    folder, proof = tmp_path / "emotion2vec", tmp_path / "ran"
    folder.mkdir()
    settings = json.loads((emotion2vec / "config.yaml").read_text())
    settings["model_conf"]["modalities"]["audio"]["feature_encoder_spec"] = (
        f"[(16, 10, 5)] + list(open({str(proof)!r}, 'w'))"
    )
    (folder / "config.yaml").write_text(json.dumps(settings))
    with pytest.raises(EmotionOmniError, match="no list of numbers") as caught:
        encoders.emotion_encoder(EncoderConfig(str(folder), WIDTH))
    assert caught.value.code == "weights" and not proof.exists()
