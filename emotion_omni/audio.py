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

from emotion_omni import containers
from emotion_omni.types import Audio, EmotionOmniError

LARGEST_BYTES = 64 * 2**20  # ten minutes of 48 kHz stereo 16-bit
LONGEST_SECONDS = 120.0  # of a turn; bounds memory, and the time one visitor occupies the queue
MOST_SAMPLES = 48_000_000  # of all channels: 120 s of stereo at 192 kHz fit; 192 MB as float32
SHORTEST_SECONDS = 0.2  # shorter holds no word
SPEECH_DBFS = -23.0  # level of every query, so that loudness carries no information about the corpus
QUIETEST_DBFS = -75.0  # below it there is only the recorder's own noise
LOUDEST_FLOAT = 64.0  # peak of floating-point samples; those above it are at the scale of integers
CLIPPED_SHARE = 0.01  # of the samples on flat tops, from which a clip counts as clipped
FORMATS = "WAV, FLAC, OGG, MP3, M4A or WebM"


def decode(source: str | Path | bytes) -> Audio:
    """A file or its bytes → mono :class:`Audio` at the file's own rate, 0.2 to 120 s, every sample finite.

    Raises :class:`EmotionOmniError` (codes ``missing``, ``empty``, ``too-large``, ``not-audio``,
    ``not-finite``, ``too-short``, ``too-long``) with what was found and what to send instead. The whole file is read:
    one that holds less than its container tells is refused.
    """
    if source == "":
        raise EmotionOmniError(f"Give a recording: {FORMATS}.", "missing")
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

    A file that joins several recordings is read whole, if they have one rate and number of channels.
    """
    pieces: list[np.ndarray] = []
    found: set[tuple[int, int]] = set()
    for part in containers.parts(data):
        samples, hz = _decode_part(part)
        found.add((hz, samples.shape[1]))
        pieces.append(samples)
        if sum(map(len, pieces)) > (LONGEST_SECONDS + 1) * hz:
            break  # check() refuses it
    if len(found) > 1:
        kinds = " and ".join(f"{hz} Hz with {channels} channels" for hz, channels in sorted(found))
        raise EmotionOmniError(f"The file joins recordings of {kinds}. Export it again as one recording.", "not-audio")
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces), found.pop()[0]


def _decode_part(part: containers.Part) -> tuple[np.ndarray, int]:
    """libsndfile reads the classic formats.

    FFmpeg (codecpod bundles an LGPL build) reads only what libsndfile cannot: MP4 and Matroska, which phones and
    browsers record, AAC, FLAC in Ogg or of unknown length, and MP3 whose frames differ without a header that counts
    them. Its other readers are attack surface.
    """
    try:
        samples, hz = _by_ffmpeg(part) if part.by_ffmpeg else _by_libsndfile(part.data)
    except EmotionOmniError:
        raise
    except Exception as error:  # three decoders, each with errors of its own
        raise EmotionOmniError(
            f"This is not audio that can be read, or it is cut off ({type(error).__name__}). Send {FORMATS}.",
            "not-audio",
        ) from error
    if part.seconds is not None:
        _check_whole(part.seconds, len(samples) / hz, slack=0.1 + 3000 / hz)
    return samples, hz


def _by_ffmpeg(part: containers.Part) -> tuple[np.ndarray, int]:
    import codecpod

    about = codecpod.info(part.data)
    limit = min(int((LONGEST_SECONDS + 1) * about.sample_rate), MOST_SAMPLES // max(1, about.channels))
    decoded: Any = codecpod.load(part.data, channels_first=False, num_frames=limit)
    samples, hz = decoded
    if part.seconds is None and about.frames:
        _check_whole(about.frames / about.sample_rate, len(samples) / hz, slack=0.25)
    return np.atleast_2d(samples.T).T.astype(np.float32), int(hz)


def _by_libsndfile(data: bytes) -> tuple[np.ndarray, int]:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        is_known = 0 < file.frames < 2**62
        seconds = file.frames / file.samplerate  # known before decoding, so that a bomb is not unpacked
        if is_known and seconds > LONGEST_SECONDS:
            raise _too_long(seconds)
        if is_known and file.frames * file.channels > MOST_SAMPLES:
            raise EmotionOmniError(
                f"The recording has {file.channels} channels at {file.samplerate} Hz, too much to unpack. "
                "Send mono or stereo of up to 192 kHz.",
                "too-large",
            )
        limit = min(int((LONGEST_SECONDS + 1) * file.samplerate), MOST_SAMPLES // file.channels)
        samples = file.read(limit, dtype="float32", always_2d=True)
        if is_known and len(samples) < limit:
            _check_whole(seconds, len(samples) / file.samplerate, slack=containers.SLACK_SECONDS)
        return _full_scale(samples) if file.subtype in ("FLOAT", "DOUBLE") else samples, file.samplerate


def _check_whole(declared: float, found: float, slack: float) -> None:
    """Refuse a recording that decodes to less than its container tells."""
    if declared - found > slack and found <= LONGEST_SECONDS:
        raise containers.cut_off(f"{declared:.2f} s", f"{found:.2f} s that can be read")


def _full_scale(samples: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1]: those at the scale of integers are divided by it, louder ones by their peak."""
    finite = samples[np.isfinite(samples)]
    peak = float(np.abs(finite).max()) if len(finite) else 0.0
    if peak <= 1:
        return samples
    is_whole = bool((finite == np.round(finite)).all())
    if is_whole or peak > LOUDEST_FLOAT:
        for bits in (7, 15, 23, 31):
            if (bits > 7 or is_whole) and peak <= 2**bits * 1.01:
                scale = max(peak, 2.0**bits)
                return (samples / np.float32(scale)).astype(np.float32)
        raise EmotionOmniError(
            f"The samples reach {peak:.3g}; they must lie between -1 and 1. Export the recording again.", "not-finite"
        )
    return (samples / np.float32(peak)).astype(np.float32)


