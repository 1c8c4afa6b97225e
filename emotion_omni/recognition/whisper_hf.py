"""A recording → what was said and how: a large Whisper for the words, an emotion recogniser for the tone.

The recording is prepared exactly as the embedded engine prepares it (:func:`emotion_omni.recognition.whisper_ct2.prepared`),
so that both hear the same sound. Recognisers know other labels than we do: those that
:func:`emotion_omni.emotion.find` knows are ours, and the rest ("other", "unknown") counts as neutral,
for a tone without a name here is answered as no tone. Dropping it would make the remainder look sure.

Axes: N samples at 16 kHz, B windows, K labels of a recogniser, V vocabulary.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import transformers

from emotion_omni import emotion, processors, weights
from emotion_omni.cascade.presets import RecogniserConfig, TranscriberConfig
from emotion_omni.hub_sampling import draw
from emotion_omni.loading import explained, load, load_features, load_tokenizer
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.emotion2vec import Emotion2vec
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.recognition.whisper_ct2 import INVENTED, Ear, Utterance, prepared
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.types import Audio, Emotion, EmotionOmniError, Heard

log = logging.getLogger(__name__)

Trajectory = tuple[tuple[float, Emotion], ...]

TOKENS_A_SECOND = 9  # faster than anyone speaks, in any language; a decoder that loops is cut here
LONGEST_SECONDS = 30.0  # of one pass of a recogniser; attention costs the square of it
WINDOW_SECONDS, HOP_SECONDS = 2.0, 1.0  # of the trajectory
MOST_WINDOWS = 48  # of one trajectory; a long recording is looked at less often
BATCH = 16  # windows at once


class Recogniser(Protocol):
    """How it was said: the tone of the whole and over time, in seconds from the start of the recording."""

    def feel(self, utterance: Utterance) -> tuple[Emotion, Trajectory]: ...


@dataclass
class HubEar:
    """The parts of hearing."""

    voice_activity: VoiceActivity
    transcriber: Transcriber
    recogniser: Recogniser

    @classmethod
    def load(cls, transcriber: TranscriberConfig, recogniser: RecogniserConfig, device: torch.device) -> HubEar:
        voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        return cls(voice_activity, Transcriber.load(transcriber, device), load_recogniser(recogniser, device))

    def hear(
        self, query: Audio, transcript: str | None = None, tone: str | None = None
    ) -> tuple[Heard, dict[str, float]]:
        """→ what was heard, and seconds by stage. A given transcript or tone is taken as it is.

        Raises :class:`EmotionOmniError` (codes ``silent``, ``no-speech``, ``no-words``).
        """
        marks = [time.perf_counter()]
        utterance = prepared(query, self.voice_activity)
        marks.append(time.perf_counter())
        words = self.transcriber.words(utterance.samples) if transcript is None else transcript
        marks.append(time.perf_counter())
        belief, trajectory = self.recogniser.feel(utterance) if tone is None else (emotion.certain(tone), ())
        marks.append(time.perf_counter())
        stages = ("voice_activity", "words", "tone")
        return Heard(words, belief, trajectory), {stage: marks[i + 1] - marks[i] for i, stage in enumerate(stages)}


class Transcriber:
    """Whisper by greedy decoding. Keeps nothing between calls."""

    def __init__(self, model: Any, features: Any, tokenizer: Any, language: str = "en") -> None:
        self.model, self.features, self.tokenizer = model, features, tokenizer
        vocabulary = tokenizer.get_vocab()
        settings = model.generation_config
        self.end = vocabulary["<|endoftext|>"]  # every token after it is a language, a task or a time, no word
        self.silence = vocabulary.get("<|nospeech|>", vocabulary.get("<|nocaptions|>"))
        many = getattr(settings, "is_multilingual", True)
        wanted = ["<|startoftranscript|>", *([f"<|{language}|>", "<|transcribe|>"] if many else []), "<|notimestamps|>"]
        if unknown := [token for token in wanted if token not in vocabulary]:
            raise EmotionOmniError(
                f"The transcriber does not know {', '.join(unknown)}. transcriber.language is {language!r}; it must be the code of a "
                "language of this Whisper, as en.",
                "config",
            )
        self.prompt = [vocabulary[token] for token in wanted]
        device = model.device
        self.barred = torch.zeros(model.config.vocab_size, device=device)  # [V], added to the scores
        self.barred[self.end + 1 :] = -torch.inf
        self.barred[list(settings.suppress_tokens or ())] = -torch.inf
        self.barred_first = self.barred.clone()
        self.barred_first[list(settings.begin_suppress_tokens or ())] = -torch.inf

    @classmethod
    def load(cls, config: TranscriberConfig, device: torch.device) -> Transcriber:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``config``, ``memory``)."""
        model = load(transformers.WhisperForConditionalGeneration, config.name, config.revision, config.dtype, device)
        tokenizer = load_tokenizer(config.name, config.revision)
        return cls(model, load_features(config.name, config.revision), tokenizer, config.language)

    def words(self, samples: np.ndarray) -> str:
        """float32 [N] → the transcript, window by window. Raises :class:`EmotionOmniError` (code ``no-words``)."""
        size = int(self.features.chunk_length * HZ)
        transcript = " ".join(
            filter(None, (self._window(samples[at : at + size]) for at in range(0, len(samples), size)))
        )
        if not any(letter.isalnum() for letter in transcript):
            raise EmotionOmniError(
                "There is a voice, but no words could be made out. Say it again, a little slower or closer.", "no-words"
            )
        return transcript

    @torch.inference_mode()
    def _window(self, samples: np.ndarray) -> str:
        given = self.features(samples, sampling_rate=HZ, return_tensors="pt").input_features
        encoded = self.model.get_encoder()(given.to(self.model.device, self.model.dtype))
        room = self.model.config.max_target_positions - len(self.prompt)
        longest = min(8 + int(TOKENS_A_SECOND * len(samples) / HZ), room)
        said: list[int] = []
        cache, step = None, self.prompt
        while len(said) < longest:
            given = torch.tensor([step], device=self.model.device)
            out = self.model(encoder_outputs=encoded, decoder_input_ids=given, cache=cache, use_cache=True)
            if cache is None and self._imagined(out.logits[0, 0]):
                return ""
            cache = out.cache
            token = draw(out.logits[0, -1].float() + (self.barred if said else self.barred_first), temperature=0)
            if token == self.end:
                break
            said.append(token)
            step = [token]
        return self.tokenizer.decode(said, skip_special_tokens=True).strip()

    def _imagined(self, logits: torch.Tensor) -> bool:
        """Whether the model itself holds that nobody speaks, by its scores [V] at the start of the transcript."""
        return self.silence is not None and float(logits.float().softmax(0)[self.silence]) >= INVENTED


