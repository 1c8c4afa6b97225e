"""A recognizer for GPUs: a large Whisper for the words, any emotion classifier for the emotion.

Classifiers have labels of their own: those that :func:`emotion_omni.emotion.find` knows are ours, the rest ("other",
"unknown") count as neutral, which is answered as no tone. Without them the remainder would look sure.

Axes: N samples at 16 kHz, B windows, K labels of a classifier, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transformers

from emotion_omni import emotion, weights
from emotion_omni.loading import explained, load, load_features, load_tokenizer
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.config import (
    Emotion2vecConfig,
    EmotionConfig,
    SpeechEmotionConfig,
    TranscriberConfig,
    TransformersEmotionConfig,
    WhisperHFConfig,
)
from emotion_omni.recognition.emotion2vec import Emotion2vec
from emotion_omni.recognition.lora_head import LoRAHead
from emotion_omni.recognition.recognizer import Classified, SpeechRecognizer, with_words
from emotion_omni.recognition.speech_detector import SecondLook, SpeechDetector
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead, load_head
from emotion_omni.recognition.utterance import Utterance
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.recognition.whisper_ct2 import classify_windows, encode_windows
from emotion_omni.recognition.whisper_decoder import NO_SPEECH_THRESHOLD, REPETITION_PENALTY, has_repeats
from emotion_omni.recognition.whisper_encoder import HZ, WhisperEncoder
from emotion_omni.sampling import GREEDY, sample_one
from emotion_omni.types import Emotion, EmotionOmniError, SpeakerEstimate

TOKENS_PER_SECOND = 9  # faster than anyone speaks, in any language; cuts off a decoder that loops
MAX_SECONDS = 30.0  # of one pass of a classifier; attention costs the square of it
WINDOW_SECONDS, HOP_SECONDS = 2.0, 1.0  # of the trajectory
MAX_WINDOWS = 48  # of one trajectory; of a long recording they lie further apart
BATCH = 16  # windows at once


class EmotionClassifier(Protocol):
    """How it was said: the emotion of the whole utterance and over time."""

    def classify(self, utterance: Utterance, speaker: SpeakerEstimate | None = None) -> Classified: ...


@dataclass(eq=False)
class WhisperHFRecognizer(SpeechRecognizer):
    voice_activity: VoiceActivity
    second_look: SecondLook
    transcriber: Transcriber
    emotion_classifier: EmotionClassifier

    @classmethod
    def load(cls, config: WhisperHFConfig, device: torch.device) -> WhisperHFRecognizer:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``config``, ``missing-package``, ``memory``)."""
        voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        second_look = SecondLook(WhisperEncoder.load(weights.fetch("whisper-base/model.bin")), SpeechDetector.load())
        transcriber = Transcriber.load(config.transcriber, device)
        return cls(voice_activity, second_look, transcriber, load_classifier(config.emotion, device))

    def transcribe(self, encoded: Utterance) -> str:
        return self.transcriber.transcribe(encoded)

    def classify(self, encoded: Utterance, speaker: SpeakerEstimate | None = None) -> Classified:
        return self.emotion_classifier.classify(encoded, speaker)


