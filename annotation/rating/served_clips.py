"""The clips of an assignment as its rater gets them: looked up without asking the store, and unlike any other copy.

The same recording goes to several raters, and to one rater twice as a hidden repeat; many are known to the world. A
table of hashes or samples must not tell one from another, so each assignment gets a copy of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile

from annotation.study.clips import flac_pcm
from emotion_omni.types import EmotionOmniError

MOST_ASSIGNMENTS = 5000
GAIN_DB = 0.05  # at most, up or down: a listener notices about 1 dB
LARGEST, SMALLEST = 32767, -32768


class ServedClips:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._sounds: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()  # assignment → its rater, its sounds

    def add(self, assignment: Mapping[str, Any], clips: Sequence[Mapping[str, Any]]) -> None:
        """``clips`` in the order of the page."""
        self._sounds[assignment["id"]] = (assignment["rater"], [clip["played"] for clip in clips])
        while len(self._sounds) > MOST_ASSIGNMENTS:
            self._sounds.popitem(last=False)

    def get(self, rater: str, assignment: str, number: int) -> str | None:
        """The SHA-256 of a clip's sound; None if the assignment is not in memory; refused if it is another rater's."""
        found = self._sounds.get(assignment)  # one look: another thread may remove it at any moment
        if found is None:
            return None
        owner, sounds = found
        if owner != rater or not 0 <= number < len(sounds):
            raise EmotionOmniError("This clip was not handed to you. Ask for the next item.", "not-yours")
        return sounds[number]

    def copy(self, data: bytes, assignment: str, number: int) -> bytes:
        """The copy of a FLAC file for one assignment; the same each time it is asked for."""
        seed = hmac.new(self._secret, f"copy:{assignment}:{number}".encode(), hashlib.sha256).digest()
        return altered(data, seed)

    def forget(self, rater: str) -> None:
        """A rater who withdrew is served nothing from memory."""
        for assignment in [name for name, (owner, _) in list(self._sounds.items()) if owner == rater]:
            self._sounds.pop(assignment, None)


def altered(data: bytes, seed: bytes) -> bytes:
    """A FLAC file with a gain of up to ±0.05 dB and noise of one step of its 16 bits: none of it can be heard."""
    samples, hz = soundfile.read(io.BytesIO(data), dtype="int16")
    generator = np.random.default_rng(int.from_bytes(seed))
    gain = 10 ** (generator.uniform(-GAIN_DB, GAIN_DB) / 20)
    noise = generator.integers(-1, 2, samples.shape)
    changed = np.rint(samples * gain).astype(np.int32) + noise
    return flac_pcm(np.clip(changed, SMALLEST, LARGEST).astype(np.int16), hz)
