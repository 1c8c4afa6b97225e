"""The recognizers that can be evaluated, in one form: features of a clip first, then the emotion for a speaker.

Features are kept on disk, so that many orders of turns cost one pass over the recordings.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from emotion_omni import audio, emotion, engine, weights
from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.cascade.parts import load_recognizer
from emotion_omni.cascade.resolve import resolve
from emotion_omni.evaluate import functionals_recognizer, functionals_training
from emotion_omni.evaluate.clip_features import Extracted, hash_of_code
from emotion_omni.evaluate.functionals_recognizer import FunctionalsRecognizer
from emotion_omni.loading import find_device
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.recognizer import Recognizer
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead
from emotion_omni.recognition.utterance import Utterance
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, spoken_frames
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.types import Emotion, EmotionOmniError, SpeakerEstimate, Turn

TONE_CLIP_SECONDS, TONE_RUNS = 4.0, 20
SMALLEST = 1e-8  # probability


class EvaluatedRecognizer(Protocol):
    """``identity``: of weights and code. Two runs with the same ``features_identity`` extract the same features.

    ``why_no_speaker``: why earlier turns are not tried; empty where they are.
    """

    name: str
    identity: str
    features_identity: str
    why_no_speaker: str

    @property
    def training_log(self) -> Path | None: ...

    def extract(self, clip: Path) -> Extracted: ...

    def classify(
        self, features: np.ndarray, speaker: SpeakerEstimate | None
    ) -> tuple[Emotion, SpeakerEstimate | None]: ...

    def tone_milliseconds(self) -> float | None: ...


def load(name: str) -> EvaluatedRecognizer:
    """``functionals``, or the recognizer of an engine: ``embedded``, ``embedded:FOLDER``, ``hub``, ``cascade:FILE``.

    Raises :class:`EmotionOmniError` (codes ``unknown-engine``, ``config`` and those of the recognizer).
    """
    if name == "functionals":
        return SecondRecognizer(FunctionalsRecognizer.load())
    parsed = engine.parse(name)
    config = _cascade(parsed)
    config.check_packages()
    found = load_recognizer(config.recognizer, find_device(config.device if config.uses_device else "cpu"))
    return of_part(parsed.public, found, config)  # a report names no folder


def of_part(name: str, found: Recognizer, config: CascadeConfig) -> EvaluatedRecognizer:
    """The recognizer of a cascade, which has been loaded by these settings."""
    head = Path(getattr(config.recognizer, "weights", "") or speech_emotion.SHIPPED)
    code = sorted(Path(speech_emotion.__file__).parent.glob("*.py"))
    code_hash = hash_of_code(*code, Path(audio.__file__))
    identity = f"{name} {config.recognizer.to_json()} {weights.sha256(head)} {code_hash}"
    if isinstance(found, WhisperCT2Recognizer) and isinstance(found.emotion_head, SpeechEmotionHead):
        return EmbeddedRecognizer(name, found, identity, head.with_suffix(".log.json"))
    return AnyRecognizer(name, found, identity, head.with_suffix(".log.json"))


def _cascade(parsed: engine.EngineName) -> CascadeConfig:
    if parsed.kind in ("embedded", "embedded-small", "hub", "cascade"):
        return resolve(parsed.kind, parsed.source)[1]
    raise EmotionOmniError(
        f"{str(parsed)!r} has no recognizer of its own. Choose functionals, embedded, embedded:FOLDER, hub, hub:light "
        "or cascade:FILE.",
        "unknown-engine",
    )


def _refusing(extract: Callable[[Path], Extracted], clip: Path) -> Extracted:
    try:
        return extract(clip)
    except EmotionOmniError as error:
        return Extracted(None, refused=error.code)


class EmbeddedRecognizer:
    """Whisper base with our head: the features are the head's own."""

    why_no_speaker = ""

    def __init__(self, name: str, recognizer: WhisperCT2Recognizer, identity: str, training_log: Path) -> None:
        self.name, self.training_log, self._recognizer = name, training_log, recognizer
        self.identity = self.features_identity = identity
        self._head: Any = recognizer.emotion_head

    def extract(self, clip: Path) -> Extracted:
        return _refusing(self._extract, clip)

    def _extract(self, clip: Path) -> Extracted:
        encoded = self._recognizer.encode(self._recognizer.prepare(audio.decode(clip)))
        words = len(self._recognizer.transcribe(encoded).split())
        features = self._head.features(*spoken_frames(encoded.windows, encoded.utterance))
        return Extracted(features.numpy(), words)

    def classify(self, features: np.ndarray, speaker: SpeakerEstimate | None) -> tuple[Emotion, SpeakerEstimate | None]:
        return self._head.classify(torch.from_numpy(features), speaker)

    def tone_milliseconds(self) -> float:
        """Of a 4 s clip after the encoder, on one thread: the median of several runs, in time of the processor."""
        return tone_milliseconds(self._recognizer)


