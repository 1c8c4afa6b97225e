"""The omni engine: the paper's end-to-end model from a checkpoint, with the interface of every engine.

Two encoders, one language model, one speech decoder and a vocoder make the answer. The model itself gives no
transcript and no heard emotion: what :class:`Heard` shows comes from the recognizer of the embedded preset, for
people to read and correct, and for the history. A correction becomes part of the model's prompt; what was merely
recognized does not. The recognizer also refuses recordings without speech.

A checkpoint without stage 2 answers in text alone, which is enough to try out stage 1.
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

from emotion_omni import audio, checkpoint, emotion, processors, zero_gpu
from emotion_omni.omni import encoders
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.emotion_planner import TextChunk
from emotion_omni.omni.encoders import Encoder
from emotion_omni.omni.generation import ReplyGenerator
from emotion_omni.omni.language_model import cast_parameters
from emotion_omni.omni.model import Omni, Query
from emotion_omni.omni.model_runner import ModelRunner
from emotion_omni.omni.prompt import Prompt
from emotion_omni.recognition.recognizer import SpeechRecognizer
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.response import safe_replies
from emotion_omni.response.crisis_patterns import plain_risk
from emotion_omni.response.planner import reliable_tone
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.synthesis.vocoder import Vocoder
from emotion_omni.types import Audio, Delivery, Done, EmotionOmniError, Event, Heard, Plan, Speech, Text, Turn

log = logging.getLogger(__name__)

NAME = "omni"
COMPILED = "EMOTION_OMNI_COMPILED"
WARM_UP = "Oh, that is hard to hear. I am here, and there is no hurry at all."


@dataclass(frozen=True, eq=False)
class Request:
    """A turn as the model reads it. ``tone``: the heard emotion, for where the model's plan matches no label."""

    query: Query
    prompt: Prompt
    tone: str
    seed: int
    speak: bool


@dataclass
class Stopwatch:
    """Seconds since the turn began, by the stages it has reached."""

    device: torch.device
    timings: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def reached(self, stage: str) -> None:
        """Counts the first time only. Waits for work that was sent to a GPU."""
        if stage not in self.timings:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.timings[stage] = time.perf_counter() - self.started


