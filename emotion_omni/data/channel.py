"""What lies between a mouth and a recorder: distance, room, noise, telephone. Seeded; knows no text and no emotion.

Axes: N samples.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from emotion_omni import audio
from emotion_omni.data.plan import Speech
from emotion_omni.types import Audio

TELEPHONE_HZ = 8_000
MU = 255  # of mu-law, ITU-T G.711


@dataclass(frozen=True, slots=True)
class Channel:
    """``decibels``: level added; ``reverberation``: seconds until an echo has fallen by 60 dB, 0 for none;
    ``snr``: dB of speech over noise, 0 for none; ``telephone``: whether it went through mu-law at 8 kHz."""

    decibels: float = 0.0
    reverberation: float = 0.0
    snr: float = 0.0
    telephone: bool = False

    @property
    def is_plain(self) -> bool:
        return self == Channel()


def channel_of(speech: Speech, seed: int) -> Channel:
    """The channel of a dialogue."""
    rng = random.Random(f"channel:{seed}")
    return Channel(
        round(rng.uniform(-12, 12), 1) if rng.random() < speech.level else 0.0,
        round(rng.uniform(0.15, 0.6), 2) if rng.random() < speech.room else 0.0,
        round(rng.uniform(8, 25), 1) if rng.random() < speech.noise else 0.0,
        rng.random() < speech.codec,
    )


def through(channel: Channel, sound: Audio, seed: int) -> Audio:
    """The sound as it arrives; never beyond full scale."""
    if channel.is_plain:
        return sound
    rng = np.random.default_rng(seed)
    samples = sound.samples.astype(np.float64)
    if channel.reverberation:
        samples = in_room(samples, sound.hz, channel.reverberation, rng)
    if channel.snr:
        noise = pink(len(samples), rng)
        samples = samples + noise * 10 ** ((audio.dbfs(samples) - channel.snr - audio.dbfs(noise)) / 20)
    if channel.telephone:
        samples = telephone(samples, sound.hz)
    samples = samples * 10 ** (channel.decibels / 20)
    return Audio(audio.limit(samples.astype(np.float32)), sound.hz)


def in_room(samples: np.ndarray, hz: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """[N] → [N]. Noise that decays by 60 dB in ``seconds`` stands for a room's echoes (Polack 1988), after the direct
    sound, which it meets at -6 dB."""
    times = np.arange(int(seconds * hz)) / hz
    tail = rng.normal(size=len(times)) * 10 ** (-3 * times / seconds)
    tail *= 0.5 / max(float(np.linalg.norm(tail)), 1e-9)
    tail[0] = 1.0
    found = fftconvolve(samples, tail)[: len(samples)]
    return found * 10 ** ((audio.dbfs(samples) - audio.dbfs(found)) / 20)


def pink(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    return np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), count)


def telephone(samples: np.ndarray, hz: int) -> np.ndarray:
    """300 to 3400 Hz, 8 kHz, eight bits of mu-law, and back."""
    narrow = audio.resample(Audio(np.clip(samples, -1, 1).astype(np.float32), hz), TELEPHONE_HZ).samples
    narrow = sosfilt(butter(4, [300, 3400], "band", fs=TELEPHONE_HZ, output="sos"), narrow)
    pressed = np.sign(narrow) * np.log1p(MU * np.minimum(np.abs(narrow), 1)) / np.log1p(MU)
    pressed = np.round(pressed * 127) / 127
    wide = np.sign(pressed) * ((1 + MU) ** np.abs(pressed) - 1) / MU
    back = audio.resample(Audio(np.clip(wide, -1, 1).astype(np.float32), TELEPHONE_HZ), hz).samples
    return np.pad(back, (0, max(0, len(samples) - len(back))))[: len(samples)].astype(np.float64)
