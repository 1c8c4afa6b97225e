"""A deterministic engine without weights, for tests and for building screens. Public on purpose.

It measures level and zero crossings, nothing more; its reply is fixed by those, by the conversation and by the seed. It
keeps the whole contract of an engine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import numpy as np

from emotion_omni import audio, emotion
from emotion_omni.types import (
    Audio,
    Delivery,
    Done,
    Emotion,
    EmotionOmniError,
    Event,
    Heard,
    Plan,
    SpeakerEstimate,
    Speech,
    Text,
    Turn,
)

QUIET_DBFS = -60.0


class FakeEngine:
    name = "fake"
    hz = 16_000
    voices: tuple[str, ...] = ()

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        started = time.perf_counter()
        heard = self._recognize(turn)
        yield heard
        planned = emotion.answer_with(heard.emotion.label, "neutral")
        yield Plan(planned, tone=heard.emotion.label)
        timings = {"heard": time.perf_counter() - started}
        said = (
            f"I heard {heard.transcript!r} and it sounded {heard.emotion.label}. This is turn {len(turn.earlier) + 1}."
        )
        for piece in (f"[{seed}] ", said):
            yield Text(piece)
            if turn.speak:
                yield from map(Speech, self.speak(piece, turn.voice.delivery(planned)))
                timings.setdefault("first_speech", time.perf_counter() - started)
        timings["done"] = time.perf_counter() - started
        yield Done(timings)

    def speak(self, text: str, delivery: Delivery) -> Iterator[Audio]:
        """A short tone whose pitch is the text's and the emotion's."""
        pitch = 200 + int(hashlib.sha256(f"{text}{delivery.emotion}".encode()).hexdigest(), 16) % 200
        times = np.arange(int(0.25 / delivery.rate * self.hz)) / self.hz
        yield Audio((0.2 * np.sin(2 * np.pi * pitch * times)).astype(np.float32), self.hz)

    def _recognize(self, turn: Turn) -> Heard:
        if turn.audio is None:
            return Heard(turn.transcript or "", emotion.one_hot(turn.emotion or "neutral"))
        query = audio.check(turn.audio.samples, turn.audio.hz)
        level = audio.dbfs(query.samples)
        if level < QUIET_DBFS:
            raise EmotionOmniError(f"The recording is silent ({level:.0f} dBFS). Record again.", "silent")
        transcript = turn.transcript or f"{query.seconds:.1f} seconds of sound"
        if turn.emotion is not None:
            return Heard(transcript, emotion.one_hot(turn.emotion), speaker=turn.speaker)
        known = turn.speaker or SpeakerEstimate(0, np.zeros(1, np.float32), self.name)
        felt = self._classify(query, level, usual=float(known.total[0]) / known.turns if known.turns else None)
        speaker = SpeakerEstimate(known.turns + 1, known.total + np.float32(level), self.name)
        return Heard(transcript, felt, ((query.seconds / 2, felt),), speaker=speaker)

    @staticmethod
    def _classify(query: Audio, level: float, usual: float | None) -> Emotion:
        """Loud is angry, soft is sad, many zero crossings are happy: something that varies, for a screen to show.

        ``usual``: the mean level of the person's earlier turns, which then counts as neither loud nor soft.
        """
        if usual is not None:
            level += QUIET_DBFS / 2 - usual
        crossings = float(np.mean(np.diff(np.signbit(query.samples)) != 0))
        loudness = min(1.0, max(0.0, (level - QUIET_DBFS) / -QUIET_DBFS))
        return emotion.mixture({"angry": loudness, "sad": 1 - loudness, "happy": min(1.0, crossings), "neutral": 0.1})
