"""Encoders with random weights, each made once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tiny_encoders import EMOTION2VEC, WIDTH, shaken

from emotion_omni import weights
from emotion_omni.omni import encoders
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.omni.encoders import Encoder
from emotion_omni.types import EmotionOmniError


@pytest.fixture(scope="session")
def whisper_base() -> Path:
    try:
        return weights.fetch("whisper-base/model.bin")
    except EmotionOmniError as error:
        if error.code == "weights" and not os.environ.get("CI"):
            pytest.skip(f"weights cannot be had here: {error}")
        raise


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Tiny random models saved as on a hub: ``whisper``, ``large`` with 128 mels, ``wav2vec2``, ``wavlm``."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, mels in (("whisper", 80), ("large", 128)):
        heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
        special = {
            "vocab_size": 20,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        }
        shape = {
            "d_model": WIDTH,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
        }
        config = transformers.WhisperConfig(num_mel_bins=mels, **shape, **heads, **special)
        model = transformers.WhisperForConditionalGeneration(config)
        shaken(model).save_pretrained(home / name)
    for name, config, kind, normalise in (
        ("wav2vec2", transformers.Wav2Vec2Config, transformers.Wav2Vec2ForCTC, True),
        ("wavlm", transformers.WavLMConfig, transformers.WavLMModel, False),
    ):
        model = kind(
            config(
                hidden_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                conv_dim=(8,) * 7,
                num_conv_pos_embedding_groups=4,
                num_conv_pos_embeddings=16,
                vocab_size=20,
            )
        )
        shaken(model).save_pretrained(home / name)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(home / name)
    return home


@pytest.fixture(scope="session")
def make(request, folders) -> Callable[[str], Encoder]:
    """An encoder by the name of its case, each loaded once."""
    made: dict[str, Encoder] = {}

    def of(name: str) -> Encoder:
        if name not in made:
            kind, _, source = name.partition(" ")
            if source == "embedded":
                request.getfixturevalue("whisper_base")
            if source == "emotion2vec":
                source = str(request.getfixturevalue("emotion2vec"))
            where = str(folders / source) if (folders / source).is_dir() else source
            made[name] = getattr(encoders, f"{kind}_encoder")(
                EncoderConfig(where, 512 if source == "embedded" else WIDTH)
            )
        return made[name]

    return of


@pytest.fixture(scope="session")
def emotion2vec(tmp_path_factory) -> Path:
    """A thin emotion2vec with random weights in a folder like the published ones."""
    package = pytest.importorskip(
        "funasr.models.emotion2vec.model", reason="funasr is not installed (pip install funasr)"
    )
    folder = tmp_path_factory.mktemp("hub") / "emotion2vec_thin"
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps({"model": "Emotion2vec", "model_conf": EMOTION2VEC}))  # JSON is YAML
    (folder / "configuration.json").write_text(
        json.dumps({"file_path_metas": {"init_param": "weights.pt", "config": "config.yaml"}})
    )
    torch.manual_seed(0)
    torch.save({"model": shaken(package.Emotion2vec(model_conf=EMOTION2VEC)).state_dict()}, folder / "weights.pt")
    return folder