@dataclass(eq=False)
class OmniEngine:
    """``vocoder``: None for a checkpoint without stage 2."""

    generator: ReplyGenerator
    semantic: Encoder
    emotion: Encoder
    recognizer: SpeechRecognizer
    vocoder: Vocoder | None
    name: str = NAME
    hz: int = voice.HZ
    voices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._on_gpu, self._speak_on_gpu = zero_gpu.lent(self._reply), zero_gpu.lent(self._speak)

    @classmethod
    def load(cls, source: str | Path, device: str | None = None, compiled: bool | None = None) -> OmniEngine:
        """A checkpoint: a folder, a name of :func:`checkpoint.listed` or a hub id. ``device``: default a GPU, if any.

        On a GPU the model is bfloat16 and steps have static shapes; the encoders stay in float32, as in training.
        ``compiled`` also sends steps through torch.compile, and loading takes minutes longer; by default as
        ``EMOTION_OMNI_COMPILED`` says (1: yes). Raises :class:`EmotionOmniError` (codes ``checkpoint``, ``hub``,
        ``config``, ``weights``, ``missing``, ``missing-package``, ``voice``, ``memory``).
        """
        zero_gpu.begin()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = torch.device(device).type == "cuda"
        if compiled is None:
            compiled = os.environ.get(COMPILED) == "1" and not zero_gpu.on_loan()
        if not on_gpu:
            torch.set_num_threads(processors.THREADS)
        try:
            model, about = _load_model(source, device, torch.bfloat16 if on_gpu else torch.float32)
            generator = ReplyGenerator(model, runner=ModelRunner(model, static=on_gpu, compiled=compiled))
            vocoder = _load_vocoder(model.config, about, device)
            semantic = encoders.semantic_encoder(model.config.semantic, device)
            emotion = encoders.emotion_encoder(model.config.emotion, device)
        except torch.OutOfMemoryError as error:
            raise EmotionOmniError(
                "The GPU ran out of memory while loading the model. Close other programs that use it, or choose a "
                "checkpoint of a smaller preset.",
                "memory",
            ) from error
        name = f"{NAME}:{about.name}" if about.name else NAME
        engine = cls(generator, semantic, emotion, WhisperCT2Recognizer.load(), vocoder, name)
        if compiled:
            engine._warm_up()
        return engine

    @property
    def model(self) -> Omni:
        return self.generator.model

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        started = time.perf_counter()
        _check_voice(turn.voice.delivery(""), self.name)
        heard, samples = self._hear(turn)
        stopwatch = Stopwatch(self.model.device, {"heard": time.perf_counter() - started}, started)
        yield heard
        with closing(self._on_gpu(turn, heard, samples, seed, stopwatch)) as events:
            yield from events

    def speak(self, text: str, delivery: Delivery) -> Iterator[Audio]:
        """A given text in a given emotion, as if it were the model's answer to silence."""
        if self.vocoder is None:
            raise no_voice(self.name)
        _check_voice(delivery, self.name)
        if any(letter.isalnum() for letter in text):
            with closing(self._speak_on_gpu(text, delivery.emotion)) as sounds:
                yield from sounds

    def _reply(
        self, turn: Turn, heard: Heard, samples: np.ndarray | None, seed: int, stopwatch: Stopwatch
    ) -> Generator[Event, None, None]:
        """All that comes after :class:`Heard`, and needs the GPU."""
        tone = reliable_tone(heard)
        corrected_transcript = heard.transcript if turn.transcript is not None else None
        corrected_emotion = heard.emotion.label if turn.emotion is not None else None
        prompt = self.model.prompt_builder.prompt(turn.history, corrected_transcript, corrected_emotion)
        request = Request(self._encode(samples), prompt, tone, seed, turn.speak)
        stopwatch.reached("encoded")
        if risk := plain_risk(heard.transcript):
            yield from self._say(request, safe_replies.crisis_reply(risk), "calm", stopwatch)
        elif not heard.transcript:
            text = safe_replies.no_words_reply(tone, seed + len(turn.earlier))
            yield from self._say(request, text, emotion.answer_with(tone, "neutral"), stopwatch)
        elif not (yield from self._generate(request, stopwatch)):
            text = safe_replies.safe_reply(heard.transcript, tone, "neutral", seed)
            yield from self._say(request, text, emotion.answer_with(tone, "neutral"), stopwatch)
        stopwatch.reached("done")
        yield Done(stopwatch.timings)

    def _speak(self, text: str, emotion: str) -> Generator[Audio, None, None]:
        request = Request(self._encode(None), self.model.prompt_builder.prompt(), emotion, 0, True)
        for event in self._say(request, text, emotion, Stopwatch(self.model.device)):
            if isinstance(event, Speech):
                yield event.audio

    def _warm_up(self) -> None:
        """Compile the steps of a short conversation now, not while the first visitor waits."""
        noise = np.random.default_rng(0).normal(0, 0.1, 3 * HZ).clip(-1, 1).astype(np.float32)
        query = self._encode(encoders.prepare(Audio(noise, HZ)))
        request = Request(query, self.model.prompt_builder.prompt(), "neutral", 0, True)
        for _ in range(2):  # CUDA graphs are recorded in the second run
            list(self._say(request, WARM_UP, "neutral", Stopwatch(self.model.device)))

    # --- hearing ------------------------------------------------------------------------------------------------

    def _hear(self, turn: Turn) -> tuple[Heard, np.ndarray | None]:
        """→ what people are shown, and the samples that the model hears; None for a written turn."""
        heard = self.recognizer.recognize(turn)
        if turn.audio is None:
            return heard, None
        if turn.transcript is not None and turn.emotion is not None:
            # with both corrected recognize() does not read the recording, but the model will
            self.recognizer.prepare(audio.check(turn.audio.samples, turn.audio.hz))
        # the encoders read a recording as in training: whole, and prepared by the same function
        return heard, encoders.prepare(turn.audio)

    def _encode(self, samples: np.ndarray | None) -> Query:
        """Frames of both encoders; without samples, no frames."""
        if samples is None:
            none = torch.zeros(1, dtype=torch.long)
            return Query(torch.zeros(1, 0, self.semantic.width), none, torch.zeros(1, 0, self.emotion.width), none)
        return Query(*self.semantic([samples]), *self.emotion([samples]))

    # --- answering ----------------------------------------------------------------------------------------------

    def _say(self, request: Request, text: str, label: str, stopwatch: Stopwatch) -> Iterator[Event]:
        """A given text by the same parts, in the emotion of a label where the training set has its prototype."""
        yield from self._generate(request, stopwatch, [self.model.prompt_builder.answer(text)], label)

    def _generate(
        self,
        request: Request,
        stopwatch: Stopwatch,
        given: Sequence[Sequence[int]] | None = None,
        label: str | None = None,
    ) -> Generator[Event, None, bool]:
        """The events of an answer → whether it has any text."""
        text = self.generator.prefill(request.query, [request.prompt], [request.seed], given)
        stopwatch.reached("prefilled")
        sound = self.vocoder.stream(request.seed) if self.vocoder is not None and request.speak else None
        seeds = None if sound is None else [request.seed]
        has_text = False
        with closing(self.generator.stream(text, seeds, self._prototype(label))) as chunks:
            for chunk in chunks:
                if isinstance(chunk, TextChunk):
                    yield from self._plan(chunk, request.tone, label, stopwatch)
                    if chunk.text[0]:
                        stopwatch.reached("first_text")
                        yield Text(chunk.text[0])
                        has_text = has_text or bool(chunk.text[0].strip())
                elif sound is not None:
                    stopwatch.reached("first_tokens")
                    yield from self._sound(sound.push(chunk.tokens[0]), stopwatch)
        if sound is not None:
            yield from self._sound(sound.push((), last=True), stopwatch)
        return has_text

    def _plan(self, chunk: TextChunk, tone: str, label: str | None, stopwatch: Stopwatch) -> Iterator[Event]:
        """Once, from the emotion with which the first token is spoken."""
        if "planned" not in stopwatch.timings:
            planned = label or self.model.emotion_label(chunk.inputs.emotion[0, 0])
            stopwatch.reached("planned")
            yield Plan(planned or emotion.answer_with(tone, "neutral"))

    def _sound(self, samples: np.ndarray, stopwatch: Stopwatch) -> Iterator[Event]:
        if len(samples):
            stopwatch.reached("first_speech")
            yield Speech(Audio(samples, self.hz))

    def _prototype(self, label: str | None) -> torch.Tensor | None:
        """[1, E], the mean emotion vector of the training answers of a label; None where there were none."""
        if label is None:
            return None
        vector = self.model.prototypes[emotion.NAMES.index(label)]
        return vector[None] if bool(vector.any()) else None


