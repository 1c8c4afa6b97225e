"""The frozen networks that a configuration names, for the features they give: two encoders and a speech tokenizer.

Each has an identity, which is known to the features' file names; the network itself is loaded only
when something must be computed. The identity of an encoder is what the encoder says when it is loaded;
it is noted beside the features for as long as nothing it hangs on has changed. Knows no rows.
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
from emotion_omni.recognition import emotion2vec, speech_emotion
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.train.features import Source
from emotion_omni.types import Audio

PINNED = re.compile(r".+@[0-9a-f]{40}")
MAKERS = {"semantic": encoders.semantic_encoder, "emotion": encoders.emotion_encoder}


@dataclass(frozen=True)
class Sources:
    """The frozen networks of a configuration. ``speech``: the tokenizer, when speech is taught."""

    semantic: Source
    emotion: Source
    speech: Source | None = None


def sources(config: OmniConfig, folder: Path, speech: bool = False, device: str = "cpu") -> Sources:
    """``folder``: of the features, where identities are noted. ``speech``: whether tokens are wanted too.

    Raises :class:`EmotionOmniError` when an encoder or the tokenizer cannot be had.
    """
    return Sources(
        _encoder("semantic", config.semantic, folder, device),
        _encoder("emotion", config.emotion, folder, device),
        _tokenizer(config) if speech else None,
    )


def _encoder(role: str, config: EncoderConfig, folder: Path, device: str) -> Source:
    def load() -> Callable[[Audio], Tensor]:
        encoder = MAKERS[role](config, device)

        def frames(speech: Audio) -> Tensor:
            found, lengths = encoder([encoders.prepare(speech)])
            return found[0, : int(lengths[0])]

        return frames

    def identity() -> str:
        return MAKERS[role](config, device).identity

    return Source(f"{role} encoder {config.name}", _noted(folder, _circumstances(role, config), identity), load)


def _circumstances(role: str, config: EncoderConfig) -> str | None:
    """All that an encoder's identity hangs on and that is known without loading it. None when it may change unseen."""
    if config.name == "embedded":
        content = f"{weights.find('whisper-base/model.bin').sha256} {weights.sha256(speech_emotion.SHIPPED)}"
    elif config.name == "random" or PINNED.fullmatch(config.name):
        content = torch.__version__
    elif Path(config.name).is_dir():
        files = sorted(path for path in Path(config.name).rglob("*") if path.is_file())
        content = json.dumps([[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files])
    else:
        return None  # a branch of a hub's repository
    code = encoders.code_sha256() + weights.sha256(Path(emotion2vec.__file__))
    return "\n".join([role, json.dumps(dataclasses.asdict(config)), str(encoders.PREPARE_VERSION), code, content])


def _noted(folder: Path, circumstances: str | None, find: Callable[[], str]) -> str:
    if circumstances is None:
        return find()
    note = folder / "identities" / hashlib.sha256(circumstances.encode()).hexdigest()
    if note.exists():
        return note.read_text(encoding="utf-8")
    identity = find()
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(f".{os.getpid()}")
    part.write_text(identity, encoding="utf-8")
    os.replace(part, note)
    return identity


def _tokenizer(config: OmniConfig) -> Source:
    """That of the voice: our small codec's, or CosyVoice2's."""
    path = voice.tokenizer_file(config)

    def load() -> Callable[[Audio], Tensor]:
        tokenizer = voice.tokenizer(config)
        return lambda speech: torch.from_numpy(tokenizer(speech)).long()

    return Source(f"speech tokenizer of {config.voice}", f"{config.voice} {weights.sha256(path)}", load)