class SecondRecognizer:
    """Acoustic functionals; no words. They are kept as they are, so other weights read the same ones."""

    name, why_no_speaker = "functionals", ""
    training_log = functionals_recognizer.SHIPPED.with_suffix(".log.json")

    def __init__(self, recognizer: FunctionalsRecognizer) -> None:
        self._recognizer, self.features_identity = recognizer, functionals_training.features_identity()
        code = hash_of_code(Path(functionals_recognizer.__file__))
        self.identity = f"{self.features_identity} {code} {weights.sha256(functionals_recognizer.SHIPPED)}"

    def extract(self, clip: Path) -> Extracted:
        return _refusing(functionals_training.extract, clip)

    def classify(self, features: np.ndarray, speaker: SpeakerEstimate | None) -> tuple[Emotion, SpeakerEstimate | None]:
        return self._recognizer.classify(self._recognizer.standardize(features), speaker)

    def tone_milliseconds(self) -> None:
        """It has no pass to share."""


class AnyRecognizer:
    """Whatever fulfils the protocol; its log probabilities stand for features."""

    why_no_speaker = "this recognizer's features cannot be kept, so earlier turns would need every recording again"

    def __init__(self, name: str, recognizer: Recognizer, identity: str, training_log: Path) -> None:
        self.name, self.training_log, self._recognizer = name, training_log, recognizer
        self.identity = self.features_identity = identity

    def extract(self, clip: Path) -> Extracted:
        return _refusing(self._extract, clip)

    def _extract(self, clip: Path) -> Extracted:
        heard = self._recognizer.recognize(Turn(audio.decode(clip)))
        probabilities = np.array([heard.emotion.probabilities[label] for label in emotion.NAMES], np.float32)
        return Extracted(np.log(np.maximum(probabilities, SMALLEST)), len(heard.transcript.split()))

    def classify(self, features: np.ndarray, speaker: SpeakerEstimate | None) -> tuple[Emotion, None]:
        return emotion.mixture(dict(zip(emotion.NAMES, np.exp(features).tolist(), strict=True))), None

    def tone_milliseconds(self) -> float | None:
        return tone_milliseconds(self._recognizer) if isinstance(self._recognizer, WhisperCT2Recognizer) else None


def tone_milliseconds(recognizer: WhisperCT2Recognizer) -> float:
    """Of a 4 s clip after the encoder, on one thread: the median of several runs, in time of the processor."""
    noise = np.random.default_rng(0).normal(0, 0.07, int(TONE_CLIP_SECONDS * HZ)).astype(np.float32)
    encoded, threads = recognizer.encode(Utterance.of(noise)), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _median_milliseconds(lambda: recognizer.classify(encoded))
    finally:
        torch.set_num_threads(threads)


def _median_milliseconds(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TONE_RUNS):
        started = time.process_time()  # what else the machine does must not count
        run()
        seconds.append(time.process_time() - started)
    return round(1000 * statistics.median(seconds), 1)
