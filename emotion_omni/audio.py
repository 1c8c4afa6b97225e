"""Audio in and out: decode, check, resample, set the level, write WAV.

What cannot be used is refused with a reason. Knows nothing of speech or emotion. Levels are dB relative to full scale
(dBFS), root mean square.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from emotion_omni.types import Audio, EmotionOmniError

LARGEST_BYTES = 64 * 2**20  # ten minutes of 48 kHz stereo 16-bit
LONGEST_SECONDS = 120.0  # of a turn; bounds memory, and the time one visitor occupies the queue
MOST_SAMPLES = 48_000_000  # of all channels: 120 s of stereo at 192 kHz fit; 192 MB as float32
SHORTEST_SECONDS = 0.2  # shorter holds no word
SPEECH_DBFS = -23.0  # level of every query, so that loudness carries no information about the corpus
QUIETEST_DBFS = -75.0  # below it there is only the recorder's own noise
FORMATS = "WAV, FLAC, OGG, MP3, M4A or WebM"


def decode(source: str | Path | bytes) -> Audio:
    """A file or its bytes → mono :class:`Audio` at the file's own rate, 0.2 to 120 s, every sample finite.

    Raises :class:`EmotionOmniError` (codes ``missing``, ``empty``, ``too-large``, ``not-audio``,
    ``not-finite``, ``too-short``, ``too-long``) with what was found and what to send instead.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if not data:
        raise EmotionOmniError("The file is empty. Record again, or choose another file.", "empty")
    if len(data) > LARGEST_BYTES:
        raise EmotionOmniError(
            f"The file has {len(data) / 2**20:.0f} MB; at most {LARGEST_BYTES // 2**20} MB are accepted. "
            "Send a shorter clip or a compressed format.",
            "too-large",
        )
    channels, hz = _decode_bytes(data)
    return check(to_mono(channels), hz)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return path.open("rb").read(LARGEST_BYTES + 1)  # enough for decode() to refuse it
        return path.read_bytes()
    except OSError as error:
        raise EmotionOmniError(f"Cannot read {path.name!r}: {error.strerror or error}.", "missing") from error


