"""Text and an emotion → speech: CosyVoice2 with an instruction.

Its language model generates speech tokens, and :mod:`emotion_omni.synthesis.token2wav` turns them into sound while more
are being generated, in the one voice of the folder. The instructions are Chinese phrases as its authors demonstrate
them, because it was tuned on those; the text may be English all the same.

Source: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117), section on instructed generation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from emotion_omni.synthesis import cosyvoice2_convert, cosyvoice2_networks
from emotion_omni.synthesis.config import CosyVoice2Config
from emotion_omni.synthesis.cosyvoice2_folder import require_folder
from emotion_omni.synthesis.synthesizer import check_delivery, split_clauses
from emotion_omni.synthesis.text2token import Text2Token
from emotion_omni.synthesis.text_normalization import normalize_text
from emotion_omni.synthesis.token2wav import Token2Wav
from emotion_omni.types import Audio, Delivery

HZ = cosyvoice2_networks.HZ
CHUNK = 15  # speech tokens passed on at a time, 0.6 s
INSTRUCTIONS = {  # with a place for the degree
    "happy": "用{}开心的语气说",
    "sad": "用{}伤心的语气说",
    "angry": "用{}生气的语气说",
    "fearful": "用{}恐惧的情感表达",
    "disgusted": "用{}恶心的情感表达",
    "surprised": "用{}惊讶的语气说",
    "calm": "用{}平静的语气说",
}
DEGREES = ((1.5, "非常"), (0.75, ""), (0.25, "有点"))  # intensity from which → "very", as it is, "a little"


@dataclass
class CosyVoice2Synthesizer:
    """Holds weights and one voice, never the state of a reply."""

    text2token: Text2Token
    token2wav: Token2Wav
    hz: int = HZ
    voices: tuple[str, ...] = ()

    @classmethod
    def load(cls, config: CosyVoice2Config, device: torch.device) -> CosyVoice2Synthesizer:
        """From the folder of ``config``. On a Space it is made first, because there no one can run the command.

        Raises :class:`EmotionOmniError` (codes ``missing``, ``missing-package``, ``checkpoint``, ``voice``, ``memory``,
        ``weights``).
        """
        if os.environ.get("SPACE_ID"):
            cosyvoice2_convert.convert_once(config.folder)
        folder = require_folder(config.folder, "Or choose the synthesizer kokoro.")
        token2wav = Token2Wav.load(folder, str(device))  # first: it notices a missing package before gigabytes are read
        return cls(Text2Token.load(folder, config.dtype, device), token2wav)

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        """See :class:`~emotion_omni.synthesis.synthesizer.Synthesizer`. It has one voice."""
        delivery = check_delivery(delivery)
        instruction = instruction_of(delivery)
        for clause in prepare_clauses(text):
            yield from self._clause(clause, instruction, delivery.rate, seed)

    def _clause(self, text: str, instruction: str, rate: float, seed: int) -> Iterator[Audio]:
        stream, chunk = self.token2wav.stream(seed, rate), []
        with closing(self.text2token.generate(text, instruction, seed)) as tokens:
            for token in tokens:
                chunk.append(token)
                if len(chunk) == CHUNK:
                    yield from _pieces(stream.push(chunk))
                    chunk = []
        yield from _pieces(stream.push(chunk, last=True))


def instruction_of(delivery: Delivery) -> str:
    """In words, as it has no numbers: a little, as such, very. Empty for the voice as it speaks by itself."""
    for from_intensity, degree in DEGREES:
        if delivery.intensity >= from_intensity and delivery.emotion in INSTRUCTIONS:
            return INSTRUCTIONS[delivery.emotion].format(degree)
    return ""


def prepare_clauses(text: str) -> list[str]:
    """English is normalized, if possible before it is cut. CosyVoice2 reads other languages with their own numbers."""
    if _english(text):
        clauses = split_clauses(normalize_text(text))
    else:
        clauses = [normalize_text(clause) if _english(clause) else clause for clause in split_clauses(text)]
    return [clause.strip() for clause in clauses if any(letter.isalnum() for letter in clause)]


def _english(text: str) -> bool:
    return all(letter.isascii() for letter in text if letter.isalpha())


def _pieces(samples: np.ndarray) -> Iterator[Audio]:
    if len(samples):
        yield Audio(samples, HZ)
