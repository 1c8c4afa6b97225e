"""Augmented copies of a recording, so that neither level nor recording conditions reveal its corpus.

Axes: N samples at 16 kHz.
"""

from __future__ import annotations

import numpy as np
import soxr

from emotion_omni import audio
from emotion_omni.recognition.whisper_encoder import HZ


def augment(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same speech by another voice, in another room and over another line: samples [N] → [N'], level reset."""
    if rng.random() < 0.7:  # pitch, formants and pace together
        samples = soxr.resample(samples, HZ, int(HZ * rng.uniform(0.88, 1.14)))
    if rng.random() < 0.7:
        samples = _equalize(samples, rng)
    if rng.random() < 0.2:  # a telephone, or an old codec
        narrow = int(rng.choice([8_000, 11_025]))
        samples = soxr.resample(soxr.resample(samples, HZ, narrow), narrow, HZ)
    if rng.random() < 0.4:
        samples = _reverberate(samples, rng)
    if rng.random() < 0.6:
        samples = _add_noise(samples, rng)
    if rng.random() < 0.3 and len(samples) > 1.5 * HZ:  # the start or the end is missing
        cut = int(rng.uniform(0, 0.3) * len(samples))
        samples = samples[cut:] if rng.random() < 0.5 else samples[: -cut - 1]
    return audio.set_level(samples.astype(np.float32))


def _equalize(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random smooth equalizer, as microphones differ."""
    spectrum, hz = np.fft.rfft(samples), np.fft.rfftfreq(len(samples), 1 / HZ)
    gains = np.cumsum(rng.normal(0, 2.0, 7))
    decibels = np.interp(hz, [0, 200, 500, 1000, 2000, 4000, 8000], gains - gains.mean())
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), len(samples))


def _reverberate(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convolution with exponentially decaying noise: 60 dB down after 0.1 to 0.5 s."""
    length = int(rng.uniform(0.1, 0.5) * HZ)
    response = rng.normal(0, 1, length) * np.exp(-6.9 * np.arange(length) / length)
    response *= 10 ** (rng.uniform(-15, -3) / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1
    size = 1 << int(np.ceil(np.log2(len(samples) + length)))
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]


def _add_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise between white and pink, 8 to 35 dB under the speech."""
    spectrum = np.fft.rfft(rng.normal(0, 1, len(samples)))
    noise = np.fft.irfft(spectrum * (np.arange(len(spectrum)) + 1.0) ** -rng.uniform(0, 1), len(samples))
    gain = np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(8, 35) / 20)
    return samples + gain * noise
