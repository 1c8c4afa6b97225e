"""The protocol of a recognizer, and what all implementations share: corrections, the order of the steps, timings."""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

from emotion_omni import audio, emotion
from emotion_omni.recognition.speech_detector import SecondLook
from emotion_omni.recognition.utterance import Utterance, prepare_utterance
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.types import Audio, Emotion, EmotionOmniError, Heard, SpeakerEstimate, Turn

Trajectory = tuple[tuple[float, Emotion], ...]  # (seconds from the start of the recording, emotion), rising


@runtime_checkable
class Recognizer(Protocol):
    """What was said and how. A transcript or an emotion that the turn corrects is taken as it is.

    Speech without words that can be made out gives an empty transcript. Raises :class:`EmotionOmniError` (codes of
    :func:`emotion_omni.audio.check`, ``silent``, ``no-speech``, ``empty``, ``unknown-emotion``) for a turn that cannot
    be answered.
    """

    def recognize(self, turn: Turn) -> Heard: ...


class Classified(NamedTuple):
    """How something was said. ``speaker``: the estimate for the next turn; ``None`` without support for it."""

    emotion: Emotion
    trajectory: Trajectory
    speaker: SpeakerEstimate | None = None


class SpeechRecognizer(abc.ABC):
    """Base class: subclasses encode an utterance, then read words and emotion from the result."""

    voice_activity: VoiceActivity
    second_look: SecondLook

    def recognize(self, turn: Turn) -> Heard:
        transcript, label = corrections(turn)
        if turn.audio is None or (transcript is not None and label is not None):
            assert transcript is not None and label is not None  # Turn refuses less
            return Heard(transcript, emotion.one_hot(label), speaker=turn.speaker)
        timings: dict[str, float] = {}
        with timed(timings, "voice_activity"):
            utterance = self.prepare(audio.check(turn.audio.samples, turn.audio.hz))
        with timed(timings, "encode"):
            encoded = self.encode(utterance)
        self.check_speech(encoded)
        if transcript is None:
            with timed(timings, "words"):
                transcript = self.transcribe(encoded)
        with timed(timings, "tone"):
            found = self.classify(encoded, turn.speaker)
        if label is not None:
            return Heard(transcript, emotion.one_hot(label), (), timings, found.speaker)
        turning_point = emotion.turning_point(found.trajectory, self.pauses(encoded)) if found.trajectory else None
        return Heard(transcript, found.emotion, found.trajectory, timings, found.speaker, turning_point)

    def prepare(self, query: Audio) -> Utterance:
        """See :func:`prepare_utterance`."""
        return prepare_utterance(query, self.voice_activity, self.second_look)

    def encode(self, utterance: Utterance) -> Any:
        """What :meth:`transcribe` and :meth:`classify` both read."""
        return utterance

    def check_speech(self, encoded: Any) -> None:  # noqa: B027 (empty on purpose: not every recognizer can tell)
        """Refuse what turns out not to be speech. Raises :class:`EmotionOmniError` (code ``no-speech``)."""

    def pauses(self, encoded: Any) -> list[float]:
        """The middles of the pauses in the speech, in seconds of the recording."""
        return encoded.pauses() if isinstance(encoded, Utterance) else []

    @abc.abstractmethod
    def transcribe(self, encoded: Any) -> str:
        """The words; empty where none can be made out, see :func:`with_words`."""

    @abc.abstractmethod
    def classify(self, encoded: Any, speaker: SpeakerEstimate | None = None) -> Classified:
        """The emotion of the whole utterance and over time, and what it adds to the estimate of the speaker."""


def corrections(turn: Turn) -> tuple[str | None, str | None]:
    """The transcript and the emotion label that a person has given, if any.

    Raises :class:`EmotionOmniError` (codes ``empty``, ``unknown-emotion``).
    """
    transcript = turn.transcript.strip() if turn.transcript is not None else None
    if transcript == "":
        raise EmotionOmniError("The corrected words are empty. Write what was said, or leave them as heard.", "empty")
    return transcript, emotion.find(turn.emotion).name if turn.emotion is not None else None


def with_words(transcript: str) -> str:
    """The transcript; empty where it holds no letter or digit."""
    return transcript if any(letter.isalnum() for letter in transcript) else ""


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the seconds that the block takes, under the name of its stage."""
    started = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - started
