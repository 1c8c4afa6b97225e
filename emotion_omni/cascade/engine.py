"""The cascade: a recognizer, a planner, a responder and a synthesizer behind one interface, overlapping in time.

The first clause is spoken while the rest is still being written. The engine knows the protocols of its parts alone. On
a ZeroGPU Space a turn whose parts need the GPU is one call on loan (:mod:`emotion_omni.zero_gpu`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import torch

from emotion_omni import processors, zero_gpu
from emotion_omni.cascade import parts, presets
from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.loading import find_device, memory_explained
from emotion_omni.recognition.recognizer import Recognizer
from emotion_omni.response.planner import Planner
from emotion_omni.response.responder import Responder
from emotion_omni.response.safe_replies import no_words_reply
from emotion_omni.synthesis.synthesizer import Synthesizer, check_delivery
from emotion_omni.types import Audio, Delivery, Done, Event, Heard, Plan, Speech, Text, Turn


class CascadeEngine:
    """``uses_gpu``: whether a part needs the GPU that a ZeroGPU Space lends; elsewhere it makes no difference."""

    def __init__(
        self,
        recognizer: Recognizer,
        planner: Planner,
        responder: Responder,
        synthesizer: Synthesizer,
        name: str = "cascade",
        *,
        uses_gpu: bool = False,
    ) -> None:
        self.recognizer, self.planner, self.responder, self.synthesizer = recognizer, planner, responder, synthesizer
        self.name, self.hz = name, synthesizer.hz
        lent = zero_gpu.lent if uses_gpu else _identity
        self._respond_lent, self._speak_lent = lent(self._respond), lent(self._speak)

    @classmethod
    def load(cls, config: CascadeConfig | None = None, name: str = "cascade") -> CascadeEngine:
        """Fetches what is missing and loads all parts, by default those of the preset ``embedded``.

        Raises :class:`EmotionOmniError` (codes ``config``, ``device``, ``weights``, ``missing``, ``missing-package``,
        ``checkpoint``, ``voice``, ``memory``).
        """
        config = config or presets.embedded()
        if config.uses_device:
            zero_gpu.begin()
        else:
            torch.set_num_threads(processors.THREADS)
        device = find_device(config.device if config.uses_device else "cpu")
        config.check_packages()
        with memory_explained("loading the models"):
            synthesizer = parts.load_synthesizer(config.synthesizer, device)  # first: it fails most often, and soon
            guard = parts.load_guard(config.planner, config.crisis)  # every responder has it under it
            planner = Planner(guard if config.planner.news == "guard" else None)
            responder = parts.load_responder(config.responder, device, guard)
            recognizer = parts.load_recognizer(config.recognizer, device)
            if responder.openers:
                synthesizer = parts.with_openers(synthesizer)
        return cls(recognizer, planner, responder, synthesizer, name, uses_gpu=config.uses_device)

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        with closing(self._respond_lent(turn, seed)) as events:
            yield from events

    @property
    def voices(self) -> tuple[str, ...]:
        return self.synthesizer.voices

    def speak(self, text: str, delivery: Delivery) -> Iterator[Audio]:
        """Given words in a given manner."""
        with closing(self._speak_lent(text, delivery)) as pieces:
            yield from pieces

    def _respond(self, turn: Turn, seed: int) -> Generator[Event, None, None]:
        with memory_explained("answering"):
            yield from self._events(turn, seed)

    def _speak(self, text: str, delivery: Delivery) -> Generator[Audio, None, None]:
        with memory_explained("speaking"):
            yield from self.synthesizer.synthesize(text, delivery)

    def _events(self, turn: Turn, seed: int) -> Iterator[Event]:
        if turn.speak:  # a voice that cannot be is refused before anything is heard
            check_delivery(turn.voice.delivery("neutral"), self.synthesizer.voices)
        started = time.perf_counter()
        heard = self.recognizer.recognize(turn)
        timings = {**heard.timings, "heard": time.perf_counter() - started}
        yield heard
        plan = self.planner.plan(heard, turn.history)
        timings["planned"] = time.perf_counter() - started
        yield plan
        with closing(self._reply(heard, plan, turn, seed)) as pieces:
            for piece in pieces:
                timings.setdefault("first_text", time.perf_counter() - started)
                yield Text(piece)
                for audio in self._spoken(piece, plan, turn, seed):
                    timings.setdefault("first_speech", time.perf_counter() - started)
                    yield Speech(audio)
        timings["done"] = time.perf_counter() - started
        yield Done(timings)

    def _reply(self, heard: Heard, plan: Plan, turn: Turn, seed: int) -> Generator[str, None, None]:
        """The pieces of the responder, or a question where there are no words to respond to."""
        if heard.transcript:
            yield from self.responder.reply(heard, plan, turn.history, seed=seed)
        else:
            yield no_words_reply(plan.tone, seed + len(turn.earlier))

    def _spoken(self, piece: str, plan: Plan, turn: Turn, seed: int) -> Iterator[Audio]:
        if turn.speak:
            yield from self.synthesizer.synthesize(piece, turn.voice.delivery(plan.emotion), seed=seed)


def _identity(task: Callable[..., Generator]) -> Callable[..., Generator]:
    return task
