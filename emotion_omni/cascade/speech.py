"""The synthesizers' settings and protocol, until they stand beside the synthesizers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from emotion_omni.strict import Precision, Strict
from emotion_omni.types import Audio, Delivery


@dataclass(frozen=True)
class KokoroConfig(Strict):
    kind: Literal["kokoro"] = "kokoro"
    g2p: str = ""


@dataclass(frozen=True)
class CosyVoice2Config(Strict):
    kind: Literal["cosyvoice2"] = "cosyvoice2"
    folder: str = ""
    dtype: Precision = "bfloat16"


SynthesizerConfig = KokoroConfig | CosyVoice2Config


@dataclass(frozen=True)
class SpeakerConfig(Strict):
    name: Literal["cosyvoice2", "embedded"] = "cosyvoice2"
    folder: str = ""
    dtype: Precision = "bfloat16"


class Synthesizer(Protocol):
    hz: int

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]: ...


@dataclass
class Adapter:
    speaker: Any
    hz: int = 24_000

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        return self.speaker.speak(text, delivery.emotion, seed)


def load(config: SynthesizerConfig, device: Any) -> Synthesizer:
    from emotion_omni.synthesis.cosyvoice2 import load_speaker

    if isinstance(config, CosyVoice2Config):
        return Adapter(load_speaker(SpeakerConfig("cosyvoice2", config.folder, config.dtype), device))
    return Adapter(load_speaker(SpeakerConfig("embedded"), device))
