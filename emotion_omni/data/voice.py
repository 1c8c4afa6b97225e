"""Speaks a written dialogue: queries in the person's voice through a channel, replies in the machine's.

Knows the synthesizer's protocol only. Sounds are FLAC of 16 bits, whose bytes the same samples always give.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from emotion_omni import audio
from emotion_omni.data.channel import Channel, channel_of, through
from emotion_omni.data.dialogue import WrittenDialogue
from emotion_omni.data.domains import CUES
from emotion_omni.data.plan import Speech
from emotion_omni.data.scenarios import Scenario
from emotion_omni.fake import FakeEngine
from emotion_omni.synthesis.config import KokoroConfig
from emotion_omni.synthesis.synthesizer import Synthesizer
from emotion_omni.types import Audio, Delivery, EmotionOmniError


@dataclass(frozen=True, eq=False)
class SpokenTurn:
    """``reply``: ``None`` where the plan asks for no spoken replies."""

    query: Audio
    reply: Audio | None


class FakeSynthesizer:
    """Short tones instead of speech, to rehearse a plan without a model."""

    hz = FakeEngine.hz
    voices: tuple[str, ...] = ()

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        engine = FakeEngine()
        for word in text.split():
            yield from engine.speak(f"{delivery.voice} {word}", Delivery(delivery.emotion, delivery.intensity))


def load_synthesizer(speech: Speech, threads: int) -> Synthesizer:
    if speech.synthesizer == "fake":
        return FakeSynthesizer()
    from emotion_omni.synthesis.kokoro import KokoroSynthesizer

    return KokoroSynthesizer.load(KokoroConfig(level=True), threads)


class DialogueSpeaker:
    def __init__(self, synthesizer: Synthesizer, speech: Speech) -> None:
        self._synthesizer, self._speech = synthesizer, speech

    def speak(self, scenario: Scenario, dialogue: WrittenDialogue) -> list[SpokenTurn]:
        """Raises :class:`EmotionOmniError` where there is nothing to pronounce, or the voice is unknown."""
        channel, found = channel_of(self._speech, scenario.seed), []
        for number, turn in enumerate(dialogue.turns):
            seed = scenario.seed + number
            text = said(scenario, number, turn.text)
            query = self._say(text, Delivery(turn.emotion, turn.intensity, scenario.voice), seed)
            reply = None
            if self._speech.reply_audio:
                reply = self._say(turn.reply, Delivery(turn.reply_emotion, 1.0, scenario.reply_voice), seed)
            found.append(SpokenTurn(through(channel, query, seed), reply))
        return found

    def _say(self, text: str, delivery: Delivery, seed: int) -> Audio:
        pieces = list(self._synthesizer.synthesize(text, delivery, seed=seed))
        if not pieces:
            raise EmotionOmniError(f"There is nothing to pronounce in {text!r}.", "unspeakable")
        return audio.join(pieces)


def channel_name(channel: Channel) -> str:
    """In words, for a column; ``clean`` for none."""
    parts = [
        f"{channel.decibels:+g} dB" if channel.decibels else "",
        f"room {channel.reverberation:g} s" if channel.reverberation else "",
        f"noise {channel.snr:g} dB" if channel.snr else "",
        "telephone" if channel.telephone else "",
    ]
    return ", ".join(filter(None, parts)) or "clean"


def said(scenario: Scenario, number: int, text: str) -> str:
    """The words with the scenario's non-verbal cue before the first turn, unless they hold it."""
    cue = CUES.get(scenario.cue, "") if number == 0 else ""
    return f"{cue} {text}" if cue and not text.lower().startswith(cue.lower()[:2]) else text


def flac(sound: Audio) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(sound.samples, -1, 1), sound.hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