def from_array(samples: np.ndarray, hz: int) -> Audio:
    """Samples [N] or [N, C], float in [-1, 1] or integer at full scale → checked mono :class:`Audio`."""
    samples = np.asarray(samples)
    if np.issubdtype(samples.dtype, np.integer):
        samples = samples.astype(np.float32) / np.iinfo(samples.dtype).max
    else:
        samples = _full_scale(samples.astype(np.float32))
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


def without_dc(samples: np.ndarray, hz: int) -> np.ndarray:
    """Without the offset of a recorder: the median of the means of 50 ms, which speech and silence share."""
    step = max(1, hz // 20)
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    if not len(blocks):
        return samples
    return (samples - np.float32(np.median(blocks.mean(axis=1, dtype=np.float64)))).astype(np.float32)


def check_usable(audio: Audio) -> Audio:
    """The same sound. Raises :class:`EmotionOmniError` (codes ``silent``, ``clipped``) if there is nothing to judge."""
    samples = without_dc(audio.samples, audio.hz)
    step = max(1, audio.hz // 20)
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    loudest = max(map(dbfs, blocks), default=-200.0)
    if loudest < QUIETEST_DBFS:
        raise EmotionOmniError(
            f"The recording is silent: its loudest part has {loudest:.0f} dBFS. Check the microphone, or leave it out.",
            "silent",
        )
    if (share := clipped_share(audio.samples)) > CLIPPED_SHARE:
        raise EmotionOmniError(
            f"The recording is clipped: {share:.0%} of its samples are cut flat. Record it again at a lower level.",
            "clipped",
        )
    return audio


def clipped_share(samples: np.ndarray) -> float:
    """The share of samples on flat tops: three or more in a row at the highest or the lowest value."""
    high, low = float(samples.max(initial=0.0)), float(samples.min(initial=0.0))
    clipped = 0
    for at_edge, level in ((samples >= high * 0.9999, high), (samples <= low * 0.9999, -low)):
        if level < 0.05:  # a few steps of 8 or 16 bits look flat
            continue
        inner = at_edge[:-2] & at_edge[1:-1] & at_edge[2:]
        runs = np.zeros(len(samples), bool)
        for offset in range(3):
            runs[offset : offset + len(inner)] |= inner
        clipped += int(runs.sum())
    return clipped / max(1, len(samples))


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
