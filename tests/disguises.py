"""One recording in other forms: gain, codec, sample rate, offset, silence, cut, noise."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from emotion_omni import audio
from emotion_omni.types import Audio


def changed(sound: Audio, **to: object) -> Audio:
    return Audio(np.asarray(to.get("samples", sound.samples), np.float32), int(to.get("hz", sound.hz)))


def coded(sound: Audio, **how: str) -> Audio:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, sound.hz, **how)
    samples, hz = soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")
    return Audio(samples, hz)


def noisy(sound: Audio, db: float) -> Audio:
    noise = np.random.default_rng(0).standard_normal(len(sound.samples))
    level = np.sqrt(np.mean(np.square(sound.samples))) * 10 ** (-db / 20)
    return changed(sound, samples=sound.samples + level * noise)


def part(sound: Audio, start: float, end: float) -> Audio:
    n = len(sound.samples)
    return changed(sound, samples=sound.samples[int(start * n) : int(end * n)])


def padded(sound: Audio, before: float, after: float) -> Audio:
    lengths = (int(before * sound.hz), int(after * sound.hz))
    return changed(sound, samples=np.pad(sound.samples, lengths))


DISGUISES = {
    "gain": lambda sound: changed(sound, samples=0.3 * sound.samples),
    "opus": lambda sound: coded(sound, format="OGG", subtype="OPUS"),
    "mp3": lambda sound: coded(sound, format="MP3"),
    "8 kHz": lambda sound: audio.resample(sound, 8000),
    "16 kHz": lambda sound: audio.resample(sound, 16000),
    "44.1 kHz": lambda sound: audio.resample(sound, 44100),
    "48 kHz": lambda sound: audio.resample(sound, 48000),
    "offset": lambda sound: changed(sound, samples=sound.samples + 0.05),
    "silence": lambda sound: padded(sound, 0.73, 1.0),
    "start cut": lambda sound: part(sound, 0.2, 1),
    "end cut": lambda sound: part(sound, 0, 0.8),
    "noise": lambda sound: noisy(sound, 25),
    "all": lambda sound: coded(noisy(part(audio.resample(sound, 44100), 0.1, 1), 25), format="MP3"),
}
