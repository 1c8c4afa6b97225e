"""The vocoder and the speech tokenizer of a voice, by its name: speech tokens → sound, and speech → tokens.

``codec`` is the small codec that comes with the package (checkpoints of earlier releases call it ``units``);
``cosyvoice2`` is in a folder that was made once. Checks that a model has as many speech tokens as its voice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from emotion_omni.synthesis import codec, cosyvoice2_folder, cosyvoice2_networks
from emotion_omni.synthesis.onnx_encoders import SpeechTokenizer
from emotion_omni.synthesis.token2wav import Token2Wav
from emotion_omni.types import Audio, EmotionOmniError

HZ = 24_000  # of both
NAMES = {"codec": "codec", "units": "codec", "cosyvoice2": "cosyvoice2"}  # name in a configuration → voice


class TokenStream(Protocol):
    """One reply between tokens and sound."""

    def push(self, tokens: Sequence[int], last: bool = False) -> np.ndarray: ...


class Vocoder(Protocol):
    """Speech tokens → float32 samples at ``hz``, in one voice."""

    hz: int

    def stream(self, seed: int = 0) -> TokenStream: ...


class Tokenizer(Protocol):
    """Speech → int64 [N], 25 tokens a second."""

    def __call__(self, speech: Audio) -> np.ndarray: ...


def load_vocoder(voice: str, codes: int, device: str = "cpu", folder: str | Path | None = None) -> Vocoder:
    """``codes``: how many speech tokens the model has. ``folder``: of CosyVoice2, by default ``find_folder()``.

    Raises :class:`EmotionOmniError` (codes ``config``, ``missing``, ``missing-package``, ``checkpoint``, ``voice``).
    """
    if _known(voice) == "cosyvoice2":
        _check_codes(voice, codes, cosyvoice2_networks.CODES)
        return Token2Wav.load(_cosyvoice2(folder), device)
    vocoder = codec.CodecVocoder.load(codec.SHIPPED, device)
    _check_codes(voice, codes, vocoder.codes)
    return vocoder


def load_tokenizer(voice: str, codes: int, folder: str | Path | None = None) -> Tokenizer:
    """Makes the speech tokens of a training set. Arguments and errors as :func:`load_vocoder`."""
    path = tokenizer_file(voice, folder)
    if _known(voice) == "cosyvoice2":
        _check_codes(voice, codes, cosyvoice2_networks.CODES)
        return SpeechTokenizer(path)
    tokenizer = codec.CodecTokenizer.load(path)
    _check_codes(voice, codes, tokenizer.codes)
    return tokenizer


def tokenizer_file(voice: str, folder: str | Path | None = None) -> Path:
    """The weights of :func:`load_tokenizer`. Raises :class:`EmotionOmniError` (codes ``config``, ``missing``)."""
    if _known(voice) == "codec":
        return codec.SHIPPED
    path = _cosyvoice2(folder) / cosyvoice2_folder.TOKENIZER
    if not path.is_file():
        raise EmotionOmniError(
            f"{path.parent} has no {path.name}, which turns speech into tokens. Make the folder again: "
            f"{cosyvoice2_folder.COMMAND}.",
            "missing",
        )
    return path


def _known(voice: str) -> str:
    if voice not in NAMES:
        raise EmotionOmniError(f"Unknown voice {voice!r}. Use codec or cosyvoice2.", "config")
    return NAMES[voice]


def _cosyvoice2(chosen: str | Path | None) -> Path:
    return cosyvoice2_folder.require_folder(chosen, "Or choose a checkpoint with the voice codec.")


def _check_codes(voice: str, codes: int, expected: int) -> None:
    if codes != expected:
        raise EmotionOmniError(
            f"The model has {codes} speech tokens, and the voice {voice!r} has {expected}. Set "
            "speech.codebook_size to that, or choose another voice.",
            "config",
        )
