"""A recognizer for two CPU cores: Whisper base, whose one encoder pass serves the words and the emotion.

The encoder runs in torch and gives the hidden states of every layer; CTranslate2 decodes the words from the last one,
our head reads the emotion from all.

Axes: L hidden states of the encoder, T frames (50 Hz), D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import tokenizers
import torch

from emotion_omni import processors, weights
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.config import WhisperCT2Config
from emotion_omni.recognition.recognizer import Classified, SpeechRecognizer, with_words
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead
from emotion_omni.recognition.utterance import Utterance
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.recognition.whisper_encoder import HZ, WINDOW_SECONDS, WhisperEncoder, valid_frames
from emotion_omni.types import SpeakerEstimate

PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
TOKENS_PER_SECOND = 6  # faster than people speak English; cuts off a decoder that loops
PLENTY, PLENTY_PER_SECOND = 4, 4  # tokens; a transcript with more is decoded a second time
REPETITION_PENALTY = 1.4  # of the second pass
NO_SPEECH_THRESHOLD = 0.75  # probability of no speech from which words count as hallucinated


@dataclass(frozen=True, eq=False)
class Encoded:
    """An utterance with its hidden states [L, T, D] for each window, over clip and padding."""

    utterance: Utterance
    windows: list[torch.Tensor]


@dataclass(eq=False)
class WhisperCT2Recognizer(SpeechRecognizer):
    encoder: WhisperEncoder
    decoder: ctranslate2.models.Whisper
    tokenizer: tokenizers.Tokenizer
    voice_activity: VoiceActivity
    emotion_head: SpeechEmotionHead
    first_special: int  # the first token id that is not text

    @classmethod
    def load(cls, config: WhisperCT2Config | None = None, threads: int = processors.THREADS) -> WhisperCT2Recognizer:
        """Fetches Whisper base and voice activity detection. Raises :class:`EmotionOmniError` (code ``weights``)."""
        folder = fetch_whisper()
        encoder = WhisperEncoder.load(folder / "model.bin")
        decoder = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=threads, inter_threads=1)
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        head = SpeechEmotionHead.load(Path((config or WhisperCT2Config()).weights or speech_emotion.SHIPPED), encoder)
        voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        first_special = tokenizer.token_to_id("<|endoftext|>")
        assert first_special is not None
        return cls(encoder, decoder, tokenizer, voice_activity, head, first_special)

    def encode(self, utterance: Utterance) -> Encoded:
        return Encoded(utterance, encode_windows(self.encoder, utterance))

    def transcribe(self, encoded: Encoded) -> str:
        """The transcript, in English. Greedy, from the last hidden state."""
        spans = encoded.utterance.windows(WINDOW_SECONDS)
        texts = [
            self._transcribe_window(hidden_states, (end - start) / HZ)
            for hidden_states, (start, end) in zip(encoded.windows, spans, strict=True)
        ]
        return with_words(" ".join(filter(None, texts)))

    def classify(self, encoded: Encoded, speaker: SpeakerEstimate | None = None) -> Classified:
        return classify_windows(self.emotion_head, encoded.windows, encoded.utterance, speaker)

    def _transcribe_window(self, hidden_states: torch.Tensor, seconds: float) -> str:
        features = ctranslate2.StorageView.from_array(hidden_states[-1:].contiguous().numpy())
        max_tokens = 8 + int(TOKENS_PER_SECOND * seconds)
        result = self._generate(features, max_tokens)
        if len(result.sequences_ids[0]) > PLENTY + PLENTY_PER_SECOND * seconds:
            # Whisper often misses the end of a short sentence and repeats it; fast speech reads the same both times
            second = self._generate(features, max_tokens, repetition_penalty=REPETITION_PENALTY)
            result = min(second, result, key=lambda one: len(one.sequences_ids[0]))
        if result.no_speech_prob >= NO_SPEECH_THRESHOLD:
            return ""
        return self.tokenizer.decode([token for token in result.sequences_ids[0] if token < self.first_special]).strip()

    def _generate(self, features: ctranslate2.StorageView, max_tokens: int, **options: Any) -> Any:
        """Greedy. CTranslate2 reserves half of ``max_length`` for a prompt."""
        (result,) = self.decoder.generate(
            features, [list(PROMPT)], beam_size=1, max_length=2 * max_tokens, return_no_speech_prob=True, **options
        )
        return result


def encode_windows(encoder: WhisperEncoder, utterance: Utterance) -> list[torch.Tensor]:
    """The hidden states [L, T, D] of each window of at most 29 s, over clip and padding."""
    return [encoder.hidden_states(utterance.samples[start:end]) for start, end in utterance.windows(WINDOW_SECONDS)]


def classify_windows(
    head: SpeechEmotionHead, windows: list[torch.Tensor], utterance: Utterance, speaker: SpeakerEstimate | None
) -> Classified:
    """The emotion of an utterance and over time, from the frames of the clip itself, without its padding."""
    lengths = [end - start for start, end in utterance.windows(WINDOW_SECONDS)]
    frames = [states[:, : valid_frames(length)] for states, length in zip(windows, lengths, strict=True)]
    heard, trajectory = head.predict(torch.cat(frames, dim=1))
    return Classified(heard, tuple((utterance.recording_seconds(seconds), felt) for seconds, felt in trajectory))


def fetch_whisper() -> Path:
    """The folder of Whisper base in CTranslate2's format, with its tokenizer."""
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        weights.fetch(f"whisper-base/{name}")
    return weights.fetch("whisper-base/model.bin").parent
