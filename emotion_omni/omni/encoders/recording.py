"""Any recording → the samples that an encoder reads.

Axes: N samples (16 kHz).
"""

from __future__ import annotations

import numpy as np

from emotion_omni import audio
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.types import Audio, EmotionOmniError

PREPARE_VERSION = 1  # increase it with any change of prepare(): frames stored on disk depend on it
MAX_SECONDS = 60.0  # of a query or a spoken answer


def prepare(recording: Audio) -> np.ndarray:
    """→ float32 [N] at 16 kHz, without DC offset, at one level: loudness says nothing about the emotion.

    Raises :class:`EmotionOmniError` (codes ``silent``, ``too-short``, ``too-long``, ``not-finite``).
    """
    if not len(recording.samples):
        raise EmotionOmniError("The recording is empty. Check the microphone, then record again.", "silent")
    if recording.seconds > MAX_SECONDS:
        raise EmotionOmniError(
            f"The recording lasts {recording.seconds:.0f} s; at most {MAX_SECONDS:.0f} s can be encoded. "
            "Send a shorter part of it.",
            "too-long",
        )
    samples = audio.check(recording.samples, recording.hz).samples
    samples = samples - samples.mean()  # before resampling, which would turn the onset of an offset into a click
    # resample() clips at 1, and without their offset peaks may exceed it
    samples = 2 * audio.resample(Audio(samples / 2, recording.hz), HZ).samples
    level = audio.dbfs(samples)
    if level < audio.QUIETEST_DBFS:
        raise EmotionOmniError(
            f"The recording is silent ({level:.0f} dBFS). Check the microphone, then record again.", "silent"
        )
    return audio.set_level(samples)
