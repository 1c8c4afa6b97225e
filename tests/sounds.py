"""Sounds without speech, and speech that voice activity detection misses. Other families than the detector learned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from emotion_omni.types import Audio

HZ = 16_000
Make = Callable[[np.random.Generator, int], np.ndarray]
MINOR = (0, 2, 3, 5, 7, 8, 10)


def colored(rng: np.random.Generator, n: int, slope: float) -> np.ndarray:
    """Noise whose power falls with frequency to the power of ``slope``."""
    spectrum = np.fft.rfft(rng.normal(size=n))
    return np.fft.irfft(spectrum * np.arange(1, len(spectrum) + 1) ** (-slope / 2), n)


def _brown(rng, n):
    return colored(rng, n, 2)


def _fan(rng, n):
    blades = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(8, 40) * np.arange(n) / HZ)
    return colored(rng, n, 1) * blades


def _wind(rng, n):
    gusts = np.interp(np.arange(n), np.linspace(0, n, 12), rng.normal(size=12))
    return colored(rng, n, 2) * np.exp(gusts)


def _crackle(rng, n):
    return lfilter([1], [1, -0.6], (rng.random(n) < 0.002) * rng.normal(size=n)) + 0.003 * rng.normal(size=n)


def _keyboard(rng, n):
    found = 0.001 * rng.normal(size=n)
    for at in rng.integers(0, n - 800, 4 * n // HZ):
        found[at : at + 800] += rng.normal(size=800) * np.exp(-np.arange(800) / 100)
    return sosfilt(butter(2, [500, 5000], "band", fs=HZ, output="sos"), found)


def _siren(rng, n):
    pitch = 700 * np.exp(0.3 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * np.arange(n) / HZ))
    return np.sin(2 * np.pi * np.cumsum(pitch) / HZ)


def _birds(rng, n):
    found = 0.002 * rng.normal(size=n)
    for at in rng.integers(0, n - 3200, 3 * n // HZ):
        pitch = rng.uniform(2000, 4500) * np.exp(np.linspace(0, rng.normal() * 0.3, 3200))
        found[at : at + 3200] += np.sin(2 * np.pi * np.cumsum(pitch) / HZ) * np.hanning(3200)
    return found


def _saw(rng, n):
    return 2 * ((rng.uniform(80, 800) * np.arange(n) / HZ) % 1) - 1


def _melody(note: Callable[[np.ndarray, float], np.ndarray]) -> Make:
    def make(rng: np.random.Generator, n: int) -> np.ndarray:
        found, at, root = np.zeros(n), 0, rng.uniform(120, 380)
        while at < n:
            length = min(n - at, int(rng.choice([0.2, 0.3, 0.45]) * HZ))
            pitch = root * 2 ** ((rng.choice(MINOR) + 12 * rng.integers(0, 2)) / 12)
            ramp = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 300)
            found[at : at + length] = note(np.arange(length) / HZ, pitch) * ramp
            at += length
        return found

    return make


def _bell(t: np.ndarray, f: float) -> np.ndarray:
    return np.sin(2 * np.pi * f * t + 3 * np.exp(-4 * t) * np.sin(2.8 * np.pi * f * t)) * np.exp(-3 * t)


def _flute(t: np.ndarray, f: float) -> np.ndarray:
    phase = 2 * np.pi * f * t + 0.3 * np.sin(2 * np.pi * 5 * t)
    return np.sin(phase) + 0.3 * np.sin(2 * phase)


def _brass(t: np.ndarray, f: float) -> np.ndarray:
    rise = np.minimum(1, t / 0.08)
    return sum(np.sin(2 * np.pi * k * f * t) * rise**k / k for k in range(1, 9))


def _strings(t: np.ndarray, f: float) -> np.ndarray:
    voices = [2 * ((f * detune * t + 0.02 * np.sin(2 * np.pi * 5.5 * t)) % 1) - 1 for detune in (0.997, 1, 1.004)]
    return lfilter([0.3], [1, -0.7], sum(voices))


def _band(rng, n):
    drums = np.zeros(n)
    for at in range(0, n - 2000, 2600):
        drums[at : at + 2000] += rng.normal(size=2000) * np.exp(-np.arange(2000) / 300)
    return _melody(_bell)(rng, n) + 0.6 * _melody(_strings)(rng, n) + 0.7 * drums


WITHOUT_SPEECH: dict[str, Make] = {
    "brown noise": _brown,
    "fan": _fan,
    "wind": _wind,
    "crackle": _crackle,
    "keyboard": _keyboard,
    "siren": _siren,
    "birds": _birds,
    "sawtooth": _saw,
    "bells": _melody(_bell),
    "flute": _melody(_flute),
    "brass": _melody(_brass),
    "strings": _melody(_strings),
    "band": _band,
}


def without_speech(name: str, seed: int) -> Audio:
    """A sound of 1 to 6 s with a peak of -40 to -1 dBFS."""
    rng = np.random.default_rng([seed, *name.encode()])
    samples = WITHOUT_SPEECH[name](rng, int(rng.uniform(1, 6) * HZ))
    level = 10 ** (rng.uniform(-40, -1) / 20)
    return Audio((samples / np.abs(samples).max() * level).astype(np.float32), HZ)


def whispered(samples: np.ndarray, seed: int = 0, order: int = 18, size: int = 400) -> np.ndarray:
    """The same speech without voice: the residual of linear prediction replaced by noise of the same energy."""
    rng, window, found = np.random.default_rng(seed), np.hanning(size), np.zeros(len(samples))
    emphasized = lfilter([1, -0.97], [1], samples)
    for at in range(0, len(samples) - size, size // 2):
        frame = emphasized[at : at + size] * window
        correlation = np.correlate(frame, frame, "full")[size - 1 : size + order]
        if correlation[0] < 1e-9:
            continue
        correlation[0] *= 1.0001
        lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
        predictor = np.linalg.solve(correlation[lags], correlation[1:])
        gain = np.sqrt(max(1e-12, correlation[0] - predictor @ correlation[1:]) / size)
        noise = rng.normal(size=size) * gain
        found[at : at + size] += lfilter([1], np.r_[1, -predictor], noise) * window
    return sosfilt(butter(2, 150, "high", fs=HZ, output="sos"), found).astype(np.float32)
