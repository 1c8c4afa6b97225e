"""Settings of the synthesizers. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emotion_omni.strict import Precision, Strict


@dataclass(frozen=True)
class KokoroConfig(Strict):
    """Kokoro-82M on the CPU. ``voice``: the one that speaks where a delivery chooses none.

    ``g2p``: a ``g2p.safetensors``; empty for the one that comes with the package.
    """

    kind: Literal["kokoro"] = "kokoro"
    voice: Literal["af_bella", "af_heart", "af_jessica", "af_nicole"] = "af_heart"
    g2p: str = ""


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
