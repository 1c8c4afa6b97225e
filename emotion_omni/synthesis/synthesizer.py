"""The protocol of a synthesizer, and what all implementations share: checking the delivery, cutting text into clauses.

Knows no weights. Implementations: :mod:`~emotion_omni.synthesis.kokoro`, :mod:`~emotion_omni.synthesis.cosyvoice2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from emotion_omni import emotion
from emotion_omni.strict import nearest
from emotion_omni.types import Audio, Delivery, EmotionOmniError

MAX_CLAUSE = 160  # characters; a longer clause is cut at a comma, so that the first sound does not wait for it
MIN_CLAUSE = 20  # characters; no cut comes before them
SHOWN_VOICES = 6  # in the error for an unknown one
INTENSITIES = (0.0, 2.0)  # lowest and highest
RATES = (0.5, 2.0)
_SENTENCE = re.compile(r"(?:[^.!?;]|[.!?;](?=[^\s.!?;]))+[.!?;]*\s*|[.!?;]+\s*")  # marks within "3.14" end nothing


@runtime_checkable
class Synthesizer(Protocol):
    """Text → speech at ``hz``, piece by piece; the same arguments give the same bytes.

    It keeps nothing between calls: closing the iterator stops the work and frees its state. Text without anything to
    pronounce yields nothing. ``voices``: those that a delivery may name. Raises :class:`EmotionOmniError` as
    :func:`check_delivery` does.
    """

    hz: int
    voices: tuple[str, ...]

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]: ...


def check_delivery(delivery: Delivery, voices: Sequence[str] = ()) -> Delivery:
    """The delivery with the emotion's name in our table. ``voices``: those that can be chosen beside the default, "".

    Raises :class:`EmotionOmniError` (codes ``unknown-emotion``, ``unknown-voice``, ``delivery``).
    """
    if delivery.voice and delivery.voice not in voices:
        raise EmotionOmniError(
            f"Unknown voice {delivery.voice[:40]!r}. {_some(voices)}{nearest(delivery.voice, voices)}", "unknown-voice"
        )
    _check_range("intensity", delivery.intensity, INTENSITIES)
    _check_range("rate", delivery.rate, RATES)
    return replace(delivery, emotion=emotion.find(delivery.emotion).name)


def _some(voices: Sequence[str]) -> str:
    """What may be said instead: a few of many, since nobody reads a list of fifty."""
    if not voices:
        return "Only the default can be chosen here: leave it empty."
    shown = ", ".join(voices[:SHOWN_VOICES])
    return f"Allowed here: {shown}." if len(voices) <= SHOWN_VOICES else f"There are {len(voices)}, such as {shown}."


def _check_range(name: str, value: float, allowed: tuple[float, float]) -> None:
    low, high = allowed
    if not low <= value <= high:  # also where it is NaN
        raise EmotionOmniError(f"The {name} of a delivery is {value}; it must be from {low} to {high}.", "delivery")


def split_clauses(text: str) -> list[str]:
    """Sentences, the long ones cut at commas or else at spaces. Joined they are the text, except for blank ones."""
    clauses = []
    for sentence in _SENTENCE.findall(text):
        while len(sentence) > MAX_CLAUSE:
            cut = _cut(sentence)
            clauses.append(sentence[:cut])
            sentence = sentence[cut:]
        clauses.append(sentence)
    return [clause for clause in clauses if clause.strip()]


def _cut(sentence: str) -> int:
    """Where to end the first clause of a sentence that is too long."""
    for mark in (",", " "):
        if (position := sentence.rfind(mark, MIN_CLAUSE, MAX_CLAUSE)) >= 0:
            return position + 1
    return MAX_CLAUSE
