"""Does somebody speak? Logistic regression on a middle hidden state of Whisper's encoder.

A second look where voice activity detection finds nothing: it misses shouts, whispers, sobs and high voices. And a
check of what it found: it takes some melodies for a voice.

Axes: L hidden states of the encoder, T frames (50 Hz), D width, K blocks of 0.2 s, N samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from emotion_omni import audio, weights
from emotion_omni.recognition.utterance import Span
from emotion_omni.recognition.voice_activity import HZ, with_margins
from emotion_omni.recognition.whisper_encoder import WINDOW_SECONDS, WhisperEncoder, valid_frames

SHIPPED = Path(__file__).parent / "weights" / "speech_detector.safetensors"  # trained by us, with its card
STATE = 4  # the hidden state that it reads; chosen on dev of 2 to 6
BLOCK_FRAMES = 10  # 0.2 s: shorter than a word
SPEECH = 2.0  # log odds from which a block is speech for the second look
NO_SPEECH = 1.0  # log odds that some block of what voice activity detection found must reach


@dataclass(frozen=True, eq=False)
class SpeechDetector:
    """``weight`` [D] and ``bias`` of the log odds."""

    weight: torch.Tensor
    bias: float

    @classmethod
    def load(cls, path: Path = SHIPPED) -> SpeechDetector:
        """Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "speech detector"):
            tensors = safetensors.torch.load_file(path)
            return cls(tensors["weight"].float(), float(tensors["bias"]))

    def save(self, path: Path) -> None:
        tensors = {"weight": self.weight.half().contiguous(), "bias": torch.tensor(self.bias)}
        safetensors.torch.save_file(tensors, path)

    @torch.inference_mode()
    def log_odds(self, hidden_states: torch.Tensor) -> np.ndarray:
        """The valid frames of a clip [L, T, D] → log odds of speech per block [K]."""
        return (blocks(hidden_states[STATE]) @ self.weight + self.bias).numpy()

    def hears_speech(self, hidden_states: torch.Tensor) -> bool:
        """Whether anything in the valid frames of a clip [L, T, D] may be speech."""
        return bool(self.log_odds(hidden_states).max() >= NO_SPEECH)


@dataclass(frozen=True, eq=False)
class SecondLook:
    """Spans of speech by the detector, for a recording in which voice activity detection finds none."""

    encoder: WhisperEncoder
    detector: SpeechDetector

    def __call__(self, samples: np.ndarray) -> list[Span]:
        """[N] at any level → spans in order, disjoint, with margins; empty without speech."""
        samples, size = audio.set_level(samples), int(WINDOW_SECONDS * HZ)
        found: list[Span] = []
        for start in range(0, len(samples), size):
            window = samples[start : start + size]
            states = self.encoder.hidden_states(window)[:, : valid_frames(len(window))]
            found += speech_spans(self.detector.log_odds(states), start, len(window))
        return with_margins(found, len(samples))


def blocks(states: torch.Tensor) -> torch.Tensor:
    """[T, D] → the means of blocks of about 0.2 s, [K, D]."""
    count = max(1, len(states) // BLOCK_FRAMES)
    return torch.stack([block.mean(0) for block in states.tensor_split(count)])


def speech_spans(log_odds: np.ndarray, start: int, length: int) -> list[Span]:
    """Runs of blocks that may be speech with at least one that is. ``start``, ``length``: of the window, in samples."""
    edges = np.linspace(start, start + length, len(log_odds) + 1).astype(int).tolist()
    found: list[Span] = []
    first = None
    for at, may_be in enumerate([*(log_odds >= NO_SPEECH), False]):
        if may_be and first is None:
            first = at
        elif not may_be and first is not None:
            if log_odds[first:at].max() >= SPEECH:
                found.append((edges[first], edges[at]))
            first = None
    return found
