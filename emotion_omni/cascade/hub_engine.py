"""The hub engine: hear, answer, speak, with large models by Hugging Face id on a GPU.

Composes the three parts and lets them overlap: the first clause is spoken while the rest is still to be
written. The reply's emotion follows from the tone alone (:func:`emotion_omni.emotion.answer_with` without
an event); what the words tell of is left to the language model. Nothing here knows how a part works.

On a ZeroGPU Space the whole turn is one call on loan (:mod:`emotion_omni.zero_gpu`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import torch

from emotion_omni import audio, emotion, zero_gpu
from emotion_omni.cascade.engine import UNSURE
from emotion_omni.cascade.presets import HubConfig, SpeakerConfig
from emotion_omni.loading import find_device, memory_explained
from emotion_omni.recognition.whisper_ct2 import corrections
from emotion_omni.recognition.whisper_hf import HubEar
from emotion_omni.response.transformers_responder import HubWriter
from emotion_omni.synthesis.config import CosyVoice2Config
from emotion_omni.synthesis.cosyvoice2 import HZ, CosyVoice2Synthesizer
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.synthesis.synthesizer import Synthesizer
from emotion_omni.types import Audio, Delivery, Done, Event, Heard, Plan, Speech, Text, Turn


@dataclass(eq=False)
class HubEngine:
    ear: HubEar
    writer: HubWriter
    synthesizer: Synthesizer
    name: str = "hub"
    hz: int = HZ
    _turn: Callable[[Turn, int], Iterator[Event]] = field(init=False, repr=False)
    _words: Callable[[str, str], Iterator[Audio]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._turn, self._words = zero_gpu.lent(self._answered), zero_gpu.lent(self._spoken)

    @classmethod
    def load(cls, config: HubConfig | None = None) -> HubEngine:
        """Fetch and load all parts, by default those that ``EMOTION_OMNI_HUB`` names.

        Raises :class:`EmotionOmniError` (codes ``config``, ``device``, ``weights``, ``missing``,
        ``missing-package``, ``checkpoint``, ``voice``, ``memory``).
        """
        config = config or HubConfig.find()
        zero_gpu.begin()
        device = find_device(config.device)
        config.check_packages()
        with memory_explained("loading the models"):
            synthesizer = load_synthesizer(config.speaker, device)  # first: what it lacks is quickest to find out
            writer = HubWriter.load(config.writer, device)
            return cls(HubEar.load(config.transcriber, config.recogniser, device), writer, synthesizer)

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        with closing(self._turn(turn, seed)) as events:
            yield from events

    def speak(self, text: str, emotion: str) -> Iterator[Audio]:
        """Given words in a given emotion."""
        with closing(self._words(text, emotion)) as sounds:
            yield from sounds

    def _answered(self, turn: Turn, seed: int) -> Iterator[Event]:
        with memory_explained("answering"):
            yield from self._events(turn, seed)

    def _spoken(self, text: str, emotion: str) -> Iterator[Audio]:
        with memory_explained("speaking"):
            yield from self.synthesizer.synthesize(text, Delivery(emotion))

    def _events(self, turn: Turn, seed: int) -> Iterator[Event]:
        started = time.perf_counter()
        heard, timings = self._hear(turn)
        timings["heard"] = time.perf_counter() - started
        yield heard
        tone = heard.emotion.label if heard.emotion.confidence >= UNSURE else "neutral"
        planned = emotion.answer_with(tone, "neutral")
        timings["planned"] = time.perf_counter() - started
        yield Plan(planned)
        with closing(self.writer.reply(heard.transcript, tone, planned, turn.earlier, seed=seed)) as pieces:
            for piece in pieces:
                timings.setdefault("first_text", time.perf_counter() - started)
                yield Text(piece)
                for sound in self.synthesizer.synthesize(piece, Delivery(planned), seed=seed) if turn.speak else ():
                    timings.setdefault("first_speech", time.perf_counter() - started)
                    yield Speech(sound)
        timings["done"] = time.perf_counter() - started
        yield Done(timings)

    def _hear(self, turn: Turn) -> tuple[Heard, dict[str, float]]:
        transcript, tone = corrections(turn)
        if transcript is not None and tone is not None:
            return Heard(transcript, emotion.certain(tone)), {}
        return self.ear.hear(audio.check(turn.audio.samples, turn.audio.hz), transcript, tone)


def load_synthesizer(config: SpeakerConfig, device: torch.device) -> Synthesizer:
    if config.name == "embedded":
        return KokoroSynthesizer.load()
    return CosyVoice2Synthesizer.load(CosyVoice2Config(folder=config.folder, dtype=config.dtype), device)
