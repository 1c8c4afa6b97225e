"""Words and an emotion → a voice: CosyVoice2, told in words how to sound, or the embedded engine's Kokoro.

CosyVoice2's language model writes speech tokens and :mod:`emotion_omni.synthesis.token2wav` turns them into sound
while more are being written, in a voice that was prepared once and is kept in memory. The instructions
are Chinese phrases such as its authors demonstrate, because that is what it was tuned on; the words may be
English all the same.

Source: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117), section on instructed generation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from emotion_omni import processors, weights, zero_gpu
from emotion_omni.cascade.presets import SpeakerConfig
from emotion_omni.synthesis import g2p, kokoro, token2wav
from emotion_omni.synthesis.g2p import Pronouncer
from emotion_omni.synthesis.kokoro import clauses
from emotion_omni.synthesis.text2token import Text2Token
from emotion_omni.synthesis.text_normalization import spoken_form
from emotion_omni.synthesis.token2wav import Token2Wav
from emotion_omni.synthesis.vocoder import prepared_cosyvoice
from emotion_omni.types import Audio

HZ = token2wav.HZ
CHUNK = 15  # speech tokens handed on at a time, 0.6 s
INSTRUCTIONS = {
    "neutral": "",  # as the voice speaks by itself
    "happy": "用开心的语气说",
    "sad": "用伤心的语气说",
    "angry": "用生气的语气说",
    "fearful": "用恐惧的情感表达",
    "disgusted": "用恶心的情感表达",
    "surprised": "用惊讶的语气说",
    "calm": "用平静的语气说",
}


class Speaker(Protocol):
    """Text → sound at ``HZ``, piece by piece. Abandoning the iterator stops the work."""

    def speak(self, text: str, emotion: str, seed: int = 0) -> Iterator[Audio]: ...


@dataclass
class CosyVoice:
    """CosyVoice2: words → tokens → sound. Holds weights and a voice, never the state of a reply."""

    text2token: Text2Token
    token2wav: Token2Wav

    @classmethod
    def load(cls, config: SpeakerConfig, device: torch.device) -> CosyVoice:
        """Raises :class:`EmotionOmniError` (codes ``missing``, ``missing-package``, ``checkpoint``, ``voice``, ``memory``)."""
        folder = prepared_cosyvoice(config.folder, 'Or speak with "embedded".')
        sound = Token2Wav.load(
            folder, str(device)
        )  # first: if a package is missing, it is missed before gigabytes are loaded
        return cls(Text2Token.load(folder, config.dtype, device), sound)

    def speak(self, text: str, emotion: str, seed: int = 0) -> Iterator[Audio]:
        for clause in clauses(text):
            if any(letter.isalnum() for letter in clause):
                yield from self._clause(said(clause), INSTRUCTIONS[emotion], seed)

    def _clause(self, words: str, instruction: str, seed: int) -> Iterator[Audio]:
        stream, chunk = self.token2wav.stream(seed), []
        with closing(self.text2token.tokens(words, instruction, seed)) as tokens:
            for token in tokens:
                chunk.append(token)
                if len(chunk) == CHUNK:
                    yield from _sound(stream.push(chunk))
                    chunk = []
        yield from _sound(stream.push(chunk, last=True))


@dataclass
class Kokoro:
    """The embedded engine's voice. It draws nothing, so that a seed changes nothing."""

    speaker: kokoro.Speaker

    @classmethod
    def load(cls) -> Kokoro:
        pronouncer = Pronouncer(
            weights.fetch("misaki/us_gold.json"), weights.fetch("misaki/us_silver.json"), g2p.SHIPPED
        )
        tables: dict[str, Path] = {voice: weights.fetch(f"kokoro/{voice}.bin") for voice in kokoro.VOICES}
        threads = (
            1 if zero_gpu.on_loan() else processors.THREADS
        )  # the helpers of more threads would not survive the fork, and be waited for
        return cls(kokoro.Speaker(weights.fetch("kokoro/kokoro-82m-int8.onnx"), tables, pronouncer, threads))

    def speak(self, text: str, emotion: str, seed: int = 0) -> Iterator[Audio]:
        return self.speaker.speak(text, emotion)


def said(clause: str) -> str:
    """English as it is spoken. Other languages as they are: CosyVoice2 reads them by their own punctuation and numbers."""
    english = all(letter.isascii() for letter in clause if letter.isalpha())
    return spoken_form(clause) if english else clause.strip()


def load_speaker(config: SpeakerConfig, device: torch.device) -> Speaker:
    """The voice of ``config``. On a Space CosyVoice2 is prepared first, if it is not yet. Raises as the two do, and ``weights``."""
    if config.name == "embedded":
        return Kokoro.load()
    if os.environ.get("SPACE_ID"):  # of a Space, where nobody can run the command
        from emotion_omni.synthesis.cosyvoice2_convert import prepare_once  # which imports this file

        prepare_once(config.folder)
    return CosyVoice.load(config, device)


def _sound(samples: np.ndarray) -> Iterator[Audio]:
    if len(samples):
        yield Audio(samples, HZ)
