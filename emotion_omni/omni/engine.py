"""The omni engine: the paper's end-to-end model from a checkpoint, behind the same face as the others.

Two encoders, one language model, one speech decoder and a vocoder make the answer; the embedded engine's ear
stands beside them. The model itself writes no transcript and names no tone: what :class:`Heard` shows is the
ear's, for people to read, to correct, and to carry the conversation on. What a person corrects is told to the
model in its prompt; what the ear merely believes is not. The ear also finds the speech in the recording and
refuses what holds none, as it does for its own engine.

A checkpoint that has not learnt to speak answers in words alone: that is what stage 1 can be tried out with.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from emotion_omni import checkpoint, emotion, processors, zero_gpu
from emotion_omni.omni import encoders
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.encoders import Encoder
from emotion_omni.omni.generation import Responder, Steps, Written
from emotion_omni.omni.language_model import in_precision
from emotion_omni.omni.model import Omni, Query
from emotion_omni.omni.prompt import Prompt
from emotion_omni.recognition.recognizer import Recognizer
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer
from emotion_omni.response import safe_replies
from emotion_omni.response.guard import is_crisis
from emotion_omni.response.planner import reliable_tone
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.synthesis.vocoder import Vocoder
from emotion_omni.types import Audio, Done, EmotionOmniError, Event, Heard, Plan, Speech, Text, Turn

log = logging.getLogger(__name__)

NAME = "omni"
COMPILED = "EMOTION_OMNI_COMPILED"
WARM_UP = "Oh, that is hard to hear. I am here, and there is no hurry at all."


@dataclass(frozen=True, eq=False)
class Asked:
    """A turn as the model reads it. ``tone``: as heard, for where the model plans no emotion that has a name."""

    query: Query
    prompt: Prompt
    tone: str
    seed: int
    speak: bool


@dataclass
class Clock:
    """Seconds since the turn began, by the stages it has reached."""

    device: torch.device
    laps: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """A stage is reached, if it is for the first time. What was sent to a GPU is waited for."""
        if stage not in self.laps:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.laps[stage] = time.perf_counter() - self.started


@dataclass(eq=False)
class OmniEngine:
    """``vocoder``: none for a checkpoint without stage 2."""

    responder: Responder
    semantic: Encoder
    emotion: Encoder
    recognizer: Recognizer
    vocoder: Vocoder | None
    name: str = NAME
    hz: int = voice.HZ

    def __post_init__(self) -> None:
        self._turn, self._words = zero_gpu.lent(self._answered), zero_gpu.lent(self._spoken)

    @classmethod
    def load(cls, source: str | Path, device: str | None = None, compiled: bool | None = None) -> OmniEngine:
        """A checkpoint: a folder, a name of :func:`checkpoint.listed` or a hub id. ``device``: a GPU where there is one.

        On a GPU the model is bfloat16 and steps have fixed shapes; the encoders stay in float32, for from such frames it
        has learnt. ``compiled`` also sends steps through torch.compile, and loading waits minutes for it; by default as
        ``EMOTION_OMNI_COMPILED`` says (1: yes). Raises :class:`EmotionOmniError` (codes ``checkpoint``, ``hub``,
        ``config``, ``weights``, ``missing``, ``missing-package``, ``voice``, ``memory``).
        """
        zero_gpu.begin()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = torch.device(device).type == "cuda"
        compiled = os.environ.get(COMPILED) == "1" and not zero_gpu.on_loan() if compiled is None else compiled
        if not on_gpu:
            torch.set_num_threads(processors.THREADS)
        try:
            model, about = _model(source, device, torch.bfloat16 if on_gpu else torch.float32)
            responder = Responder(model, steps=Steps(model, static=on_gpu, compiled=compiled))
            vocoder = _vocoder(model.config, about, device)
            hears = encoders.semantic(model.config.semantic, device), encoders.emotion(model.config.emotion, device)
        except torch.OutOfMemoryError as error:
            raise EmotionOmniError(
                "The GPU ran out of memory while loading the model. Close what else uses it, or choose a checkpoint of a smaller preset.",
                "memory",
            ) from error
        engine = cls(responder, *hears, WhisperCT2Recognizer.load(), vocoder, f"{NAME}:{about.name}" if about.name else NAME)
        if compiled:
            engine._warm_up()
        return engine

    @property
    def device(self) -> torch.device:
        return self.responder.model.prototypes.device

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        started = time.perf_counter()
        heard, samples = self._hear(turn)
        clock = Clock(self.device, {"heard": time.perf_counter() - started}, started)
        yield heard
        with closing(self._turn(turn, heard, samples, seed, clock)) as events:
            yield from events

    def speak(self, text: str, emotion: str) -> Iterator[Audio]:
        """Given words in a given emotion, as if they were the model's answer to silence."""
        if self.vocoder is None:
            raise no_voice(self.name)
        if any(letter.isalnum() for letter in text):
            with closing(self._words(text, emotion)) as sounds:
                yield from sounds

    def _answered(
        self, turn: Turn, heard: Heard, samples: np.ndarray | None, seed: int, clock: Clock
    ) -> Iterator[Event]:
        """All that comes after :class:`Heard`: what wants the GPU."""
        tone = reliable_tone(heard)
        told = heard.transcript if turn.transcript is not None else None
        felt = heard.emotion.label if turn.emotion is not None else None
        prompt = self.responder.model.prompter.prompt(turn.earlier, told, felt)
        asked = Asked(self._query(samples), prompt, tone, seed, turn.speak)
        clock.lap("encoded")
        if is_crisis(heard.transcript):
            yield from self._given(asked, safe_replies.CRISIS[seed % len(safe_replies.CRISIS)], "calm", clock)
        elif not (yield from self._answer(asked, clock)):
            words = safe_replies.safe_reply(heard.transcript, tone, "neutral", seed)
            yield from self._given(asked, words, emotion.answer_with(tone, "neutral"), clock)
        clock.lap("done")
        yield Done(clock.laps)

    def _spoken(self, text: str, emotion: str) -> Iterator[Audio]:
        asked = Asked(self._query(None), self.responder.model.prompter.prompt(), emotion, 0, True)
        for event in self._given(asked, text, emotion, Clock(self.device)):
            if isinstance(event, Speech):
                yield event.audio

    def _warm_up(self) -> None:
        """Compile the steps of a short conversation now, not while the first visitor waits."""
        noise = np.random.default_rng(0).normal(0, 0.1, 3 * encoders.HZ).clip(-1, 1).astype(np.float32)
        asked = Asked(
            self._query(encoders.prepare(Audio(noise, encoders.HZ))),
            self.responder.model.prompter.prompt(),
            "neutral",
            0,
            True,
        )
        for _ in range(2):  # CUDA graphs are recorded in the second run
            list(self._given(asked, WARM_UP, "neutral", Clock(self.device)))

    # --- hearing --------------------------------------------------------------------------------------------------

    def _hear(self, turn: Turn) -> tuple[Heard, np.ndarray | None]:
        """→ what people are shown, and the samples that the model hears; none for a turn in writing."""
        heard = self.recognizer.recognize(turn)
        # the encoders read the recording as in training: whole, and prepared by the same function
        return heard, encoders.prepare(turn.audio) if turn.audio is not None else None

    def _query(self, samples: np.ndarray | None) -> Query:
        """Frames of both encoders; of nothing, no frames."""
        if samples is None:
            none = torch.zeros(1, dtype=torch.long)
            return Query(torch.zeros(1, 0, self.semantic.width), none, torch.zeros(1, 0, self.emotion.width), none)
        return Query(*self.semantic([samples]), *self.emotion([samples]))

    # --- answering ------------------------------------------------------------------------------------------------

    def _given(self, asked: Asked, words: str, label: str, clock: Clock) -> Iterator[Event]:
        """Fixed words through the same parts, in the emotion of a label where the training set knew it."""
        yield from self._answer(asked, clock, [self.responder.model.prompter.answer(words)], label)

    def _answer(
        self, asked: Asked, clock: Clock, given: Sequence[Sequence[int]] | None = None, label: str | None = None
    ) -> Generator[Event, None, bool]:
        """The events of an answer → whether any words came."""
        words = self.responder.read(asked.query, [asked.prompt], [asked.seed], given)
        clock.lap("prefilled")
        sound = self.vocoder.stream(asked.seed) if self.vocoder is not None and asked.speak else None
        said = False
        with closing(
            self.responder.pieces(words, None if sound is None else [asked.seed], self._prototype(label))
        ) as pieces:
            for piece in pieces:
                if isinstance(piece, Written):
                    yield from self._planned(piece, asked.tone, label, clock)
                    if piece.words[0]:
                        clock.lap("first_text")
                        yield Text(piece.words[0])
                        said = said or bool(piece.words[0].strip())
                else:
                    clock.lap("first_tokens")
                    yield from self._sound(sound.push(piece.tokens[0]), clock)
        if sound is not None:
            yield from self._sound(sound.push((), last=True), clock)
        return said

    def _planned(self, written: Written, tone: str, label: str | None, clock: Clock) -> Iterator[Event]:
        """The plan, once, by what the first token is spoken with."""
        if "planned" not in clock.laps:
            label = (
                label or self.responder.model.label(written.piece.emotion[0, 0]) or emotion.answer_with(tone, "neutral")
            )
            clock.lap("planned")
            yield Plan(label)

    def _sound(self, samples: np.ndarray, clock: Clock) -> Iterator[Event]:
        if len(samples):
            clock.lap("first_speech")
            yield Speech(Audio(samples, self.hz))

    def _prototype(self, label: str | None) -> torch.Tensor | None:
        """[1, E], what the answers of a label sounded like in the training set; none where it had none."""
        if label is None:
            return None
        vector = self.responder.model.prototypes[emotion.NAMES.index(label)]
        return vector[None] if bool(vector.any()) else None


def no_voice(name: str) -> EmotionOmniError:
    return EmotionOmniError(
        f"The checkpoint of {name!r} has not learnt to speak; it answers in words alone. Teach it: python -m emotion_omni train speak "
        "--parent ITS_FOLDER --data DATA --out FOLDER. Or choose one whose stages are understand and speak.",
        "no-voice",
    )


def _model(source: str | Path, device: str, dtype: torch.dtype) -> tuple[Omni, checkpoint.About]:
    """A checkpoint's model, ready to answer, with its adaptation merged in: the same sums, in a third of the steps."""
    place = "cpu" if zero_gpu.on_loan() else device  # a GPU that is only announced adds nothing up
    model, about = checkpoint.load(source, place, dtype)
    model.language_model.merge_adapter()
    return in_precision(model, dtype).to(device).eval(), about


def _vocoder(config: OmniConfig, about: checkpoint.About, device: str) -> Vocoder | None:
    if "speak" in about.stages:
        return voice.load_vocoder(config.voice, config.speech.codes, device)
    log.warning("%s", no_voice(about.name))
    return None