def _decode_bytes(data: bytes) -> tuple[np.ndarray, int]:
    """→ samples [N, C] float32 and the rate. The first bytes identify the container, never a file name.

    libsndfile reads the classic formats. Only MP4 and Matroska, which phones and browsers record, go to FFmpeg
    (codecpod bundles an LGPL build), whose other readers are attack surface.
    """
    try:
        if data[4:8] == b"ftyp" or data[:4] == b"\x1a\x45\xdf\xa3":
            import codecpod

            about = codecpod.info(data)
            limit = min(int((LONGEST_SECONDS + 1) * about.sample_rate), MOST_SAMPLES // max(1, about.channels))
            decoded: Any = codecpod.load(data, channels_first=False, num_frames=limit)
            samples, hz = decoded
            return np.atleast_2d(samples.T).T.astype(np.float32), int(hz)
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = (
                file.frames / file.samplerate
            )  # known before decoding, so that a decompression bomb is not unpacked
            if 0 < file.frames < 2**62 and seconds > LONGEST_SECONDS:
                raise _too_long(seconds)
            if 0 < file.frames < 2**62 and file.frames * file.channels > MOST_SAMPLES:
                raise EmotionOmniError(
                    f"The recording has {file.channels} channels at {file.samplerate} Hz, too much to unpack. "
                    "Send mono or stereo of up to 192 kHz.",
                    "too-large",
                )
            limit = min(int((LONGEST_SECONDS + 1) * file.samplerate), MOST_SAMPLES // file.channels)
            return file.read(limit, dtype="float32", always_2d=True), file.samplerate
    except EmotionOmniError:
        raise
    except Exception as error:  # three decoders, each with errors of its own
        raise EmotionOmniError(
            f"This is not audio that can be read, or it is cut off ({type(error).__name__}). Send {FORMATS}.",
            "not-audio",
        ) from error


def from_array(samples: np.ndarray, hz: int) -> Audio:
    """Samples [N] or [N, C], float in [-1, 1] or integer at full scale → checked mono :class:`Audio`."""
    samples = np.asarray(samples)
    if np.issubdtype(samples.dtype, np.integer):
        samples = samples.astype(np.float32) / np.iinfo(samples.dtype).max
    return check(to_mono(samples.astype(np.float32)), hz)


def check(samples: np.ndarray, hz: int) -> Audio:
    """Samples [N] → :class:`Audio`.

    Raises :class:`EmotionOmniError` (codes ``not-finite``, ``too-short``, ``too-long``).
    """
    seconds = len(samples) / hz
    if not np.isfinite(samples).all():
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise EmotionOmniError(
            f"{bad} of {len(samples)} samples are not numbers (NaN or infinite). Export the recording again.",
            "not-finite",
        )
    if seconds < SHORTEST_SECONDS:
        raise EmotionOmniError(
            f"The recording lasts {seconds:.2f} s, too short to hold a word. Hold the button while you speak.",
            "too-short",
        )
    if seconds > LONGEST_SECONDS:
        raise _too_long(seconds)
    return Audio(np.clip(samples, -1, 1).astype(np.float32), hz)


def _too_long(seconds: float) -> EmotionOmniError:
    return EmotionOmniError(
        f"The recording lasts {seconds:.0f} s; one turn may last {LONGEST_SECONDS:.0f} s. Send a shorter part of it.",
        "too-long",
    )


def to_mono(samples: np.ndarray) -> np.ndarray:
    """[N] or [N, C] → [N]. The mean of the channels, or the loudest where they cancel each other."""
    if samples.ndim == 1:
        return samples
    mean = samples.mean(axis=1)
    power = np.mean(np.square(samples, dtype=np.float64), axis=0)
    if (
        np.mean(np.square(mean, dtype=np.float64)) < 0.05 * power.max()
    ):  # out of phase, or only one channel carries signal
        return samples[:, int(power.argmax())]
    return mean


def resample(audio: Audio, hz: int) -> Audio:
    """The same sound at another rate (soxr, high quality)."""
    if audio.hz == hz:
        return audio
    return Audio(np.clip(soxr.resample(audio.samples, audio.hz, hz), -1, 1).astype(np.float32), hz)


def dbfs(samples: np.ndarray) -> float:
    """Root-mean-square level in dBFS; silence is -200."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * np.log10(max(power, 1e-20))


def set_level(samples: np.ndarray, target: float = SPEECH_DBFS, of: np.ndarray | None = None) -> np.ndarray:
    """Scale so that ``of`` (default: all) has ``target`` dBFS. May exceed ±1: for analysis, not for playback."""
    gain = 10 ** ((target - dbfs(samples if of is None else of)) / 20)
    return (samples * np.float32(gain)).astype(np.float32)


def limit(samples: np.ndarray, ceiling: float = 0.97) -> np.ndarray:
    """Soft limiter: tanh above two thirds of ``ceiling``, so that amplified audio never clips."""
    knee = ceiling * 2 / 3
    over = np.abs(samples) > knee
    bent = knee + (ceiling - knee) * np.tanh((np.abs(samples) - knee) / (ceiling - knee))
    return np.where(over, np.sign(samples) * bent, samples).astype(np.float32)


def wav_bytes(audio: Audio) -> bytes:
    """A 16-bit WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples, audio.hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def join(pieces: list[Audio]) -> Audio:
    """Concatenate pieces of one sample rate."""
    rates = {piece.hz for piece in pieces}
    if len(rates) != 1:
        raise ValueError(f"Pieces to join must share one sample rate, not {sorted(rates)}.")
    return Audio(np.concatenate([piece.samples for piece in pieces]), rates.pop())
