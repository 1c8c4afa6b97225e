"""Settings of the synthesizers. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emotion_omni.strict import Precision, Strict
from emotion_omni.weights import KOKORO_VOICES, MENU_VOICES

_KINDS = {"f": "a woman", "m": "a man"}
VOICE_MENU = {name: f"{name[3:].capitalize()}, {_KINDS[name[1]]}" for name in MENU_VOICES}  # name → what people read


@dataclass(frozen=True)
class KokoroConfig(Strict):
    """Kokoro-82M on the CPU. ``voice``: the one that speaks where a delivery chooses none, any of Kokoro's.

    ``level``: whether an emotion also makes the voice louder or softer. ``g2p``: a ``g2p.safetensors``; empty for the
    one that comes with the package. ``prosody``, ``directions``: a ``prosody.json`` and its
    ``kokoro_directions.safetensors``, likewise.
    """

    kind: Literal["kokoro"] = "kokoro"
    voice: str = "af_heart"
    level: bool = False
    g2p: str = ""
    prosody: str = ""
    directions: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.voice in KOKORO_VOICES, "voice", f"one of {', '.join(KOKORO_VOICES)}")


@dataclass(frozen=True)
class CosyVoice2Config(Strict):
    """CosyVoice2 from ``folder``, which ``python -m emotion_omni convert cosyvoice2`` makes once.

    An empty ``folder`` is the one that ``EMOTION_OMNI_COSYVOICE`` names, else ``cosyvoice2`` in the cache of weights.
    ``dtype``: of the language model on a GPU; flow and vocoder stay in float32.
    """

    kind: Literal["cosyvoice2"] = "cosyvoice2"
    folder: str = ""
    dtype: Precision = "bfloat16"


SynthesizerConfig = KokoroConfig | CosyVoice2Config
