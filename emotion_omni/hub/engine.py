"""The hub engine: hear, answer, speak, with large models by Hugging Face id on a GPU.

Composes the three parts and lets them overlap: the first clause is spoken while the rest is still to be
written. The reply's emotion follows from the tone alone (:func:`emotion_omni.emotion.answer_with` without
an event); what the words tell of is left to the language model. Nothing here knows how a part works.

On a ZeroGPU Space a GPU is lent for one call, which runs in a process of its own. The whole turn is that
call. Engines must then be loaded when the app starts, not at the first turn: only what lies on ``cuda`` by
then is carried over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch

from emotion_omni import audio, emotion
from emotion_omni.embedded.engine import UNSURE
from emotion_omni.hub.answer import HubWriter
from emotion_omni.hub.config import HubConfig
from emotion_omni.hub.hear import HubEar
from emotion_omni.hub.loading import find_device, on_loan, out_of_memory
from emotion_omni.hub.speak import HZ, Speaker, load_speaker
from emotion_omni.types import Audio, Done, EmotionOmniError, Event, Heard, Plan, Speech, Text, Turn

LOAN_SECONDS = 45  # of a ZeroGPU call: a visitor with less quota left is turned away; unused time is not charged


@dataclass(eq=False)
class HubEngine:
    ear: HubEar
    writer: HubWriter
    speaker: Speaker
    name: str = "hub"
    hz: int = HZ
    _turn: Callable[[Turn, int], Iterator[Event | EmotionOmniError]] = field(init=False, repr=False)
    _words: Callable[[str, str], Iterator[Audio | EmotionOmniError]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._turn, self._words = on_zero_gpu(self._answered), on_zero_gpu(self._spoken)

    @classmethod
    def load(cls, config: HubConfig | None = None) -> HubEngine:
        """Fetch and load all parts, by default those that ``EMOTION_OMNI_HUB`` names.

        Raises :class:`EmotionOmniError` (codes ``config``, ``device``, ``weights``, ``missing``,
        ``missing-package``, ``checkpoint``, ``voice``, ``memory``).
        """
        config = config or HubConfig.find()
        _spaces()  # on ZeroGPU it must come before the first look at CUDA
        device = find_device(config.device)
        try:
            speaker = load_speaker(config.speaker, device)  # first: what it lacks most often is quickest to find out
            writer = HubWriter.load(config.writer, device)
            return cls(HubEar.load(config.transcriber, config.recogniser, device), writer, speaker)
        except torch.OutOfMemoryError as error:
            raise out_of_memory("loading the models") from error

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        with closing(self._turn(turn, seed)) as events:
            yield from _raised(events)

    def speak(self, text: str, emotion: str) -> Iterator[Audio]:
        """Given words in a given emotion."""
        with closing(self._words(text, emotion)) as sounds:
            yield from _raised(sounds)

    def _answered(self, turn: Turn, seed: int) -> Iterator[Event | EmotionOmniError]:
        """:meth:`_events`, with an error as the last item: between processes a raised one would lose its words."""
        yield from _carried(self._events(turn, seed))

    def _spoken(self, text: str, emotion: str) -> Iterator[Audio | EmotionOmniError]:
        yield from _carried(self.speaker.speak(text, emotion))

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
                for sound in self.speaker.speak(piece, planned, seed) if turn.speak else ():
                    timings.setdefault("first_speech", time.perf_counter() - started)
                    yield Speech(sound)
        timings["done"] = time.perf_counter() - started
        yield Done(timings)

    def _hear(self, turn: Turn) -> tuple[Heard, dict[str, float]]:
        transcript = turn.transcript.strip() if turn.transcript is not None else None
        tone = emotion.find(turn.emotion).name if turn.emotion is not None else None
        if transcript == "":
            raise EmotionOmniError("The corrected words are empty. Write what was said, or leave them as heard.", "empty")
        if transcript is not None and tone is not None:
            return Heard(transcript, emotion.certain(tone)), {}
        return self.ear.hear(audio.check(turn.audio.samples, turn.audio.hz), transcript, tone)


def on_zero_gpu(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """On a ZeroGPU Space: ``task``, run with a GPU on loan. Anywhere else: ``task`` itself."""
    spaces = _spaces()
    return spaces.GPU(duration=LOAN_SECONDS)(task) if spaces else task


def _spaces() -> Any:
    """The package ``spaces`` on a ZeroGPU Space, else ``None``."""
    if not on_loan():
        return None
    import spaces

    return spaces


def _carried(items: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from items
    except EmotionOmniError as error:
        yield error
    except torch.OutOfMemoryError:
        yield out_of_memory("answering")


def _raised(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, EmotionOmniError):
            raise item
        yield item
