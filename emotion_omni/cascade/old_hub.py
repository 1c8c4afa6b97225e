"""``EMOTION_OMNI_HUB`` as of the last release, for one release more: a preset or a JSON file of the old form.

The old form named its parts transcriber, recogniser, writer and speaker. It is read strictly and converted. Imports no
torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emotion_omni.cascade import presets
from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.recognition.config import (
    Emotion2vecConfig,
    EmotionConfig,
    SpeechEmotionConfig,
    TranscriberConfig,
    TransformersEmotionConfig,
    WhisperHFConfig,
)
from emotion_omni.response.config import PlannerConfig, TransformersResponderConfig
from emotion_omni.strict import Pinned, Precision, Strict, refuse
from emotion_omni.synthesis.config import CosyVoice2Config, KokoroConfig

VARIABLE = "EMOTION_OMNI_HUB"
PRESETS = {"default": "hub", "light": "hub:light"}


@dataclass(frozen=True)
class OldRecogniser(Pinned):
    name: str = Emotion2vecConfig.name
    revision: str = Emotion2vecConfig.revision
    package: Literal["funasr", "transformers", "embedded"] = "funasr"

    def __post_init__(self) -> None:
        super().__post_init__()
        both = (self.name == "embedded") == (self.package == "embedded")
        self._require(both, "package", "'embedded' where the name is 'embedded', and only there")

    def converted(self) -> EmotionConfig:
        if self.package == "embedded":
            return SpeechEmotionConfig()
        if self.package == "transformers":
            return TransformersEmotionConfig(self.name, self.revision)
        return Emotion2vecConfig(self.name, self.revision)


@dataclass(frozen=True)
class OldWriter(Pinned):
    name: str = TransformersResponderConfig.name
    revision: str = TransformersResponderConfig.revision
    dtype: Precision = "bfloat16"
    four_bit: bool = False
    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    longest: int = 120

    def converted(self) -> TransformersResponderConfig:
        return TransformersResponderConfig(
            self.name,
            self.revision,
            dtype=self.dtype,
            four_bit=self.four_bit,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            max_new_tokens=self.longest,
        )


@dataclass(frozen=True)
class OldSpeaker(Strict):
    name: Literal["cosyvoice2", "embedded"] = "cosyvoice2"
    folder: str = ""
    dtype: Precision = "bfloat16"

    def converted(self) -> CosyVoice2Config | KokoroConfig:
        return CosyVoice2Config(folder=self.folder, dtype=self.dtype) if self.name == "cosyvoice2" else KokoroConfig()


@dataclass(frozen=True)
class OldHub(Strict):
    transcriber: TranscriberConfig = TranscriberConfig()
    recogniser: OldRecogniser = OldRecogniser()
    writer: OldWriter = OldWriter()
    speaker: OldSpeaker = OldSpeaker()
    device: str = "auto"

    def converted(self) -> CascadeConfig:
        recognizer = WhisperHFConfig(transcriber=self.transcriber, emotion=self.recogniser.converted())
        responder, synthesizer = self.writer.converted(), self.speaker.converted()
        return CascadeConfig(recognizer, PlannerConfig("guard"), responder, synthesizer, self.device)


def find() -> CascadeConfig:
    """What the variable names, by default the preset ``hub``. Raises :class:`EmotionOmniError` (code ``config``)."""
    name = os.environ.get(VARIABLE) or "default"
    if name in PRESETS:
        return presets.preset(PRESETS[name])
    try:
        return OldHub.from_json(Path(name).read_text(encoding="utf-8")).converted()
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(
            f"{VARIABLE} is {name!r}, which is not a readable file ({error}). Name a JSON file or one of: "
            f"{', '.join(PRESETS)}; or use {presets.VARIABLE}."
        ) from error
