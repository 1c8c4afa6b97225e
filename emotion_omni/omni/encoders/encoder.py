"""A frozen encoder: prepared recordings → frames.

A recording is encoded by itself, so its frames do not depend on the rest of the batch; only frames of the
recording are returned, none of padding. Knows neither adapters nor answers.

Axes: B recordings, N samples (16 kHz), T frames (50 Hz), E width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emotion_omni.omni.config import EncoderConfig
from emotion_omni.recognition.whisper_encoder import HOP, HZ, WINDOW_SECONDS
from emotion_omni.types import EmotionOmniError

FRAME = 2 * HOP  # samples: 20 ms, the step of Whisper, wav2vec 2.0 and emotion2vec
WINDOW = int(WINDOW_SECONDS * HZ)  # samples; a whole number of frames
MIN_SAMPLES = 400  # the receptive field of a frame of wav2vec 2.0; Whisper would need fewer


class Encoder:
    """``identity`` names the weights and the arithmetic: encoders of equal identity give equal frames.

    Deliberately not an ``nn.Module``: a model that holds one neither saves nor trains it.
    """

    overlap = 0  # samples that a window takes from the next one, where its last frame needs them

    def __init__(
        self, config: EncoderConfig, network: nn.Module, width: int, identity: str, device: str | torch.device
    ) -> None:
        check_config(config, width)
        self.width, self.hz = config.width, config.hz
        self.identity = identity
        self.device = torch.device(device)
        self.network: Any = network.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()  # not inference mode, whose tensors cannot be used in training
    def __call__(self, recordings: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """B times float32 [N] of :func:`prepare` → frames [B, T, E] float32, zero beyond their lengths; lengths [B]."""
        encoded = [self._encode(_checked(samples)) for samples in recordings]
        lengths = torch.tensor([len(frames) for frames in encoded], dtype=torch.long, device=self.device)
        if not encoded:
            return torch.zeros(0, 0, self.width, device=self.device), lengths
        return nn.utils.rnn.pad_sequence(encoded, batch_first=True), lengths

    def _encode(self, samples: Tensor) -> Tensor:
        """[N] → [T, E], window by window."""
        samples = self._normalize(samples.to(self.device))
        return torch.cat([self._frames(window) for window in windows(samples, self.overlap)]).float()

    def _normalize(self, samples: Tensor) -> Tensor:
        """The whole recording as this encoder was trained to read it, [N] → [N]."""
        return samples

    def _frames(self, samples: Tensor) -> Tensor:
        """One window [N] → [T, E]."""
        raise NotImplementedError


def windows(samples: Tensor, overlap: int = 0) -> list[Tensor]:
    """[N] → windows of equal size, at most 29 s, so that none is too short to make sense of.

    They begin on whole frames, so that their concatenated frames keep time.
    """
    count = math.ceil(len(samples) / WINDOW)
    size = math.ceil(len(samples) / count / FRAME) * FRAME
    return [samples[start : start + size + overlap] for start in range(0, len(samples), size)]


def check_config(config: EncoderConfig, width: int, step: int = FRAME) -> None:
    """``step``: samples per frame. Raises :class:`EmotionOmniError` (code ``config``)."""
    if config.width != width:
        raise EmotionOmniError(
            f"The configured width of the encoder {config.name!r} is {config.width}, and its frames have {width} "
            f"features. Set width to {width}.",
            "config",
        )
    if config.hz * step != HZ:
        raise EmotionOmniError(
            f"The configured rate of the encoder {config.name!r} is {config.hz} Hz, and it gives {HZ / step:g} frames "
            f"a second. Set hz to that, or choose an encoder of {HZ // FRAME} Hz.",
            "config",
        )


def _checked(samples: np.ndarray) -> Tensor:
    valid = samples.ndim == 1 and samples.dtype == np.float32 and len(samples) >= MIN_SAMPLES
    if not valid or not np.isfinite(samples).all():
        raise ValueError(
            f"An encoder reads finite float32 [N] at {HZ} Hz, N at least {MIN_SAMPLES}, not {samples.dtype} "
            f"{list(samples.shape)}. Give it what prepare() returns."
        )
    return torch.from_numpy(np.ascontiguousarray(samples))
