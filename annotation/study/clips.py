"""Clips for listening: stored by the SHA-256 of their bytes, and made equal before anybody hears them.

A blind test must not be betrayed by loudness, sample rate, codec or the silence before the first word,
so every clip is also kept as it will be played: 24 kHz mono 16-bit FLAC at -23 LUFS (ITU-R BS.1770),
0.15 s of silence before and 0.25 s after. Files are named by hash and never leave under that name.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from annotation.store.files import replace_file
from emotion_omni import audio
from emotion_omni.types import Audio, EmotionOmniError

HZ = 24_000
LUFS = -23.0
LEAD_SECONDS, TAIL_SECONDS = 0.15, 0.25
ONSET_DB = 35.0  # below the loudest 10 ms: quieter than this is silence
UNCLAIMED_SECONDS = 86_400  # a sound may wait so long for its item: engines need hours for a study
MASK_HZ = 450.0  # above it lies what makes words, below it the melody of the voice (Rogers et al. 1971)


class Clips:
    """A folder of sounds by hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, sound: Audio) -> dict[str, Any]:
        """Keep a sound and its equalised form → {"sha", "played", "seconds"}, as items hold it."""
        played = equalised(sound)
        return {"sha": self._keep(flac(sound)), "played": self._keep(flac(played)), "seconds": round(played.seconds, 3)}

    def add_masked(self, sound: Audio) -> dict[str, Any]:
        """The same with the words masked: melody, rhythm and loudness are left."""
        masked = equalised(without_words(sound))
        sha = self._keep(flac(masked))
        return {"sha": sha, "played": sha, "seconds": round(masked.seconds, 3)}

    def read(self, sha: str) -> bytes:
        try:
            return self.path(sha).read_bytes()
        except FileNotFoundError:
            raise EmotionOmniError(
                "The sound of this item is missing. Restore the folder 'audio' from a backup.", "clip-missing"
            ) from None

    def path(self, sha: str) -> Path:
        if len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
            raise ValueError(f"{sha[:80]!r} is no SHA-256.")
        return self.folder / sha[:2] / f"{sha}.flac"

    def keep_only(self, used: Iterable[str], gone: Iterable[str] = ()) -> int:
        """Delete what no item holds → how many: those ``gone`` at once, others once no study in the making can want them."""
        wanted, now_gone, oldest = set(used), set(gone), time.time() - UNCLAIMED_SECONDS
        unused = [path for path in self.folder.glob("??/*.flac") if path.stem not in wanted]
        over = [path for path in unused if path.stem in now_gone or path.stat().st_mtime < oldest]
        for path in over:
            path.unlink(missing_ok=True)
        return len(over)

    def _keep(self, data: bytes) -> str:
        sha = hashlib.sha256(data).hexdigest()
        path = self.path(sha)
        try:
            os.utime(path)  # wanted anew
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        return sha


def flac(sound: Audio) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, sound.hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def equalised(sound: Audio) -> Audio:
    """The form in which a clip is played."""
    at_rate = audio.resample(sound, HZ)
    framed = _frame(at_rate.samples)
    return Audio(audio.limit(_level(framed)), HZ)


def _frame(samples: np.ndarray) -> np.ndarray:
    """Cut the silence at both ends, then put the same silence before every clip, and the same after."""
    step = HZ // 100
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    levels = 10 * np.log10(np.maximum(np.mean(np.square(blocks, dtype=np.float64), axis=1), 1e-12))
    loud = np.flatnonzero(levels > levels.max() - ONSET_DB)
    inner = samples[loud[0] * step : (loud[-1] + 1) * step]
    return np.concatenate([np.zeros(int(LEAD_SECONDS * HZ)), inner, np.zeros(int(TAIL_SECONDS * HZ))]).astype(
        np.float32
    )


def _level(samples: np.ndarray) -> np.ndarray:
    """To -23 LUFS; what is too short for a loudness meter (0.4 s), or gated away by it, to the same root mean square."""
    import pyloudnorm  # brings scipy, which takes half a second to import

    if len(samples) >= 0.4 * HZ:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loudness = pyloudnorm.Meter(HZ).integrated_loudness(samples.astype(np.float64))
        if np.isfinite(loudness):
            return (samples * np.float32(10 ** ((LUFS - loudness) / 20))).astype(np.float32)
    return audio.set_level(samples, LUFS)


def without_words(sound: Audio) -> Audio:
    """Low-pass at 450 Hz, 48 dB an octave, forwards and backwards so that nothing is delayed."""
    from scipy.signal import butter, sosfiltfilt

    low = sosfiltfilt(butter(8, MASK_HZ, fs=sound.hz, output="sos"), sound.samples.astype(np.float64))
    return Audio(np.clip(low, -1, 1).astype(np.float32), sound.hz)
