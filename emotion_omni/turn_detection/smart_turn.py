"""Has the speaker finished, or only paused? Smart Turn v3.2 on the last seconds of what was said.

Axes: N samples at 16 kHz, M mel bands, F frames (100 Hz). Torch-free: the page's process runs it.
Source: Daily, "Smart Turn v3" (BSD-2-Clause); features as Whisper's, Radford et al. 2022, §2.2.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

from emotion_omni import weights

WEIGHTS = "smart-turn/smart-turn-v3.2-cpu.onnx"
HZ, FFT, HOP, MELS = 16_000, 400, 160, 80
SECONDS = 8  # the network sees so much, the end of the turn last
FINISHED = 0.5  # probability from which a turn counts as finished


class SmartTurn:
    def __init__(self, network: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])

    @classmethod
    def load(cls) -> SmartTurn:
        """Raises :class:`EmotionOmniError` (code ``weights``)."""
        return cls(weights.fetch(WEIGHTS))

    def probability(self, samples: np.ndarray) -> float:
        """[N], the turn so far, its last pause included → how likely the speaker has finished."""
        length = SECONDS * HZ
        last = samples[-length:]
        padded = np.pad(last, (length - len(last), 0))  # silence in front: the end of the turn stays at the end
        (found,) = self._session.run(None, {"input_features": log_mel(padded)[None]})
        return float(np.asarray(found).reshape(-1)[0])


def log_mel(samples: np.ndarray) -> np.ndarray:
    """[N] → Whisper's log-mel features of the normalized signal, float32 [M, F = N / 160]."""
    wave = samples.astype(np.float64)
    wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    padded = np.pad(wave, FFT // 2, mode="reflect")
    window = np.hanning(FFT + 1)[:-1]  # periodic
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][: len(samples) // HOP]
    power = np.abs(np.fft.rfft(frames * window, axis=-1)) ** 2
    mel = np.log10(np.maximum(mel_filters() @ power.T, 1e-10))
    return ((np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0).astype(np.float32)


@cache
def mel_filters() -> np.ndarray:
    """Slaney-style triangular filters [M, FFT/2 + 1], each of unit area (Auditory Toolbox, 1998)."""

    def to_hz(mel: np.ndarray) -> np.ndarray:  # linear below 1 kHz, logarithmic above
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    bins, top = np.linspace(0, HZ / 2, FFT // 2 + 1), 15 + 27 * np.log(HZ / 2 / 1000) / np.log(6.4)
    edges = to_hz(np.linspace(0, top, MELS + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return np.maximum(0, np.minimum(rising, falling)) * area[:, None]
