"""Manners: points in the space of :class:`Prosody` that the search moves in, and the directions of style.

Axes: P parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emotion_omni.synthesis import kokoro
from emotion_omni.synthesis.prosody import TIMBRE, Prosody

DONORS = {  # voices whose directions a manner may take, in either half of the style
    "style": ("af_nicole", "af_bella", "af_jessica", "am_santa", "am_fenrir", "am_onyx", "bf_lily", "am_puck"),
    "timbre": ("af_nicole", "af_bella", "am_onyx", "am_santa", "af_jessica"),
}
COMPONENTS = {"style": 4, "timbre": 6}  # principal ones of all voices, gender left out
ROWS = slice(20, 120)  # of a style table: lengths of a clause


@dataclass(frozen=True)
class Parameter:
    """A field of :class:`Prosody`, or a direction of one of its mappings. ``unit``: of a manner, in the field's terms
    or in its logarithm. ``low``, ``high``: bounds in the same."""

    field: str
    unit: float
    low: float
    high: float
    factor: bool = False
    direction: str = ""


PARAMETERS = (
    Parameter("pitch", 2.5, -3.5, 4.0),
    Parameter("pitch_range", 0.5, -1.0, 0.75, factor=True),
    Parameter("pitch_slope", 2.0, -6.0, 6.0),
    Parameter("final_pitch", 2.5, -7.0, 7.0),
    Parameter("energy", 1.5, -4.0, 4.0),
    Parameter("energy_range", 0.35, -0.9, 0.7, factor=True),
    Parameter("energy_slope", 1.0, -3.0, 3.0),
    Parameter("pace", 0.18, -0.35, 0.33, factor=True),
    Parameter("stress", 0.2, -0.35, 0.5, factor=True),
    Parameter("final_length", 0.3, -0.3, 0.9, factor=True),
    Parameter("pauses", 0.4, -0.5, 1.2, factor=True),
    Parameter("tremor", 0.25, 0.0, 0.8),
    Parameter("word_gaps", 0.4, -0.3, 1.2, factor=True),
    Parameter("vowels", 0.15, -0.3, 0.4, factor=True),
    Parameter("roughness", 0.15, 0.0, 0.5),
    Parameter("initial_pitch", 1.5, -5.0, 5.0),
    *(Parameter("style", 0.4, -1.0, 1.0, direction=voice) for voice in DONORS["style"]),
    *(Parameter("timbre", 0.15, -0.35, 0.35, direction=voice) for voice in DONORS["timbre"]),
    *(Parameter("style", 0.35, -1.2, 1.2, direction=f"style_{n + 1}") for n in range(COMPONENTS["style"])),
    *(Parameter("timbre", 0.35, -1.0, 1.0, direction=f"timbre_{n + 1}") for n in range(COMPONENTS["timbre"])),
)
UNITS = np.array([each.unit for each in PARAMETERS])
IS_DIRECTION = torch.tensor([bool(each.direction) for each in PARAMETERS])
COST_OF_DIRECTION = 2.5
LOW, HIGH = np.array([each.low for each in PARAMETERS]) / UNITS, np.array([each.high for each in PARAMETERS]) / UNITS


def prosody_of(manner: np.ndarray) -> Prosody:
    """A manner [P] → settings, cut to their bounds."""
    values: dict[str, Any] = {"style": {}, "timbre": {}}
    for parameter, value in zip(PARAMETERS, np.clip(manner, LOW, HIGH) * UNITS, strict=True):
        if parameter.direction:
            values[parameter.field][parameter.direction] = float(value)
        else:
            values[parameter.field] = math.exp(value) if parameter.factor else float(value)
    return Prosody(**values)


def directions() -> dict[str, np.ndarray]:
    """Name → float32 [256]: from the average English voice to a donor, or along a principal component of all voices."""
    tables = {name: kokoro.style_table(name)[ROWS].mean(0) for name in kokoro.VOICES}
    average = np.mean([table for name, table in tables.items() if name[0] in "ab"], 0)
    found = {name: tables[name] - average for names in DONORS.values() for name in names}
    halves = {"style": slice(TIMBRE, None), "timbre": slice(0, TIMBRE)}
    for half, count in COMPONENTS.items():
        voices = np.stack([table[halves[half]] for table in tables.values()]).astype(np.float64)
        is_male = np.array([name[1] == "m" for name in tables])
        for number, component in enumerate(_components(voices, is_male, count), start=1):
            found[f"{half}_{number}"] = np.zeros(kokoro.STYLE, np.float32)
            found[f"{half}_{number}"][halves[half]] = component
    return {name: value.astype(np.float32) for name, value in found.items()}


def _components(voices: np.ndarray, is_male: np.ndarray, count: int) -> np.ndarray:
    """Styles [voices, D] → principal components of one standard deviation [count, D], none of which is gender."""
    centered = voices - voices.mean(0)
    gender = centered[is_male].mean(0) - centered[~is_male].mean(0)
    gender /= np.linalg.norm(gender)
    centered -= np.outer(centered @ gender, gender)
    _, spread, axes = np.linalg.svd(centered, full_matrices=False)
    return axes[:count] * spread[:count, None] / math.sqrt(len(centered))
