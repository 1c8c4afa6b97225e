"""Sound files that a command writes, in the format that their name ends with."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from emotion_omni import audio
from emotion_omni.types import Audio, EmotionOmniError

FRAMES_AT_ONCE = 65_536  # libsndfile's Vorbis encoder overflows its stack on long buffers


@dataclass(frozen=True)
class Format:
    """libsndfile's names. ``rates``: in Hz, if only some are possible."""

    name: str
    subtype: str
    rates: tuple[int, ...] = ()


_OPUS = Format("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000))
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_KNOWN = {
    ".wav": Format("WAV", "PCM_16"),
    ".flac": Format("FLAC", "PCM_16"),
    ".ogg": Format("OGG", "VORBIS"),
    ".oga": Format("OGG", "VORBIS"),
    ".opus": _OPUS,
    ".mp3": Format("MP3", "MPEG_LAYER_III", _MP3_RATES),
    ".aiff": Format("AIFF", "PCM_16"),
    ".aif": Format("AIFF", "PCM_16"),
}
FORMATS = {end: kind for end, kind in _KNOWN.items() if soundfile.check_format(kind.name, kind.subtype)}
ENDINGS = ", ".join(FORMATS)


def check_target(target: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Before any work: whether a sound file can be written here, and is none of the ``inputs``.

    Raises :class:`EmotionOmniError` (codes ``unknown-format``, ``cannot-write``).
    """
    _format(target)
    try:
        if target.is_dir():
            raise _refused(target, "it is a folder")
        if not target.parent.is_dir():
            raise _refused(target, f"there is no folder {str(target.parent)!r}")
        if not os.access(target if target.exists() else target.parent, os.W_OK):
            raise _refused(target, "permission denied")
        if target.exists() and any(Path(file).exists() and target.samefile(file) for file in inputs):
            raise _refused(target, "it is one of the recordings to answer")
    except OSError as error:  # such as a name that is too long
        raise _refused(target, error.strerror) from error


def write(target: Path, sound: Audio) -> None:
    """Raises :class:`EmotionOmniError` (codes ``unknown-format``, ``cannot-write``)."""
    kind = _format(target)
    if kind.rates and sound.hz not in kind.rates:
        sound = audio.resample(sound, min((hz for hz in kind.rates if hz > sound.hz), default=max(kind.rates)))
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sound.hz, 1, kind.subtype, format=kind.name) as file:
        for start in range(0, len(sound.samples), FRAMES_AT_ONCE):
            file.write(sound.samples[start : start + FRAMES_AT_ONCE])
    try:
        target.write_bytes(buffer.getvalue())
    except OSError as error:
        raise _refused(target, error.strerror) from error


def _format(target: Path) -> Format:
    try:
        return FORMATS[target.suffix.lower()]
    except KeyError:
        raise EmotionOmniError(
            f"Cannot write {str(target)!r}: its name must end with one of {ENDINGS}.", "unknown-format"
        ) from None


def _refused(target: Path, reason: str | None) -> EmotionOmniError:
    return EmotionOmniError(f"Cannot write {str(target)!r}: {reason}.", "cannot-write")
