"""What an emotion does to Kokoro's pitch, energy, durations and style.

The settings of each emotion are data (``prosody.json``), found by ``python -m emotion_omni train prosody``. They change
what Kokoro's predictor hands to its decoder (:mod:`emotion_omni.synthesis.kokoro_graph`): the signal is not processed.
An intensity scales an emotion's distance from neutral, in semitones and in logarithms of factors.

Axes: L phonemes, T frames of 12.5 ms. Style: float32 [256], timbre [:128] and prosody [128:].
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion_omni import emotion, weights

SETTINGS = Path(__file__).with_suffix(".json")
TIMBRE = 128  # dimensions of a style vector; the others are prosody
FRAME_HZ = 80.0
VOICED_HZ = 60.0  # a pitch below it means that a frame is unvoiced
LOWEST_HZ, HIGHEST_HZ = 55.0, 520.0  # outside it the decoder was not trained
SPOKEN_ENERGY = -2.0  # of a frame with speech; silence lies near -9
INITIAL_PART, FINAL_PART = 0.25, 0.3  # of a clause, in which its initial pitch ends and its final pitch is reached
TREMOR_HZ = 6.0
VOWELS = frozenset("AIOQWYaeiouæɑɐɒɔəɚɛɜɪʊʌᵻ")
PUNCTUATION = ".,!?;:"


def _factor(neutral: float = 1.0) -> Any:
    """A field that an intensity scales in its logarithm."""
    return field(default=neutral, metadata={"factor": True})


@dataclass(frozen=True)
class Prosody:
    """Changes to a neutral voice; the defaults change nothing.

    Pitch, in semitones: ``pitch``, ``pitch_slope`` (from the first to the last voiced frame), ``initial_pitch`` and
    ``final_pitch`` (by which the first and the last part are raised), ``tremor`` (its depth), ``roughness`` (of its
    random part); ``pitch_range``, a factor around the mean. Energy, in units of Kokoro's predictor: ``energy``,
    ``energy_slope``; ``energy_range``, a factor. Durations, factors: ``pace`` of the speaking rate; ``vowels`` of all
    vowels, ``stress`` of stressed ones, ``final_length`` of the last syllable, ``word_gaps`` between words, ``pauses``
    of those inside a clause. ``decibels``: louder by, where the level follows the emotion. ``style`` and ``timbre``:
    how far these halves of the style vector move along the named directions, which lead from the average voice.
    """

    pitch: float = 0.0
    pitch_range: float = _factor()
    pitch_slope: float = 0.0
    initial_pitch: float = 0.0
    final_pitch: float = 0.0
    tremor: float = 0.0
    roughness: float = 0.0
    energy: float = 0.0
    energy_range: float = _factor()
    energy_slope: float = 0.0
    pace: float = _factor()
    vowels: float = _factor()
    stress: float = _factor()
    final_length: float = _factor()
    word_gaps: float = _factor()
    pauses: float = _factor()
    decibels: float = 0.0
    style: Mapping[str, float] = field(default_factory=dict)
    timbre: Mapping[str, float] = field(default_factory=dict)

    def scaled(self, intensity: float, neutral: Prosody, rate: float = 1.0) -> Prosody:
        """At ``intensity`` 0 ``neutral`` itself, at 1 these settings, beyond it more; ``rate`` multiplies the pace."""
        changed: dict[str, Any] = {}
        for one in fields(self):
            here, there = getattr(neutral, one.name), getattr(self, one.name)
            if isinstance(there, Mapping):
                names = sorted({*here, *there})
                changed[one.name] = {
                    name: _between(here.get(name, 0.0), there.get(name, 0.0), intensity) for name in names
                }
            elif one.metadata:
                changed[one.name] = here * (there / here) ** intensity
            else:
                changed[one.name] = _between(here, there, intensity)
        return replace(self, **changed | {"pace": changed["pace"] * rate})

    def move(self, style: np.ndarray, directions: Mapping[str, np.ndarray]) -> np.ndarray:
        """A voice's style → the style that it speaks with. ``directions``: from the average voice to each named one."""
        moved = style.copy()
        for half, shares in ((slice(TIMBRE, None), self.style), (slice(0, TIMBRE), self.timbre)):
            for voice, share in shares.items():
                moved[half] += np.float32(share) * directions[voice][half]
        return moved

    def speeds(self, phonemes: str) -> np.ndarray:
        """float32 [L + 2]: what the duration of each phoneme, with the two ends, is divided by."""
        slower = np.ones(len(phonemes))
        for index in _stressed_vowels(phonemes):
            slower[index] *= self.stress
        for index, symbol in enumerate(phonemes):
            if symbol in VOWELS:
                slower[index] *= self.vowels
            elif symbol == " ":
                slower[index] *= self.word_gaps
            elif symbol in PUNCTUATION:
                slower[index] *= self.pauses
                slower[_last_vowel(phonemes, index) : index] *= self.final_length
        if not phonemes.endswith(tuple(PUNCTUATION)):
            slower[_last_vowel(phonemes, len(phonemes)) :] *= self.final_length
        return np.concatenate([[1], self.pace / slower, [1]]).astype(np.float32)  # the ends are silent

    def pitch_contour(self, pitch: np.ndarray) -> np.ndarray:
        """Hertz [T] → hertz [T]; unvoiced frames stay as they are."""
        voiced = pitch > VOICED_HZ
        if not voiced.any():
            return pitch
        semitones = 12 * np.log2(np.maximum(pitch, 1.0))
        mean = semitones[voiced].mean()
        place = _place(voiced)
        changed = mean + self.pitch + (semitones - mean) * self.pitch_range + self.pitch_slope * (place - 0.5)
        changed += self.initial_pitch * np.clip(1 - place / INITIAL_PART, 0, 1)
        changed += self.final_pitch * np.clip((place - 1 + FINAL_PART) / FINAL_PART, 0, 1)
        changed += self.tremor * np.sin(2 * math.pi * TREMOR_HZ / FRAME_HZ * np.arange(len(pitch)))
        changed += self.roughness * np.random.default_rng(0).standard_normal(len(pitch))
        return np.where(voiced, np.clip(2 ** (changed / 12), LOWEST_HZ, HIGHEST_HZ), pitch).astype(np.float32)

    def energy_contour(self, energy: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """Energy [T] and pitch [T] → energy [T]; silence stays silent."""
        spoken = energy > SPOKEN_ENERGY
        if not spoken.any() or not (pitch > VOICED_HZ).any():
            return energy
        speech = 1 / (1 + np.exp(SPOKEN_ENERGY - energy))  # from 0 in silence to 1 in speech
        around_mean = (energy - energy[spoken].mean()) * (self.energy_range - 1)
        along = self.energy_slope * 2 * (_place(pitch > VOICED_HZ) - 0.5)
        return (energy + speech * (around_mean + self.energy + along)).astype(np.float32)


def _between(here: float, there: float, intensity: float) -> float:
    return here + (there - here) * intensity


def _place(voiced: np.ndarray) -> np.ndarray:
    """From 0 at the first voiced frame to 1 at the last [T]."""
    frames = np.flatnonzero(voiced)
    return np.clip((np.arange(len(voiced)) - frames[0]) / max(1, frames[-1] - frames[0]), 0, 1)


def _stressed_vowels(phonemes: str) -> list[int]:
    """Of primary stress: the first vowel after each mark."""
    found, stressed = [], False
    for index, symbol in enumerate(phonemes):
        if symbol == "ˈ":
            stressed = True
        elif symbol in VOWELS:
            found += [index] if stressed else []
            stressed = False
    return found


def _last_vowel(phonemes: str, end: int) -> int:
    """The last vowel before ``end``, or ``end`` if there is none."""
    return next((index for index in range(end - 1, -1, -1) if phonemes[index] in VOWELS), end)


@functools.cache
def by_emotion() -> Mapping[str, Prosody]:
    """The shipped settings of each label."""
    return read(SETTINGS)


def load(path: Path) -> Mapping[str, Prosody]:
    """Settings that a training has written. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    with weights.part_explained(path, "prosody"):
        found = read(path)
        if missing := [name for name in emotion.NAMES if name not in found]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        return found


def read(path: Path) -> Mapping[str, Prosody]:
    """Settings as ``prosody.json`` holds them; what an emotion leaves out stays neutral."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    return {label: Prosody(**row) for label, row in settings["emotions"].items()}