class Classifier:
    """Any classifier of sound with labels of its own. ``classify``: B windows of one length → probabilities [B, K]."""

    def __init__(self, name: str, classify: Callable[[list[np.ndarray]], np.ndarray], labels: Sequence[str]) -> None:
        plain = [label.rpartition("/")[2] for label in labels]  # emotion2vec says 生气/angry
        known = {emotion.find(label).name for label in plain if emotion.is_known(label)}
        if len(known) < 2:
            raise EmotionOmniError(
                f"The labels of {name!r} are {', '.join(labels)}; none or one of them is an emotion known here. Choose a recogniser with "
                f"labels such as: {', '.join(emotion.NAMES)}.",
                "config",
            )
        self._classify = classify
        self._ours = [emotion.find(label).name if emotion.is_known(label) else "neutral" for label in plain]

    def feel(self, utterance: Utterance) -> tuple[Emotion, Trajectory]:
        """A long utterance is read in even parts of at most 30 s, whose beliefs are averaged."""
        samples = utterance.samples
        parts = np.array_split(samples, math.ceil(len(samples) / (LONGEST_SECONDS * HZ)))
        whole = self._belief(np.mean([self._classify([part])[0] for part in parts], axis=0))
        size = int(WINDOW_SECONDS * HZ)
        if len(samples) <= size:
            return whole, ((utterance.start_seconds + len(samples) / HZ / 2, whole),)
        count = min(MOST_WINDOWS, int((len(samples) - size) / (HOP_SECONDS * HZ)) + 1)
        starts = np.linspace(0, len(samples) - size, count).astype(int) if count > 1 else np.array([0])
        windows = [samples[start : start + size] for start in starts]
        rows = [row for at in range(0, count, BATCH) for row in self._classify(windows[at : at + BATCH])]
        middles = utterance.start_seconds + (starts + size / 2) / HZ
        return whole, tuple((float(at), self._belief(row)) for at, row in zip(middles, rows, strict=True))

    def _belief(self, probabilities: np.ndarray) -> Emotion:
        ours = dict.fromkeys(emotion.NAMES, 0.0)
        for name, probability in zip(self._ours, probabilities.astype(float), strict=True):
            ours[name] += float(probability)
        return emotion.mixture(ours)


@dataclass
class EmbeddedTone:
    """The embedded engine's own tone head."""

    ear: Ear

    def feel(self, utterance: Utterance) -> tuple[Emotion, Trajectory]:
        return self.ear.feel(self.ear.encode(utterance.samples), utterance)


def load_recogniser(config: RecogniserConfig, device: torch.device) -> Recogniser:
    """Raises :class:`EmotionOmniError` (codes ``weights``, ``config``, ``missing-package``, ``memory``)."""
    return {"funasr": _funasr, "transformers": _transformers, "embedded": _embedded}[config.package](config, device)


def _transformers(config: RecogniserConfig, device: torch.device) -> Classifier:
    model = load(transformers.AutoModelForAudioClassification, config.name, config.revision, "float32", device)
    features = load_features(config.name, config.revision)

    @torch.inference_mode()
    def classify(windows: list[np.ndarray]) -> np.ndarray:
        given = features(windows, sampling_rate=HZ, return_tensors="pt")[model.main_input_name]
        return model(given.to(device)).logits.float().softmax(1).cpu().numpy()

    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    return Classifier(config.name, classify, labels)


def _funasr(config: RecogniserConfig, device: torch.device) -> Classifier:
    """emotion2vec+. Its weights are a pickle, which is read as weights alone."""
    config.check_package()
    with explained(config.name):
        model = Emotion2vec.load(config.name, config.revision, head=True)
        model.network.to(device)

    def classify(windows: list[np.ndarray]) -> np.ndarray:
        return np.stack([model.probabilities(torch.from_numpy(window)).cpu().numpy() for window in windows])

    return Classifier(config.name, classify, model.used)


def _embedded(config: RecogniserConfig, device: torch.device) -> EmbeddedTone:
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        weights.fetch(f"whisper-base/{name}")
    whisper = weights.fetch("whisper-base/model.bin").parent
    return EmbeddedTone(Ear.load(whisper, weights.fetch("silero/vad.onnx"), speech_emotion.SHIPPED, processors.THREADS))
