"""What an emotion does to pitch, energy and pace in Kokoro: one row a label. Pure Python.

A Kokoro style vector is timbre (first half) and prosody (second half). An emotion moves the prosody half towards that
of another voice and scales pace and level; the timbre stays.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prosody:
    """``share``: how far the prosody moves towards ``style_voice``, 0 to 1. ``pace``: factor. ``decibels``: level."""

    style_voice: str
    share: float
    pace: float
    decibels: float

    def scaled(self, intensity: float, rate: float) -> Prosody:
        """``intensity`` 0 is neutral and 1 the row itself, to the last bit; ``rate`` multiplies the pace."""
        pace = (1 + (self.pace - 1) * intensity) * rate
        return Prosody(self.style_voice, self.share * intensity, pace, self.decibels * intensity)


BY_EMOTION: dict[str, Prosody] = {
    "neutral": Prosody("af_heart", 0.0, 1.0, 0.0),
    "happy": Prosody("af_jessica", 0.6, 1.08, 1.0),
    "sad": Prosody("af_nicole", 0.6, 0.86, -3.0),
    "angry": Prosody("af_bella", 0.7, 1.10, 2.5),
    "fearful": Prosody("af_jessica", 0.4, 1.16, -1.5),
    "disgusted": Prosody("af_bella", 0.5, 0.92, 0.0),
    "surprised": Prosody("af_jessica", 0.8, 1.02, 1.5),
    "calm": Prosody("af_nicole", 0.4, 0.93, -1.5),
}
