"""Settings of the recognizers. Imports no torch.

Revisions are commits, so that the same settings are the same weights next year.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from emotion_omni.strict import Pinned, Precision, Strict
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True)
class WhisperCT2Config(Strict):
    """Whisper base on the CPU, one encoder pass for words and emotion.

    ``weights``: a ``speech_emotion.safetensors``; empty for the one that comes with the package.
    """

    kind: Literal["whisper-ct2"] = "whisper-ct2"
    weights: str = ""


@dataclass(frozen=True)
class TranscriberConfig(Pinned):
    """What was said: any Whisper of transformers. ``language``: code of the spoken language, e.g. ``en``."""

    name: str = "openai/whisper-large-v3"
    revision: str = "06f233fe06e710322aca913c1bc4249a0d71fce1"
    dtype: Precision = "float16"
    language: str = "en"


@dataclass(frozen=True)
class Emotion2vecConfig(Pinned):
    """How it was said: an emotion2vec+ with its head, read with the package funasr."""

    name: str = "emotion2vec/emotion2vec_plus_large"
    revision: str = "6c303ba987b86b93193de93e34bb2b077a6bedc4"
    kind: Literal["emotion2vec"] = "emotion2vec"

    def check_package(self) -> None:
        """Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        if importlib.util.find_spec("funasr") is None:
            raise EmotionOmniError(
                f"{self.name!r} needs the package funasr, which is not installed. Run: pip install funasr; or set "
                "recognizer.emotion to a model of transformers, or to speech-emotion.",
                "missing-package",
            )


@dataclass(frozen=True)
class TransformersEmotionConfig(Strict):
    """How it was said: any audio classification model whose labels :func:`emotion_omni.emotion.find` knows."""

    name: str
    revision: str = ""
    kind: Literal["transformers"] = "transformers"


@dataclass(frozen=True)
class SpeechEmotionConfig(Strict):
    """How it was said: our head on Whisper base, on the CPU. ``weights``: as of :class:`WhisperCT2Config`."""

    kind: Literal["speech-emotion"] = "speech-emotion"
    weights: str = ""


EmotionConfig = Emotion2vecConfig | TransformersEmotionConfig | SpeechEmotionConfig


@dataclass(frozen=True)
class WhisperHFConfig(Strict):
    """A Whisper of transformers for the words, any classifier for the emotion."""

    kind: Literal["whisper-hf"] = "whisper-hf"
    transcriber: TranscriberConfig = TranscriberConfig()
    emotion: EmotionConfig = Emotion2vecConfig()

    def check_package(self) -> None:
        """Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        if isinstance(self.emotion, Emotion2vecConfig):
            self.emotion.check_package()


RecognizerConfig = WhisperCT2Config | WhisperHFConfig