class Transcriber:
    """Whisper by greedy decoding. Keeps nothing between calls."""

    def __init__(self, model: Any, features: Any, tokenizer: Any, language: str = "en") -> None:
        self.model, self.features, self.tokenizer = model, features, tokenizer
        vocabulary = tokenizer.get_vocab()
        settings = model.generation_config
        self.eos = vocabulary["<|endoftext|>"]  # every token after it is a language, a task or a timestamp
        self.no_speech = vocabulary.get("<|nospeech|>", vocabulary.get("<|nocaptions|>"))
        multilingual = getattr(settings, "is_multilingual", True)
        task = [f"<|{language}|>", "<|transcribe|>"] if multilingual else []
        prompt = ["<|startoftranscript|>", *task, "<|notimestamps|>"]
        if unknown := [token for token in prompt if token not in vocabulary]:
            raise EmotionOmniError(
                f"The transcriber does not know {', '.join(unknown)}. transcriber.language is {language!r}; it must be "
                "the code of a language of this Whisper, e.g. en.",
                "config",
            )
        self.prompt = [vocabulary[token] for token in prompt]
        self.suppressed = torch.zeros(model.config.vocab_size, device=model.device)  # [V], added to the logits
        self.suppressed[self.eos + 1 :] = -torch.inf
        self.suppressed[list(settings.suppress_tokens or ())] = -torch.inf
        self.suppressed_first = self.suppressed.clone()
        self.suppressed_first[list(settings.begin_suppress_tokens or ())] = -torch.inf

    @classmethod
    def load(cls, config: TranscriberConfig, device: torch.device) -> Transcriber:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``config``, ``memory``)."""
        model = load(transformers.WhisperForConditionalGeneration, config.name, config.revision, config.dtype, device)
        tokenizer = load_tokenizer(config.name, config.revision)
        return cls(model, load_features(config.name, config.revision), tokenizer, config.language)

    def transcribe(self, utterance: Utterance) -> str:
        """The transcript, window by window; empty without words."""
        spans = utterance.windows(self.features.chunk_length)
        texts = [self._transcribe_window(utterance.samples[start:end]) for start, end in spans]
        return with_words(" ".join(filter(None, texts)))

    @torch.inference_mode()
    def _transcribe_window(self, samples: np.ndarray) -> str:
        features = self.features(samples, sampling_rate=HZ, return_tensors="pt").input_features
        encoded = self.model.get_encoder()(features.to(self.model.device, self.model.dtype))
        max_tokens = self.model.config.max_target_positions - len(self.prompt)
        max_tokens = min(8 + int(TOKENS_PER_SECOND * len(samples) / HZ), max_tokens)
        written = self.decode(encoded, max_tokens)
        if has_repeats(written):
            written = min(written, self.decode(encoded, max_tokens, REPETITION_PENALTY), key=len)
        return self.tokenizer.decode(written, skip_special_tokens=True).strip()

    def decode(self, encoded: Any, max_tokens: int, penalty: float = 1.0) -> list[int]:
        """Greedy, at most ``max_tokens``; none where the model predicts no speech. ``penalty``: on repetitions."""
        written: list[int] = []
        kv_cache, step = None, self.prompt
        while len(written) < max_tokens:
            input_ids = torch.tensor([step], device=self.model.device)
            out = self.model(encoder_outputs=encoded, decoder_input_ids=input_ids, cache=kv_cache, use_cache=True)
            if kv_cache is None and self._is_silence(out.logits[0, 0]):
                return []
            kv_cache = out.cache
            logits = _penalized(out.logits[0, -1].float(), written, penalty)
            token = sample_one(logits + (self.suppressed if written else self.suppressed_first), GREEDY)
            if token == self.eos:
                break
            written.append(token)
            step = [token]
        return written

    def _is_silence(self, logits: torch.Tensor) -> bool:
        """Whether the model predicts no speech, from its logits [V] at the start of the transcript."""
        return self.no_speech is not None and float(logits.float().softmax(0)[self.no_speech]) >= NO_SPEECH_THRESHOLD


def _penalized(logits: torch.Tensor, written: list[int], penalty: float) -> torch.Tensor:
    """Logits [V] with those of tokens that were written before made less likely (Keskar et al. 2019, CTRL)."""
    if penalty == 1.0 or not written:
        return logits
    seen = torch.tensor(sorted(set(written)), device=logits.device)
    found = logits[seen]
    return logits.scatter(0, seen, torch.where(found > 0, found / penalty, found * penalty))


class LabelClassifier:
    """A classifier with labels of its own. ``classify``: B windows of one length → probabilities [B, K]."""

    def __init__(self, name: str, classify: Callable[[list[np.ndarray]], np.ndarray], labels: Sequence[str]) -> None:
        plain = [label.rpartition("/")[2] for label in labels]  # emotion2vec's labels are like 生气/angry
        known = {emotion.find(label).name for label in plain if emotion.is_known(label)}
        if len(known) < 2:
            raise EmotionOmniError(
                f"The labels of {name!r} are {', '.join(labels)}; at most one of them is an emotion known here. Choose "
                f"a classifier with labels such as: {', '.join(emotion.NAMES)}.",
                "config",
            )
        self._classify = classify
        self._ours = [emotion.find(label).name if emotion.is_known(label) else "neutral" for label in plain]

    def classify(self, utterance: Utterance, speaker: SpeakerEstimate | None = None) -> Classified:
        """A long utterance is read in even parts of at most 30 s, whose probabilities are averaged."""
        samples = utterance.samples
        parts = np.array_split(samples, math.ceil(len(samples) / (MAX_SECONDS * HZ)))
        whole = self._emotion(np.mean([self._classify([part])[0] for part in parts], axis=0))
        size = int(WINDOW_SECONDS * HZ)
        if len(samples) <= size:
            return Classified(whole, ((utterance.recording_seconds(utterance.seconds / 2), whole),), speaker)
        count = min(MAX_WINDOWS, int((len(samples) - size) / (HOP_SECONDS * HZ)) + 1)
        starts = np.linspace(0, len(samples) - size, count).astype(int) if count > 1 else np.array([0])
        windows = [samples[start : start + size] for start in starts]
        rows = [row for at in range(0, count, BATCH) for row in self._classify(windows[at : at + BATCH])]
        middles = [utterance.recording_seconds((start + size / 2) / HZ) for start in starts.tolist()]
        trajectory = tuple((at, self._emotion(row)) for at, row in zip(middles, rows, strict=True))
        return Classified(whole, trajectory, speaker)

    def _emotion(self, probabilities: np.ndarray) -> Emotion:
        ours = dict.fromkeys(emotion.NAMES, 0.0)
        for name, probability in zip(self._ours, probabilities.astype(float), strict=True):
            ours[name] += float(probability)
        return emotion.mixture(ours)


@dataclass(frozen=True, eq=False)
class HeadClassifier:
    """Our own head on Whisper base."""

    encoder: WhisperEncoder
    head: SpeechEmotionHead | LoRAHead

    def classify(self, utterance: Utterance, speaker: SpeakerEstimate | None = None) -> Classified:
        return classify_windows(self.head, encode_windows(self.encoder, utterance), utterance, speaker)


def load_classifier(config: EmotionConfig, device: torch.device) -> EmotionClassifier:
    """Raises :class:`EmotionOmniError` (codes ``weights``, ``config``, ``missing-package``, ``memory``)."""
    if isinstance(config, Emotion2vecConfig):
        return _emotion2vec(config, device)
    if isinstance(config, TransformersEmotionConfig):
        return _transformers(config, device)
    return _speech_emotion(config)


def _transformers(config: TransformersEmotionConfig, device: torch.device) -> LabelClassifier:
    model = load(transformers.AutoModelForAudioClassification, config.name, config.revision, "float32", device)
    features = load_features(config.name, config.revision)

    @torch.inference_mode()
    def classify(windows: list[np.ndarray]) -> np.ndarray:
        inputs = features(windows, sampling_rate=HZ, return_tensors="pt")[model.main_input_name]
        return model(inputs.to(device)).logits.float().softmax(1).cpu().numpy()

    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    return LabelClassifier(config.name, classify, labels)


def _emotion2vec(config: Emotion2vecConfig, device: torch.device) -> LabelClassifier:
    """emotion2vec+. Its weights are a pickle, which is read with ``weights_only=True``."""
    config.check_package()
    with explained(config.name):
        model = Emotion2vec.load(config.name, config.revision, head=True)
        model.network.to(device)

    def classify(windows: list[np.ndarray]) -> np.ndarray:
        return np.stack([model.probabilities(torch.from_numpy(window)).cpu().numpy() for window in windows])

    return LabelClassifier(config.name, classify, model.used)


def _speech_emotion(config: SpeechEmotionConfig) -> HeadClassifier:
    encoder = WhisperEncoder.load(weights.fetch("whisper-base/model.bin"))
    return HeadClassifier(encoder, load_head(Path(config.weights or speech_emotion.SHIPPED), encoder))
