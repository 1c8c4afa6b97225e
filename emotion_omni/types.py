"""The shared data types: audio, emotion, a turn of conversation, and the events that an engine yields.

Depends on numpy alone. Times are seconds, rates are hertz, samples are mono float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


class EmotionOmniError(Exception):
    """The one error meant for users: says what was found, what is allowed and what to do next.

    ``code`` names the cause in one stable word, for programs.
    """

    def __init__(self, message: str, code: str = "error") -> None:
        super().__init__(message)
        self.code = code


NO_WORDS = "(no words made out)"  # what people read where a transcript is empty
SURE = 0.4  # probability of one of the eight labels from which it may be relied on; such guesses are mostly right


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound. ``samples``: float32 [N], finite, in [-1, 1]. ``hz``: samples a second."""

    samples: np.ndarray
    hz: int

    def __post_init__(self) -> None:
        samples = self.samples
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ValueError(f"Audio is mono float32 [N], not {samples.dtype} {list(samples.shape)}.")
        if self.hz <= 0:
            raise ValueError(f"A sample rate is a positive number of hertz, not {self.hz}.")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.hz


@dataclass(frozen=True)
class Emotion:
    """A belief about an emotion: how likely each label is, and where it lies on two scales.

    ``probabilities`` sum to 1 over the labels of :mod:`emotion_omni.emotion`. ``valence`` runs from
    -1 (unpleasant) to 1 (pleasant), ``arousal`` from -1 (drowsy) to 1 (excited): Russell 1980.
    """

    probabilities: Mapping[str, float]
    valence: float
    arousal: float

    @property
    def label(self) -> str:
        """The likeliest label."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of :attr:`label`."""
        return self.probabilities[self.label]

    @property
    def is_sure(self) -> bool:
        """Whether :attr:`label` may be relied on; else it is one of :attr:`candidates`."""
        return self.confidence >= SURE

    @property
    def candidates(self) -> tuple[str, str]:
        """The two likeliest labels, the likelier first: what it may be where it is not sure."""
        first, second, *_ = sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)
        return first, second


@dataclass(frozen=True, eq=False)
class SpeakerEstimate:
    """What a recognizer knows of a person's voice from earlier turns of one conversation.

    ``turns``: how many it has heard. ``total``: float32 [D], the sum of their features in the recognizer's own space,
    which ``space`` names; an estimate in another space counts as none. Kept in memory only, never stored.
    """

    turns: int
    total: np.ndarray
    space: str


@dataclass(frozen=True)
class Exchange:
    """An earlier turn of the conversation: what the person said and how, and what was answered."""

    transcript: str
    heard: str  # an emotion label
    reply: str
    reply_emotion: str = "neutral"


@dataclass(frozen=True)
class Delivery:
    """How a text is spoken. ``emotion``: a label; ``intensity``: 0 flat, 1 as designed; ``voice``: empty for the
    synthesizer's own choice; ``rate``: factor of the speaking rate."""

    emotion: str
    intensity: float = 1.0
    voice: str = ""
    rate: float = 1.0


@dataclass(frozen=True)
class VoiceSettings:
    """What a listener chooses of the voice that replies, as in :class:`Delivery`; the emotion is the planner's."""

    name: str = ""
    intensity: float = 1.0
    rate: float = 1.0

    def delivery(self, emotion: str) -> Delivery:
        return Delivery(emotion, self.intensity, self.name, self.rate)


@dataclass(frozen=True)
class Turn:
    """One query. ``transcript`` and ``emotion`` are corrections: given, they replace what is heard.

    With both given, ``audio`` may be ``None``. ``speak=False`` asks for words only. ``speaker``: the estimate that
    recognition of the person's last turn handed out; ``None`` for somebody new. ``voice``: the voice to reply in.
    """

    audio: Audio | None
    earlier: tuple[Exchange, ...] = ()
    transcript: str | None = None
    emotion: str | None = None
    speak: bool = True
    speaker: SpeakerEstimate | None = None
    voice: VoiceSettings = VoiceSettings()

    def __post_init__(self) -> None:
        if self.audio is None and (self.transcript is None or self.emotion is None):
            raise ValueError("A turn without audio needs both a transcript and an emotion.")

    @property
    def history(self) -> tuple[Exchange, ...]:
        """The earlier turns that a reply may refer to: those whose words could be made out."""
        return tuple(exchange for exchange in self.earlier if exchange.transcript)


@dataclass(frozen=True)
class Heard:
    """What was said and how. ``transcript``: empty where no words could be made out.

    ``trajectory``: (seconds from the start of the query, emotion), rising. ``turning_point``: when it changes, in
    seconds, if it does. ``speaker``: the estimate of the person's
    voice, this turn included, for :attr:`Turn.speaker` of the next one. ``timings``: seconds spent by stage of
    recognition. Two results are equal whatever the estimates and the timings are.
    """

    transcript: str
    emotion: Emotion
    trajectory: tuple[tuple[float, Emotion], ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)
    speaker: SpeakerEstimate | None = field(default=None, compare=False)
    turning_point: float | None = None


@dataclass(frozen=True)
class Plan:
    """``emotion``: the label that the reply is spoken with.

    ``news``: what the words report, ``good``, ``bad`` or ``neutral``. ``tone``: the heard emotion that the answer
    may rely on, ``neutral`` where recognition was unsure. ``unsure_between``: the two likeliest emotions where it was
    unsure, else empty. ``conflict``: words and tone disagree ("I'm fine", sadly).
    """

    emotion: str
    news: str = "neutral"
    tone: str = "neutral"
    unsure_between: tuple[str, ...] = ()
    conflict: bool = False


@dataclass(frozen=True)
class Text:
    """A piece of the reply's words; the pieces join without anything between them."""

    piece: str


@dataclass(frozen=True, eq=False)
class Speech:
    """A piece of the reply's sound; the pieces join without a gap."""

    audio: Audio


@dataclass(frozen=True)
class Done:
    """The end. ``timings``: seconds since the turn began, by stage, in the order they were reached."""

    timings: Mapping[str, float] = field(default_factory=dict)


Event = Heard | Plan | Text | Speech | Done
