"""Clips for listening: stored by the SHA-256 of their bytes, and equalized before raters hear them.

Loudness, sample rate, codec or the silence before the first word must not tell which system spoke. So every clip
is also stored as it is played: 24 kHz mono 16-bit FLAC at -23 LUFS (ITU-R BS.1770), with 0.15 s of silence before
and 0.25 s after it. Files are named by their hash, and are never served under that name.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from annotation.store.files import make_private_folder, replace_file
from emotion_omni import audio
from emotion_omni.types import Audio, EmotionOmniError

HZ = 24_000
LUFS = -23.0
LEAD_SECONDS, TAIL_SECONDS = 0.15, 0.25
FADE_SECONDS = 0.03
ONSET_DB = 35.0  # below the loudest 10 ms: quieter than this is silence
UNCLAIMED_SECONDS = 86_400  # for which a sound without an item is kept: engines need hours to make a study
MASK_HZ = 450.0  # cutoff: words lie above it, the melody of the voice below (Rogers et al. 1971)


class Encoded(NamedTuple):
    """The FLAC files of a sound, and the seconds of that which is played."""

    original: bytes
    played: bytes
    seconds: float


class Clips:
    """A folder of sounds by hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, sound: Audio) -> dict[str, Any]:
        """Store a sound and its equalized form → {"sha", "played", "seconds"}, as items hold it."""
        return self.add_encoded(encoded(sound))

    def add_encoded(self, clip: Encoded) -> dict[str, Any]:
        return {"sha": self._keep(clip.original), "played": self._keep(clip.played), "seconds": clip.seconds}

    def add_masked(self, sound: Audio) -> dict[str, Any]:
        """The same with the words masked: melody, rhythm and loudness remain."""
        masked = equalized(without_words(sound))
        sha = self._keep(flac(masked))
        return {"sha": sha, "played": sha, "seconds": round(masked.seconds, 3)}

    def read(self, sha: str) -> bytes:
        try:
            return self.path(sha).read_bytes()
        except FileNotFoundError:
            raise EmotionOmniError(
                "The sound of this item is missing. Restore the folder 'audio' from a backup.", "clip-missing"
            ) from None

    def beginning(self, sha: str, seconds: float) -> Audio:
        """The start of a stored sound, faded out at its end."""
        with soundfile.SoundFile(io.BytesIO(self.read(sha))) as file:
            samples, hz = file.read(int(seconds * file.samplerate), dtype="float32"), file.samplerate
        fade = min(len(samples), int(FADE_SECONDS * hz))
        samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return Audio(samples, hz)

    def path(self, sha: str) -> Path:
        if len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
            raise ValueError(f"{sha[:80]!r} is not a SHA-256.")
        return self.folder / sha[:2] / f"{sha}.flac"

    def keep_only(self, used: Iterable[str]) -> int:
        """Delete sounds that no item uses, and half-written ones → their number.

        Those of the last day stay: a study that is being made may use them.
        """
        kept, oldest = set(used), time.time() - UNCLAIMED_SECONDS
        unused = [path for path in self.folder.glob("??/*.flac*") if path.name.partition(".")[0] not in kept]
        over = [path for path in unused if _changed(path) < oldest]
        for path in over:
            path.unlink(missing_ok=True)
        return len(over)

    def _keep(self, data: bytes) -> str:
        sha = hashlib.sha256(data).hexdigest()
        path = self.path(sha)
        try:
            os.utime(path)  # used again: its day starts anew
        except FileNotFoundError:
            make_private_folder(self.folder)
            make_private_folder(path.parent)
            replace_file(path, data)
        return sha


def _changed(path: Path) -> float:
    """When it was last changed, in seconds of the clock; infinite where another process has renamed it meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def flac(sound: Audio) -> bytes:
    return flac_pcm(sound.samples, sound.hz)


def flac_pcm(samples: np.ndarray, hz: int) -> bytes:
    """``samples`` in [-1, 1] or of 16 bits."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def encoded(sound: Audio) -> Encoded:
    played = equalized(sound)
    return Encoded(flac(sound), flac(played), round(played.seconds, 3))


def equalized(sound: Audio) -> Audio:
    """The form in which a clip is played."""
    at_rate = audio.resample(sound, HZ)
    framed = _frame(audio.without_dc(at_rate.samples, HZ))
    return Audio(audio.limit(_level(framed)), HZ)


def _frame(samples: np.ndarray) -> np.ndarray:
    """Cut the silence at both ends, and add the same silence before and after every clip."""
    step = HZ // 100
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    levels = 10 * np.log10(np.maximum(np.mean(np.square(blocks, dtype=np.float64), axis=1), 1e-12))
    loud = np.flatnonzero(levels > levels.max() - ONSET_DB)
    inner = samples[loud[0] * step : (loud[-1] + 1) * step]
    return np.concatenate([np.zeros(int(LEAD_SECONDS * HZ)), inner, np.zeros(int(TAIL_SECONDS * HZ))]).astype(
        np.float32
    )


def _level(samples: np.ndarray) -> np.ndarray:
    """To -23 LUFS. Too short for the meter (0.4 s), or gated away by it: to the same level of root mean square."""
    import pyloudnorm  # imports scipy, which takes half a second

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

    centred = audio.without_dc(sound.samples, sound.hz).astype(np.float64)
    low = sosfiltfilt(butter(8, MASK_HZ, fs=sound.hz, output="sos"), centred)
    return Audio(np.clip(low, -1, 1).astype(np.float32), sound.hz)
