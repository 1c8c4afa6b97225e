"""The frozen networks of a configuration as feature extractors: two encoders and a speech tokenizer.

Each has an identity, which is part of the feature files' names; the network itself is loaded only when something must
be computed. An encoder states its identity when it is loaded; the identity is noted beside the features and reused as
long as nothing it depends on has changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from emotion_omni import weights
from emotion_omni.omni import encoders
from emotion_omni.omni.config import EncoderConfig, OmniConfig
from emotion_omni.recognition import emotion2vec, lora_head
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.train.features import FeatureExtractor
from emotion_omni.types import Audio

PINNED = re.compile(r".+@[0-9a-f]{40}")
ENCODERS = {"semantic": encoders.semantic_encoder, "emotion": encoders.emotion_encoder}


@dataclass(frozen=True)
class Extractors:
    """The frozen networks of a configuration. ``speech``: the tokenizer, when speech is trained."""

    semantic: FeatureExtractor
    emotion: FeatureExtractor
    speech: FeatureExtractor | None = None


def extractors(config: OmniConfig, folder: Path, speech: bool = False, device: str = "cpu") -> Extractors:
    """``folder``: of the features, where identities are noted. ``speech``: whether speech tokens are needed too.

    Raises :class:`EmotionOmniError` if an encoder or the tokenizer is not available.
    """
    return Extractors(
        _encoder("semantic", config.semantic, folder, device),
        _encoder("emotion", config.emotion, folder, device),
        _tokenizer(config) if speech else None,
    )


def _encoder(role: str, config: EncoderConfig, folder: Path, device: str) -> FeatureExtractor:
    def load() -> Callable[[Audio], Tensor]:
        encoder = ENCODERS[role](config, device)

        def frames(speech: Audio) -> Tensor:
            found, lengths = encoder([encoders.prepare(speech)])
            return found[0, : int(lengths[0])]

        return frames

    def identity() -> str:
        return ENCODERS[role](config, device).identity

    return FeatureExtractor(
        f"{role} encoder {config.name}", _noted_identity(folder, _dependencies(role, config), identity), load
    )


def _dependencies(role: str, config: EncoderConfig) -> str | None:
    """Everything an encoder's identity depends on, without loading it; None if it may change unnoticed."""
    if config.name == "embedded":
        content = f"{weights.find('whisper-base/model.bin').sha256} {weights.sha256(lora_head.SHIPPED)}"
    elif config.name == "random" or PINNED.fullmatch(config.name):
        content = torch.__version__
    elif Path(config.name).is_dir():
        files = sorted(path for path in Path(config.name).rglob("*") if path.is_file())
        content = json.dumps([[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files])
    else:
        return None  # a branch of a hub repository can move
    code = encoders.code_sha256() + weights.sha256(Path(emotion2vec.__file__))
    return "\n".join([role, json.dumps(dataclasses.asdict(config)), str(encoders.PREPARE_VERSION), code, content])


def _noted_identity(folder: Path, dependencies: str | None, find: Callable[[], str]) -> str:
    if dependencies is None:
        return find()
    note = folder / "identities" / hashlib.sha256(dependencies.encode()).hexdigest()
    if note.exists():
        return note.read_text(encoding="utf-8")
    identity = find()
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(f".{os.getpid()}")
    part.write_text(identity, encoding="utf-8")
    os.replace(part, note)
    return identity


def _tokenizer(config: OmniConfig) -> FeatureExtractor:
    """That of the voice: our small codec's, or CosyVoice2's."""
    path = voice.tokenizer_file(config.voice)

    def load() -> Callable[[Audio], Tensor]:
        tokenizer = voice.load_tokenizer(config.voice, config.speech.codebook_size)
        return lambda speech: torch.from_numpy(tokenizer(speech)).long()

    return FeatureExtractor(f"speech tokenizer of {config.voice}", f"{config.voice} {weights.sha256(path)}", load)
