"""Sounds without speech, to teach a detector what speech is not: noises, tones and music, generated.
Axes: N samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from emotion_omni import audio
from emotion_omni.recognition.whisper_encoder import HZ

Make = Callable[[np.random.Generator, int], np.ndarray]  # (generator, N) → [N]
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))  # semitones


def colored(rng: np.random.Generator, count: int, slope: float) -> np.ndarray:
    """Noise whose power falls with frequency to the power of ``slope``: 0 white, 1 pink."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    return np.fft.irfft(spectrum * np.arange(1, len(spectrum) + 1) ** (-slope / 2), count)


def band(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    return sosfilt(butter(2, [low, min(7900, high)], "band", fs=HZ, output="sos"), samples)


# --- noises -----------------------------------------------------------------------------------------------------


def white(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(size=count)


def pink(rng: np.random.Generator, count: int) -> np.ndarray:
    return colored(rng, count, 1)


def hum(rng: np.random.Generator, count: int) -> np.ndarray:
    """Mains with harmonics."""
    times, pitch = np.arange(count) / HZ, rng.choice([50, 60])
    harmonics = [np.sin(2 * np.pi * pitch * k * times + rng.uniform(0, 6)) / k for k in range(1, rng.integers(4, 20))]
    return sum(harmonics) + rng.uniform(0.001, 0.1) * rng.normal(size=count)


def clicks(rng: np.random.Generator, count: int) -> np.ndarray:
    found = 10 ** rng.uniform(-4, -2) * rng.normal(size=count)
    for at in rng.integers(0, count, int(rng.uniform(1, 8) * count / HZ) + 1):
        length = min(count - at, int(rng.uniform(20, 800)))
        found[at : at + length] += rng.normal(size=length) * np.exp(-np.arange(length) / (length / 5))
    return found


def traffic(rng: np.random.Generator, count: int) -> np.ndarray:
    """Low noise that swells."""
    swell = np.interp(np.arange(count), np.linspace(0, count, 8), rng.normal(size=8))
    passing = band(rng.normal(size=count), 200, rng.uniform(800, 2500))
    return colored(rng, count, 1.5) * np.exp(swell) + 0.02 * passing * np.exp(-1.5 * swell)


def rain(rng: np.random.Generator, count: int) -> np.ndarray:
    drops = (rng.random(count) < 0.01) * rng.normal(size=count)
    return band(drops, 800, 6000) + 0.02 * rng.normal(size=count)


def knocks(rng: np.random.Generator, count: int) -> np.ndarray:
    found, at, length = 0.002 * rng.normal(size=count), HZ // 10, 3000
    times = np.arange(length) / HZ
    while at + length < count:
        body = np.sin(2 * np.pi * rng.uniform(70, 250) * times) + 0.5 * rng.normal(size=length)
        found[at : at + length] += body * np.exp(-times * rng.uniform(25, 80))
        at += int(rng.uniform(0.15, 0.7) * HZ)
    return found


def engine(rng: np.random.Generator, count: int) -> np.ndarray:
    """A buzz whose pitch drifts."""
    drift = np.interp(np.arange(count), np.linspace(0, count, 6), rng.normal(size=6))
    phase = np.cumsum(rng.uniform(20, 90) * np.exp(0.25 * drift)) / HZ
    pulses = (phase % 1) ** rng.uniform(1, 6)
    return band(pulses - pulses.mean(), 40, rng.uniform(600, 3000)) + 0.01 * rng.normal(size=count)


# --- tones ------------------------------------------------------------------------------------------------------


def sine(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.sin(2 * np.pi * np.exp(rng.uniform(np.log(60), np.log(4000))) * np.arange(count) / HZ)


def square(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.sign(sine(rng, count))


def sweep(rng: np.random.Generator, count: int) -> np.ndarray:
    first, last = np.exp(rng.uniform(np.log(80), np.log(4000), 2))
    return np.sin(2 * np.pi * np.cumsum(np.geomspace(first, last, count)) / HZ)


def beeps(rng: np.random.Generator, count: int) -> np.ndarray:
    found, at = 0.001 * rng.normal(size=count), 0
    while at < count:
        length = min(count - at, int(rng.uniform(0.05, 0.4) * HZ))
        pitches = rng.choice([440, 480, 620, 697, 852, 1000, 1209, 1477, 2000], 2)
        tones = np.sin(2 * np.pi * pitches[:, None] * np.arange(length) / HZ).sum(0)
        found[at : at + length] += tones * _fade(length, 0.005)
        at += length + int(rng.uniform(0.03, 0.5) * HZ)
    return found


# --- music ------------------------------------------------------------------------------------------------------


def _fade(length: int, seconds: float) -> np.ndarray:
    ramp = np.arange(length) / (seconds * HZ)
    return np.minimum(1, np.minimum(ramp, ramp[::-1]))


def _pluck(rng: np.random.Generator, pitch: float, length: int) -> np.ndarray:
    """A string that rings out (Karplus & Strong 1983)."""
    period = max(2, int(HZ / pitch))
    excitation = np.zeros(length)
    excitation[:period] = rng.uniform(-1, 1, min(period, length))
    feedback = np.zeros(period + 2)
    feedback[0], feedback[period:] = 1, -0.498
    return lfilter([1], feedback, excitation)


def _organ(rng: np.random.Generator, pitch: float, length: int) -> np.ndarray:
    times = np.arange(length) / HZ
    return np.sum([np.sin(2 * np.pi * pitch * k * times) / k for k in (1, 2, 3, 4, 6, 8)], axis=0)


def _piano(rng: np.random.Generator, pitch: float, length: int) -> np.ndarray:
    times = np.arange(length) / HZ
    partials = [k * pitch * np.sqrt(1 + 4e-4 * k * k) for k in range(1, 8)]
    return np.sum([np.sin(2 * np.pi * f * times) * np.exp(-times * k) / k for k, f in enumerate(partials, 1)], axis=0)


def _sine(rng: np.random.Generator, pitch: float, length: int) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(length) / HZ)


def _square(rng: np.random.Generator, pitch: float, length: int) -> np.ndarray:
    return 0.5 * np.sign(_sine(rng, pitch, length))


NOTES = {"pluck": _pluck, "organ": _organ, "piano": _piano, "sine": _sine, "square": _square}


def melody(note: str) -> Make:
    def make(rng: np.random.Generator, count: int) -> np.ndarray:
        found, at, degree = np.zeros(count), 0, int(rng.integers(0, 8))
        scale, root, beat = SCALES[rng.integers(len(SCALES))], rng.uniform(100, 400), rng.uniform(0.15, 0.6)
        while at < count:
            length = min(count - at, int(beat * rng.choice([0.5, 1, 1, 2]) * HZ))
            degree = int(np.clip(degree + rng.integers(-3, 4), -4, 12))
            pitch = root * 2 ** (scale[degree % len(scale)] / 12 + degree // len(scale))
            if length > 100 and rng.random() > 0.1:
                found[at : at + length] += NOTES[note](rng, pitch, length) * _fade(length, 0.01)
            at += length
        return found

    return make


def chords(note: str) -> Make:
    def make(rng: np.random.Generator, count: int) -> np.ndarray:
        found, root, beat = np.zeros(count), rng.uniform(100, 300), int(rng.uniform(0.4, 1.4) * HZ)
        for at in range(0, count, beat):
            length, base = min(count - at, beat), rng.choice([0, 2, 4, 5, 7, 9])
            for step in (0, rng.choice([3, 4]), 7):
                pitch = root * 2 ** ((base + step) / 12)
                found[at : at + length] += NOTES[note](rng, pitch, length) * _fade(length, 0.01)
        return found

    return make


def drums(rng: np.random.Generator, count: int) -> np.ndarray:
    found, step = np.zeros(count), int(rng.uniform(0.09, 0.22) * HZ)
    pattern = rng.random((3, 16)) < np.array([[0.3], [0.25], [0.6]])
    for index, at in enumerate(range(0, count, step)):
        times = np.arange(min(count - at, HZ // 4)) / HZ
        noise = rng.normal(size=len(times))
        kick = np.sin(2 * np.pi * (50 * times + 4 * (1 - np.exp(-30 * times)))) * np.exp(-14 * times)
        snare = (0.4 * noise + 0.6 * np.sin(2 * np.pi * 190 * times)) * np.exp(-20 * times)
        hat = 0.3 * np.diff(noise, prepend=0) * np.exp(-60 * times)
        for sound, played in zip((kick, snare, hat), pattern[:, index % 16], strict=True):
            found[at : at + len(times)] += played * sound
    return found


def ensemble(rng: np.random.Generator, count: int) -> np.ndarray:
    """A melody over chords and drums."""
    parts = melody(str(rng.choice(list(NOTES)))), chords(str(rng.choice(list(NOTES)))), drums
    sounds = [part(rng, count) for part in parts]
    return sum(rng.uniform(0.2, 1) * sound / max(1e-6, np.abs(sound).max()) for sound in sounds)


SOUNDS: tuple[Make, ...] = (
    *(white, pink, hum, clicks, traffic, rain, knocks, engine, sine, square, sweep, beeps, drums, ensemble),
    *(melody(note) for note in NOTES),
    *(chords(note) for note in NOTES),
)


def make_sound(make: Make, rng: np.random.Generator) -> np.ndarray:
    """One sound of 0.6 to 6 s, -29 to -17 dBFS, in 16-bit steps of its first, random level."""
    samples = make(rng, int(np.exp(rng.uniform(np.log(0.6), np.log(6.0))) * HZ))
    peak = 10 ** (rng.uniform(-45, -1) / 20)
    samples = np.round(samples / max(1e-9, np.abs(samples).max()) * peak * 32767) / 32768
    return audio.set_level(samples.astype(np.float32), audio.SPEECH_DBFS + rng.uniform(-6, 6))
