"""A recognizer for two CPU cores: Whisper base, whose one encoder pass serves the words and the emotion.

The encoder runs in torch and gives the hidden states of every layer; CTranslate2 decodes the words from the last one,
our head reads the emotion from all.

Axes: L hidden states of the encoder, T frames (50 Hz), D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from emotion_omni import processors, weights
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.config import WhisperCT2Config
from emotion_omni.recognition.lora_head import LoRAHead
from emotion_omni.recognition.recognizer import Classified, SpeechRecognizer, with_words
from emotion_omni.recognition.speech_detector import SecondLook, SpeechDetector
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead, load_head
from emotion_omni.recognition.utterance import Utterance, no_speech
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.recognition.whisper_decoder import WhisperDecoder
from emotion_omni.recognition.whisper_encoder import FRAME_HZ, HZ, WINDOW_SECONDS, WhisperEncoder, valid_frames
from emotion_omni.types import SpeakerEstimate

FRAME_SAMPLES = HZ // FRAME_HZ  # that one encoder frame stands for


@dataclass(frozen=True, eq=False)
class Encoded:
    """An utterance with its hidden states [L, T, D] for each window, over clip and padding."""

    utterance: Utterance
    windows: list[torch.Tensor]


@dataclass(eq=False)
class WhisperCT2Recognizer(SpeechRecognizer):
    encoder: WhisperEncoder
    decoder: WhisperDecoder
    voice_activity: VoiceActivity
    second_look: SecondLook
    emotion_head: SpeechEmotionHead | LoRAHead

    @classmethod
    def load(cls, config: WhisperCT2Config | None = None, threads: int = processors.THREADS) -> WhisperCT2Recognizer:
        """Fetches Whisper base and voice activity detection. Raises :class:`EmotionOmniError` (code ``weights``)."""
        folder = fetch_whisper()
        encoder = WhisperEncoder.load(folder / "model.bin")
        decoder = WhisperDecoder.load(folder, threads)
        head = load_head(Path((config or WhisperCT2Config()).weights or speech_emotion.SHIPPED), encoder)
        voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        second_look = SecondLook(encoder, SpeechDetector.load())
        return cls(encoder, decoder, voice_activity, second_look, head)

    def encode(self, utterance: Utterance) -> Encoded:
        return Encoded(utterance, encode_windows(self.encoder, utterance))

    def check_speech(self, encoded: Encoded) -> None:
        """Voice activity detection takes some melodies for a voice; the hidden states know better."""
        lengths = [end - start for start, end in encoded.utterance.windows(WINDOW_SECONDS)]
        detector = self.second_look.detector
        if not any(
            detector.hears_speech(states[:, : valid_frames(length)])
            for states, length in zip(encoded.windows, lengths, strict=True)
        ):
            raise no_speech()

    def transcribe(self, encoded: Encoded) -> str:
        """The transcript, in English. Greedy, from the last hidden state."""
        spans = encoded.utterance.windows(WINDOW_SECONDS)
        texts = [
            self.decoder.transcribe(hidden_states[-1:], (end - start) / HZ)
            for hidden_states, (start, end) in zip(encoded.windows, spans, strict=True)
        ]
        return with_words(" ".join(filter(None, texts)))

    def pauses(self, encoded: Encoded) -> list[float]:
        return encoded.utterance.pauses()

    def classify(self, encoded: Encoded, speaker: SpeakerEstimate | None = None) -> Classified:
        return classify_windows(self.emotion_head, encoded.windows, encoded.utterance, speaker)


def encode_windows(encoder: WhisperEncoder, utterance: Utterance) -> list[torch.Tensor]:
    """The hidden states [L, T, D] of each window of at most 29 s, over clip and padding."""
    return [encoder.hidden_states(utterance.samples[start:end]) for start, end in utterance.windows(WINDOW_SECONDS)]


def classify_windows(
    head: SpeechEmotionHead | LoRAHead,
    windows: list[torch.Tensor],
    utterance: Utterance,
    speaker: SpeakerEstimate | None,
) -> Classified:
    """The emotion of an utterance and over time, from the frames of the clip itself, without its padding."""
    found = head.predict(*spoken_frames(windows, utterance), speaker)
    trajectory = tuple((utterance.recording_seconds(seconds), felt) for seconds, felt in found.trajectory)
    return found._replace(trajectory=trajectory)


def spoken_frames(windows: list[torch.Tensor], utterance: Utterance) -> tuple[torch.Tensor, torch.Tensor]:
    """The frames of all windows without their padding [L, T, D], and in which of them somebody speaks [T]."""
    spans = utterance.windows(WINDOW_SECONDS)
    is_speech = np.zeros(len(utterance.samples), np.float32)
    for start, end in utterance.speech:
        is_speech[start:end] = 1
    frames, speech = [], []
    for states, (start, end) in zip(windows, spans, strict=True):
        count = valid_frames(end - start)
        frames.append(states[:, :count])
        padded = np.pad(is_speech[start:end], (0, count * FRAME_SAMPLES - (end - start)))
        speech.append(torch.from_numpy(padded.reshape(count, FRAME_SAMPLES).mean(1) > 0.5))
    return torch.cat(frames, dim=1), torch.cat(speech)


def fetch_whisper() -> Path:
    """The folder of Whisper base in CTranslate2's format, with its tokenizer."""
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        weights.fetch(f"whisper-base/{name}")
    return weights.fetch("whisper-base/model.bin").parent
