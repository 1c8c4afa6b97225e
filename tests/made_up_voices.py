"""Synthetic voices: pulses through two resonances, whose pitch, level and pace are known, and corpora of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

HZ = 16_000
MOODS = ("happy", "sad", "angry", "neutral")
SOUND = {  # of a mood: pitch above the speaker's in semitones, its vibrato in semitones, syllables a second
    "happy": (7, 4.0, 6.0),
    "sad": (-4, 0.5, 2.5),
    "angry": (3, 1.0, 5.0),
    "neutral": (0, 0.8, 4.0),
}


def voice(pitch: np.ndarray, seconds: float, syllables: float = 0.0, seed: int = 0) -> np.ndarray:
    """``pitch`` in Hz, one or one for each sample; ``syllables`` a second, 0 for an even tone → float32 [N]."""
    count = int(seconds * HZ)
    phase = np.cumsum(np.broadcast_to(pitch, count)) / HZ
    pulses = (np.diff(np.floor(phase), prepend=0) > 0).astype(np.float64)
    sound = pulses
    for resonance, width in ((600, 80), (1500, 120)):
        radius = np.exp(-np.pi * width / HZ)
        sound = scipy.signal.lfilter([1.0], [1, -2 * radius * np.cos(2 * np.pi * resonance / HZ), radius**2], sound)
    if syllables:
        sound = sound * (0.52 - 0.48 * np.cos(2 * np.pi * syllables * np.arange(count) / HZ))
    sound = sound + np.random.default_rng(seed).normal(0, 1e-4 * np.abs(sound).max(), count)
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def utterance(mood: str, speaker_pitch: float, seed: int, seconds: float = 1.0) -> np.ndarray:
    rng, (above, vibrato, pace) = np.random.default_rng(seed), SOUND[mood]
    times = np.arange(int(seconds * HZ)) / HZ
    semitones = above + rng.normal(0, 0.7) + vibrato * np.sin(2 * np.pi * (2 + rng.random()) * times)
    return voice(speaker_pitch * 2 ** (semitones / 12), seconds, pace + rng.normal(0, 0.3), seed)


def write_corpus(
    folder: Path, source: str, speakers: dict[str, tuple[str, float]], each: int = 3, moods: tuple[str, ...] = MOODS
) -> Path:
    """``speakers``: name → split, pitch in Hz. ``each``: clips of a speaker and mood. The folder, with its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (speaker, (split, pitch)) in enumerate(speakers.items()):
        for mood in moods:
            for take in range(each):
                name = f"{speaker}-{mood}-{take}.wav"
                soundfile.write(folder / name, utterance(mood, pitch, 1000 * number + 10 * take + len(mood)), HZ)
                rows.append({"path": name, "emotion": mood, "speaker": speaker, "source": source, "split": split})
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder
