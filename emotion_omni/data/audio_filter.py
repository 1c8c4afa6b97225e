"""Which spoken dialogues are kept: what is measured of every clip, and the reasons against it.

Everything measured is stored with the clip, also with the rejected ones, so that other thresholds can be tried without
speaking again. The second recognizer of :mod:`emotion_omni.evaluate` takes no part: it judges the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_omni import audio
from emotion_omni.data.dialogue import WrittenTurn
from emotion_omni.data.plan import Filters
from emotion_omni.data.voice import SpokenTurn
from emotion_omni.recognition.recognizer import Recognizer
from emotion_omni.types import Audio, EmotionOmniError, Turn

FRAME = 0.02  # seconds
SILENT_DB = -40.0  # below the loudest frame


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one clip. ``None``: not measured. ``emotion``: probability of the meant one; ``heard_as``: the likeliest."""

    seconds: float
    silence: float
    clipped: float
    heard: str | None = None
    wer: float | None = None
    emotion: float | None = None
    heard_as: str | None = None
    quality: float | None = None


class AudioFilter:
    """``recognizer``, ``quality``: ``None`` where the plan does without."""

    def __init__(
        self, filters: Filters, recognizer: Recognizer | None, quality: Callable[[Audio], float] | None
    ) -> None:
        self._filters, self._recognizer, self._quality = filters, recognizer, quality

    @classmethod
    def load(cls, filters: Filters, threads: int) -> AudioFilter:
        recognizer, quality = None, None
        if filters.recognizer == "embedded":
            import torch

            from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer

            torch.set_num_threads(threads)
            recognizer = WhisperCT2Recognizer.load(threads=threads)
        if filters.min_quality:
            from emotion_omni.evaluate.speech_quality import SpeechQuality

            quality = SpeechQuality.load().score
        return cls(filters, recognizer, quality)

    def measure(self, turn: WrittenTurn, spoken: SpokenTurn) -> tuple[Measured, Measured | None]:
        """Of the query and of the reply."""
        query = self._measure(turn.text, turn.emotion, spoken.query, listen=True)
        if spoken.reply is None:
            return query, None
        reply = self._measure(turn.reply, turn.reply_emotion, spoken.reply, listen=self._filters.listen_to_replies)
        return query, reply

    def _measure(self, text: str, meant: str, sound: Audio, listen: bool) -> Measured:
        base = (round(sound.seconds, 3), silence_share(sound), round(audio.clipped_share(sound.samples), 4))
        quality = round(self._quality(sound), 2) if self._quality else None
        if self._recognizer is None or not listen:
            return Measured(*base, quality=quality)
        try:
            heard = self._recognizer.recognize(Turn(sound))
        except EmotionOmniError as error:
            return Measured(*base, f"({error.code})", 1.0, 0.0, None, quality)
        from emotion_omni.evaluate import reading  # loads transformers

        wrong, words = reading.errors(text, heard.transcript)
        meant_share = round(heard.emotion.probabilities[meant], 4)
        return Measured(
            *base, heard.transcript, round(wrong / max(words, 1), 4), meant_share, heard.emotion.label, quality
        )

    def reasons(self, clip: str, found: Measured) -> list[str]:
        """What speaks against a clip. ``clip``: query or reply, to begin each reason."""
        limits = self._filters
        checks = (
            (found.seconds < limits.min_seconds, f"too short: {found.seconds:.2f} s"),
            (found.seconds > limits.max_seconds, f"too long: {found.seconds:.1f} s"),
            (bool(limits.max_silence) and found.silence > limits.max_silence, f"silence: {found.silence:.0%}"),
            (bool(limits.max_clipped) and found.clipped > limits.max_clipped, f"clipped: {found.clipped:.1%}"),
            (found.wer is not None and found.wer > limits.max_wer, f"words: error rate {found.wer or 0:.2f}"),
            (
                clip == "query" and found.emotion is not None and found.emotion < limits.min_emotion,
                f"emotion: the meant one has probability {found.emotion or 0:.2f}",
            ),
            (found.quality is not None and found.quality < limits.min_quality, f"quality: {found.quality or 0:.1f}"),
        )
        return [f"{clip} {reason}" for holds, reason in checks if holds]


def silence_share(sound: Audio) -> float:
    """The share of 20 ms frames that are :data:`SILENT_DB` below the loudest one."""
    step = max(1, int(FRAME * sound.hz))
    frames = sound.samples[: len(sound.samples) // step * step].reshape(-1, step)
    if not len(frames):
        return 1.0
    levels = 10 * np.log10(np.maximum(np.mean(np.square(frames, dtype=np.float64), axis=1), 1e-12))
    return round(float(np.mean(levels < levels.max() + SILENT_DB)), 4)


def first_words(reasons: Sequence[str]) -> list[str]:
    """Reasons without their figures, to count them."""
    return [reason.partition(":")[0] for reason in reasons]
