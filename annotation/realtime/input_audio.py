"""The microphone's sound as it arrives: 16-bit PCM in, the turn that is being spoken out. Bounded in memory."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import soxr

from emotion_omni.types import Audio, EmotionOmniError

DETECTOR_HZ = 16_000
RATES = range(8_000, 48_001)
IDLE_SECONDS = 1.5  # kept while nobody speaks; a turn begins a little before it is noticed
MOST_SECONDS = 120.0  # of a turn
LARGEST_APPEND = 15 * 2**20  # letters of base64


class InputAudio:
    """``seconds``: of all that has arrived, the clock of the protocol's ``audio_start_ms``."""

    def __init__(self, hz: int) -> None:
        self.hz = hz
        self._chunks: list[np.ndarray] = []
        self._start = self._end = 0  # samples since the first one: of what is kept
        self._resampler = soxr.ResampleStream(hz, DETECTOR_HZ, 1, dtype="float32")

    @property
    def seconds(self) -> float:
        return self._end / self.hz

    @property
    def kept_seconds(self) -> float:
        return (self._end - self._start) / self.hz

    def append(self, samples: np.ndarray) -> np.ndarray:
        """Keep [N] → the same at 16 kHz, as far as the resampler has got."""
        self._chunks.append(samples)
        self._end += len(samples)
        return self._resampler.resample_chunk(samples)

    def drop_before(self, seconds: float) -> None:
        """Forget what lies before this moment."""
        while self._chunks and self._start + len(self._chunks[0]) <= seconds * self.hz:
            self._start += len(self._chunks.pop(0))

    def take(self, first: float = 0.0, last: float | None = None) -> Audio:
        """What was kept between two moments; it is forgotten, and what came after stays."""
        joined = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)
        start = max(0, round(first * self.hz) - self._start)
        end = len(joined) if last is None else max(start, round(last * self.hz) - self._start)
        taken = joined[start:end]
        self._chunks, self._start = [joined[end:]], self._start + min(end, len(joined))
        return Audio(taken, self.hz)

    def clear(self) -> None:
        self._chunks, self._start = [], self._end


def decode_pcm(text: object) -> np.ndarray:
    """Base64 of little-endian 16-bit PCM, mono → float32 [N]. Raises :class:`EmotionOmniError` (``bad-audio``)."""
    if not isinstance(text, str) or len(text) > LARGEST_APPEND:
        raise EmotionOmniError(
            f"audio is base64 of 16-bit mono PCM, at most {LARGEST_APPEND // 2**20} MB of it.", "bad-audio"
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EmotionOmniError("audio is not base64. Send 16-bit mono PCM, encoded in base64.", "bad-audio") from None
    if len(data) % 2:
        raise EmotionOmniError("audio has half a sample at its end. Send whole 16-bit samples.", "bad-audio")
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def encode_pcm(samples: np.ndarray) -> str:
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    return base64.b64encode(data).decode("ascii")
