"""The voice that a configuration names: speech tokens → sound, and, to teach with, speech → tokens.

``units`` is the small codec that comes with the package; ``cosyvoice2`` lies in a folder that was prepared
once. Knows which class reads which files, and that its tokens must be those the model speaks.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from emotion_omni import weights
from emotion_omni.omni.config import OmniConfig
from emotion_omni.synthesis import codec as units
from emotion_omni.synthesis import token2wav
from emotion_omni.types import Audio, EmotionOmniError

VARIABLE = "EMOTION_OMNI_COSYVOICE"  # names the folder of CosyVoice2
WHOLE = "token2wav.json"  # a folder of CosyVoice2 with this file is whole: it is written last
HZ = 24_000  # of both


class Stream(Protocol):
    """One reply on its way to sound."""

    def push(self, tokens: Sequence[int], last: bool = False) -> np.ndarray: ...


class Vocoder(Protocol):
    """Speech tokens → float32 samples at ``hz``, in one voice."""

    hz: int

    def stream(self, seed: int = 0) -> Stream: ...


class Tokenizer(Protocol):
    """Speech → int64 [N], 25 tokens a second."""

    def __call__(self, speech: Audio) -> np.ndarray: ...


def vocoder(config: OmniConfig, device: str = "cpu", folder: str | Path | None = None) -> Vocoder:
    """The voice of ``config``. ``folder``: of CosyVoice2, by default that of :func:`cosyvoice_folder`.

    Raises :class:`EmotionOmniError` (codes ``config``, ``missing``, ``missing-package``, ``checkpoint``, ``voice``).
    """
    if config.voice == "cosyvoice2":
        _agree(config, token2wav.CODES)
        return token2wav.Token2Wav.load(_cosyvoice(folder), device)
    made = units.UnitVocoder.load(units.SHIPPED, device)
    _agree(config, made.codes)
    return made


def tokenizer(config: OmniConfig, folder: str | Path | None = None) -> Tokenizer:
    """What gives the speech of the training set as tokens. Raises as :func:`vocoder` does."""
    path = tokenizer_file(config, folder)
    if config.voice == "cosyvoice2":
        _agree(config, token2wav.CODES)
        return token2wav.SpeechTokenizer(path)
    made = units.UnitTokenizer.load(path)
    _agree(config, made.codes)
    return made


def tokenizer_file(config: OmniConfig, folder: str | Path | None = None) -> Path:
    """The weights of :func:`tokenizer`. Raises :class:`EmotionOmniError` (code ``missing``)."""
    if config.voice == "units":
        return units.SHIPPED
    path = _cosyvoice(folder) / "speech_tokenizer_v2.onnx"
    if not path.is_file():
        raise EmotionOmniError(
            f"{path.parent} has no {path.name}, which gives speech as tokens. Prepare it again.", "missing"
        )
    return path


def cosyvoice_folder(chosen: str | Path | None = None) -> Path:
    """Where CosyVoice2 lies or is to be put: ``chosen``, else what ``EMOTION_OMNI_COSYVOICE`` names, else in the cache of weights."""
    return Path(chosen or os.environ.get(VARIABLE) or weights.cache() / "cosyvoice2")


def is_prepared(folder: Path) -> bool:
    return (folder / WHOLE).is_file()


def prepared_cosyvoice(chosen: str | Path | None, otherwise: str) -> Path:
    """:func:`cosyvoice_folder`, if CosyVoice2 is there. ``otherwise``: what else one can do, a sentence.

    Raises :class:`EmotionOmniError` (code ``missing``).
    """
    folder = cosyvoice_folder(chosen)
    if not is_prepared(folder):
        command = (
            f"python -m emotion_omni.synthesis.cosyvoice2_convert{f' {shlex.quote(str(chosen))}' if chosen else ''}"
        )
        raise EmotionOmniError(
            f"There is no CosyVoice2 in {folder}. Prepare it once: {command}. {otherwise}", "missing"
        )
    return folder


def _cosyvoice(chosen: str | Path | None) -> Path:
    return prepared_cosyvoice(chosen, "Or choose a checkpoint that speaks with the voice units.")


def _agree(config: OmniConfig, codes: int) -> None:
    if config.speech.codebook_size != codes:
        raise EmotionOmniError(
            f"speech.codebook_size is {config.speech.codebook_size}, and the voice {config.voice!r} has {codes} codes. Set speech.codebook_size to that, or choose "
            "another voice.",
            "config",
        )