def _check_voice(delivery: Delivery, name: str) -> None:
    """Raises :class:`EmotionOmniError` (code ``delivery``) for what the model cannot follow."""
    if delivery != Delivery(delivery.emotion):
        raise EmotionOmniError(
            f"{name!r} speaks as its model decides: leave voice, intensity and rate as they are, or choose the engine "
            "embedded.",
            "delivery",
        )


def no_voice(name: str) -> EmotionOmniError:
    return EmotionOmniError(
        f"The checkpoint of {name!r} has not learned to speak; it answers with text only. Train it: python -m "
        "emotion_omni train speak --parent ITS_FOLDER --data DATA --out FOLDER. Or choose one whose stages are "
        "understand and speak.",
        "no-voice",
    )


def _load_model(source: str | Path, device: str, dtype: torch.dtype) -> tuple[Omni, checkpoint.About]:
    """A checkpoint's model for inference, with LoRA merged into its weights: the same result in a third of the time."""
    merge_on = "cpu" if zero_gpu.on_loan() else device  # a GPU that is only announced cannot compute
    model, about = checkpoint.load(source, merge_on, dtype)
    model.language_model.merge_adapter()
    return cast_parameters(model, dtype).to(device).eval(), about


def _load_vocoder(config: OmniConfig, about: checkpoint.About, device: str) -> Vocoder | None:
    if "speak" in about.stages:
        return voice.load_vocoder(config.voice, config.speech.codebook_size, device)
    log.warning("%s", no_voice(about.name))
    return None
