"""Settings of a part → the part. Each kind is imported when it is loaded."""

from __future__ import annotations

import torch

from emotion_omni import weights
from emotion_omni.recognition.config import RecognizerConfig, WhisperHFConfig
from emotion_omni.recognition.recognizer import Recognizer
from emotion_omni.response.config import (
    OpenAIResponderConfig,
    PlannerConfig,
    Qwen2Config,
    RerankedConfig,
    ResponderConfig,
    TransformersResponderConfig,
)
from emotion_omni.response.guard import Guard
from emotion_omni.response.openers import every_opener
from emotion_omni.response.responder import Responder
from emotion_omni.synthesis.config import CosyVoice2Config, SynthesizerConfig
from emotion_omni.synthesis.speech_cache import SpeechCache
from emotion_omni.synthesis.synthesizer import Synthesizer
from emotion_omni.types import Delivery


def load_recognizer(config: RecognizerConfig, device: torch.device) -> Recognizer:
    if isinstance(config, WhisperHFConfig):
        from emotion_omni.recognition.whisper_hf import WhisperHFRecognizer

        return WhisperHFRecognizer.load(config, device)
    from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer

    return WhisperCT2Recognizer.load(config)


def load_guard(config: PlannerConfig, crisis: str = "") -> Guard:
    """``crisis``: weights of the detector of danger in its place; empty for the shipped ones."""
    return Guard.load(config.weights, crisis)


def load_responder(config: ResponderConfig, device: torch.device, guard: Guard) -> Responder:
    """``guard``: what every clause has to pass."""
    if isinstance(config, TransformersResponderConfig):
        from emotion_omni.response.transformers_responder import TransformersResponder

        return TransformersResponder.load(config, device, guard)
    if isinstance(config, OpenAIResponderConfig):
        from emotion_omni.response.openai_responder import OpenAIResponder

        return OpenAIResponder.load(config, guard)
    if isinstance(config, Qwen2Config):
        from emotion_omni.response.qwen2_responder import Qwen2Responder

        return Qwen2Responder.load(config, guard)
    if isinstance(config, RerankedConfig):
        from emotion_omni.response.reranked_responder import RerankedResponder

        return RerankedResponder.load(config, guard)
    from emotion_omni.response.smollm2_responder import SmolLM2Responder

    return SmolLM2Responder.load(config, guard)


def load_synthesizer(config: SynthesizerConfig, device: torch.device) -> Synthesizer:
    if isinstance(config, CosyVoice2Config):
        from emotion_omni.synthesis.cosyvoice2 import CosyVoice2Synthesizer

        return CosyVoice2Synthesizer.load(config, device)
    from emotion_omni.synthesis.kokoro import KokoroSynthesizer

    return KokoroSynthesizer.load(config)


def with_openers(synthesizer: Synthesizer) -> Synthesizer:
    """The same, with the first words of replies at hand; for Kokoro all of them, made once (about 20 s)."""
    pairs = every_opener()
    fingerprint = getattr(synthesizer, "fingerprint", "")
    folder = weights.cache() / "phrases" / fingerprint if fingerprint else None
    kept = SpeechCache(synthesizer, {phrase for phrase, _ in pairs}, folder)
    if folder:
        kept.prepare((phrase, Delivery(emotion)) for phrase, emotion in pairs)
    return kept
