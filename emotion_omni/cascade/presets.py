"""Which models hear, answer and speak, by Hugging Face id, and where they run. Imports no torch.

``EMOTION_OMNI_HUB`` names a preset or a JSON file such as :meth:`HubConfig.to_json` writes. A ``name`` is
a hub id or a folder; ``embedded`` is the embedded engine's part, which wants no GPU and no hub.
Revisions are commits, so that the same settings are the same weights next year; an empty one is the newest.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emotion_omni.strict import Strict, nearest, refuse
from emotion_omni.types import EmotionOmniError

PRESETS = ("default", "light")
VARIABLE = "EMOTION_OMNI_HUB"
Precision = Literal["float32", "float16", "bfloat16"]


class Pinned(Strict):
    """A model at a commit. Another name with the default's commit left beside it means the newest: no other repository has that commit."""

    name: str
    revision: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name != type(self).name and self.revision == type(self).revision:
            object.__setattr__(self, "revision", "")


@dataclass(frozen=True)
class TranscriberConfig(Pinned):
    """What was said: any Whisper of transformers. ``language``: its code for what is spoken, as ``en``."""

    name: str = "openai/whisper-large-v3"
    revision: str = "06f233fe06e710322aca913c1bc4249a0d71fce1"
    dtype: Precision = "float16"
    language: str = "en"


@dataclass(frozen=True)
class RecogniserConfig(Pinned):
    """How it was said. ``package``: who can read it: ``funasr`` (emotion2vec), ``transformers`` (any audio
    classification model whose labels :func:`emotion_omni.emotion.find` knows) or ``embedded`` (our tone head)."""

    name: str = "emotion2vec/emotion2vec_plus_large"
    revision: str = "6c303ba987b86b93193de93e34bb2b077a6bedc4"
    package: Literal["funasr", "transformers", "embedded"] = "funasr"

    def __post_init__(self) -> None:
        super().__post_init__()
        both = (self.name == "embedded") == (self.package == "embedded")
        self._require(both, "package", "'embedded' where the name is 'embedded', and only there")

    def check_package(self) -> None:
        """Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        if self.package == "funasr" and not _installed("funasr"):
            raise EmotionOmniError(
                f"{self.name!r} is read by the package funasr, which is not installed. Run: pip install funasr; or set recogniser to a "
                "model of transformers, or to embedded.",
                "missing-package",
            )


@dataclass(frozen=True)
class WriterConfig(Pinned):
    """Who answers: any causal language model of transformers with a chat template.

    ``four_bit`` keeps its weights in NF4 (Dettmers et al. 2023, "QLoRA"): a quarter of the memory, on a GPU only.
    ``temperature`` 0 always takes the likeliest token; the other values are Qwen2.5's own.
    """

    name: str = "Qwen/Qwen2.5-7B-Instruct"
    revision: str = "a09a35458c702b33eeacc393d103063234e8bc28"
    dtype: Precision = "bfloat16"
    four_bit: bool = False
    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    longest: int = 120  # tokens of a reply, about six spoken sentences

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("top_p", "top_k", "longest")
        self._share("top_p")
        self._require(self.temperature >= 0, "temperature", "0 or more")

    def check_package(self) -> None:
        """Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        if self.four_bit and not _installed("bitsandbytes"):
            raise EmotionOmniError(
                f"{self.name!r} needs a package that is not installed: with writer.four_bit it is bitsandbytes. Run: pip install "
                "bitsandbytes; or set four_bit to false.",
                "missing-package",
            )


@dataclass(frozen=True)
class SpeakerConfig(Strict):
    """Whose voice: ``embedded`` (Kokoro) or ``cosyvoice2`` from ``folder``, made once by ``python -m emotion_omni convert cosyvoice2``.

    An empty ``folder`` is the one that ``EMOTION_OMNI_COSYVOICE`` names, else ``cosyvoice2`` in the cache of weights.
    """

    name: Literal["cosyvoice2", "embedded"] = "cosyvoice2"
    folder: str = ""
    dtype: Precision = "bfloat16"  # of the language model; flow and vocoder stay in float32


@dataclass(frozen=True)
class HubConfig(Strict):
    """The whole engine. ``device``: ``auto`` takes the first GPU if there is one, else say ``cuda``, ``cuda:1``, ``cpu``."""

    transcriber: TranscriberConfig = TranscriberConfig()
    recogniser: RecogniserConfig = RecogniserConfig()
    writer: WriterConfig = WriterConfig()
    speaker: SpeakerConfig = SpeakerConfig()
    device: str = "auto"

    def check_packages(self) -> None:
        """Before gigabytes are loaded in vain. Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        self.recogniser.check_package()
        self.writer.check_package()

    @classmethod
    def preset(cls, name: str) -> HubConfig:
        """``default``: about 22 GB of GPU memory. ``light``: fits 8 GB, and needs nothing prepared."""
        if name not in PRESETS:
            raise refuse(f"Unknown preset {name!r}. Use one of: {', '.join(PRESETS)}.{nearest(name, PRESETS)}")
        return cls() if name == "default" else _light()

    @classmethod
    def find(cls) -> HubConfig:
        """The preset or file that ``EMOTION_OMNI_HUB`` names; without it the default. Raises (code ``config``)."""
        name = os.environ.get(VARIABLE, "default")
        if name in PRESETS:
            return cls.preset(name)
        try:
            return cls.from_json(Path(name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise refuse(
                f"{VARIABLE} is {name!r}, which is no readable file ({error}). Name a JSON file or one of: {', '.join(PRESETS)}."
            ) from error


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _light() -> HubConfig:
    """Smaller models of the same kinds, under licences as free (Qwen2.5-3B's is not); tone and voice run on the CPU."""
    return HubConfig(
        TranscriberConfig("openai/whisper-large-v3-turbo", "41f01f3fe87f28c78e2fbf8b568835947dd65ed9"),
        RecogniserConfig("embedded", "", "embedded"),
        WriterConfig("Qwen/Qwen2.5-1.5B-Instruct", "989aa7980e4cf806f80c7fef2b1adb7bc71aa306"),
        SpeakerConfig("embedded"),
    )
