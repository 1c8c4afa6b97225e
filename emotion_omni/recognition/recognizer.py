"""The protocol of a recognizer, and what all implementations share: corrections, preparing the utterance, timings.

A recording comes in at any rate and level and is prepared as 16 kHz speech at one level, without the silence around
it, so that neither loudness nor a pause before speaking looks like an emotion.

Axes: N samples at 16 kHz.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from emotion_omni import audio, emotion
from emotion_omni.recognition.voice_activity import HZ, VoiceActivity
from emotion_omni.types import Audio, Emotion, EmotionOmniError, Heard, Turn

VAD_PEAK = 0.5  # peak level that voice activity detection gets, however quiet the recording

Trajectory = tuple[tuple[float, Emotion], ...]  # (seconds from the start of the recording, emotion), rising


@runtime_checkable
class Recognizer(Protocol):
    """What was said and how. A transcript or an emotion that the turn corrects is taken as it is.

    Raises :class:`EmotionOmniError` (codes of :func:`emotion_omni.audio.check`, ``silent``, ``no-speech``,
    ``no-words``, ``empty``, ``unknown-emotion``) for a turn that cannot be answered.
    """

    def recognize(self, turn: Turn) -> Heard: ...


@dataclass(frozen=True, eq=False)
class Utterance:
    """Speech ready for an encoder: float32 [N] at 16 kHz, and where it began in the recording."""

    samples: np.ndarray
    start_seconds: float

    @property
    def seconds(self) -> float:
        return len(self.samples) / HZ


class SpeechRecognizer(abc.ABC):
    """Base class: subclasses encode an utterance, then read words and emotion from the result."""

    voice_activity: VoiceActivity

    def recognize(self, turn: Turn) -> Heard:
        transcript, label = corrections(turn)
        if turn.audio is None or (transcript is not None and label is not None):
            assert transcript is not None and label is not None  # Turn refuses less
            return Heard(transcript, emotion.one_hot(label))
        timings: dict[str, float] = {}
        with timed(timings, "voice_activity"):
            utterance = self.prepare(audio.check(turn.audio.samples, turn.audio.hz))
        with timed(timings, "encode"):
            encoded = self.encode(utterance)
        if transcript is None:
            with timed(timings, "words"):
                transcript = self.transcribe(encoded)
        if label is not None:
            return Heard(transcript, emotion.one_hot(label), (), timings)
        with timed(timings, "tone"):
            heard_emotion, trajectory = self.classify(encoded)
        return Heard(transcript, heard_emotion, trajectory, timings)

    def prepare(self, query: Audio) -> Utterance:
        """See :func:`prepare_utterance`."""
        return prepare_utterance(query, self.voice_activity)

    def encode(self, utterance: Utterance) -> Any:
        """What :meth:`transcribe` and :meth:`classify` both read."""
        return utterance

    @abc.abstractmethod
    def transcribe(self, encoded: Any) -> str:
        """The words. Raises :class:`EmotionOmniError` (code ``no-words``); see :func:`require_words`."""

    @abc.abstractmethod
    def classify(self, encoded: Any) -> tuple[Emotion, Trajectory]:
        """The emotion of the whole utterance, and over time."""


def corrections(turn: Turn) -> tuple[str | None, str | None]:
    """The transcript and the emotion label that a person has given, if any.

    Raises :class:`EmotionOmniError` (codes ``empty``, ``unknown-emotion``).
    """
    transcript = turn.transcript.strip() if turn.transcript is not None else None
    if transcript == "":
        raise EmotionOmniError("The corrected words are empty. Write what was said, or leave them as heard.", "empty")
    return transcript, emotion.find(turn.emotion).name if turn.emotion is not None else None


def prepare_utterance(query: Audio, voice_activity: VoiceActivity) -> Utterance:
    """Resample, find the speech, cut the silence around it, set the level of the speech.

    Raises :class:`EmotionOmniError` (codes ``silent``, ``no-speech``).
    """
    samples = audio.resample(query, HZ).samples
    samples = samples - samples.mean()
    level = audio.dbfs(samples)
    if level < audio.QUIETEST_DBFS:
        raise EmotionOmniError(
            f"The recording is silent ({level:.0f} dBFS). Check the microphone, then record again.", "silent"
        )
    spans = voice_activity.spans(samples * np.float32(VAD_PEAK / np.abs(samples).max()))
    if not spans:
        raise EmotionOmniError(
            "No speech was found in the recording. Speak a little closer to the microphone and try again.",
            "no-speech",
        )
    start, end = spans[0][0], spans[-1][1]
    speech = np.concatenate([samples[first:last] for first, last in spans])
    return Utterance(audio.set_level(samples[start:end], of=speech), start / HZ)


def require_words(transcript: str) -> str:
    """The transcript. Raises :class:`EmotionOmniError` (code ``no-words``) where it holds no letter or digit."""
    if not any(letter.isalnum() for letter in transcript):
        raise EmotionOmniError(
            "There is a voice, but no words could be made out. Say it again, a little slower or closer.", "no-words"
        )
    return transcript


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the seconds that the block takes, under the name of its stage."""
    started = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - started
