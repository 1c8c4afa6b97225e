"""The sizes of the end-to-end model: a checkpoint saves them, and the model is rebuilt from them.

Strict frozen dataclasses: an unknown key, a wrong type or contradictory settings are refused by name.
Imports no torch and reads no files. Values from the paper are marked (paper, with the section), those
from its authors' code (code); the others are ours.

Source: Wang et al. 2025, "Empathy Omni", arXiv 2508.18655, called "paper" in this package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, Self

from emotion_omni.recognition.config import TranscriberConfig
from emotion_omni.response.config import TransformersResponderConfig
from emotion_omni.strict import Pinned, Strict, nearest, refuse

PRESETS = ("paper", "small", "tiny")
CODEBOOK_SIZES = {"cosyvoice2": 6561, "codec": 1024}  # CosyVoice2: 3^8, finite scalar quantization
RENAMED = {  # settings of release 0.1.0 → their names today
    "lora": {"targets": "target_modules"},
    "head": {"squared_weight": "mse_weight"},
    "speech": {
        "rotary_base": "rope_theta",
        "codes": "codebook_size",
        "chunked_share": "chunked_probability",
        "extra_predictions": "mtp_layers",
        "extra_decay": "mtp_decay",
    },
}


class _AttentionConfig(Strict):
    """Settings of attention layers: the number of heads must divide the width."""

    def _check_heads(self, width: int, heads: int) -> None:
        fits = width % heads == 0 and width // heads % 2 == 0  # rotary embeddings rotate pairs
        self._require(fits, "heads", f"a divisor of width {width} with an even head size")


@dataclass(frozen=True)
class EncoderConfig(Strict):
    """A frozen encoder of the query.

    ``name`` is a hub id (``id@revision`` pins it), a folder, ``embedded`` (the encoder of the embedded
    preset) or ``random``.
    """

    name: str
    width: int
    hz: int = 50  # frames a second

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("width", "hz")


@dataclass(frozen=True)
class LanguageModelConfig(Strict):
    """The language model that answers. ``name``: as in :class:`EncoderConfig`."""

    name: str
    width: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("width")


@dataclass(frozen=True)
class LoraConfig(Strict):
    """Low-rank adaptation of the language model (paper, model section: rank; the rest: code)."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("rank", "alpha")
        self._share("dropout")
        self._require(len(self.target_modules) > 0, "target_modules", "at least one name of a linear layer")


@dataclass(frozen=True)
class AdapterConfig(Strict):
    """A frame-stacking adapter for each encoder (paper, model section: k = 5; hidden size: code)."""

    stack: int = 5  # frames per position: 50 Hz becomes 10 Hz
    hidden: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("stack", "hidden")


@dataclass(frozen=True)
class EmotionHeadConfig(_AttentionConfig):
    """The head that plans the emotion of the reply. Depth and width are ours: the paper only says "light".

    ``width``, ``layers``, ``heads`` and ``feed_forward`` size the Transformer of the ``token`` mode;
    ``first_tokens`` is the number of hidden states averaged in the ``utterance`` mode (code).
    """

    width: int = 1024
    layers: int = 2
    heads: int = 16
    feed_forward: int = 2816
    hidden: int = 1792  # of the MLP (code)
    dropout: float = 0.1
    first_tokens: int = 5
    mse_weight: float = 0.6  # of the mean squared error (code)
    cosine_weight: float = 0.4  # of 1 - cosine (code)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("width", "layers", "heads", "feed_forward", "hidden", "first_tokens")
        self._share("dropout")
        self._check_heads(self.width, self.heads)
        weights = self.mse_weight >= 0 and self.cosine_weight >= 0 and self.mse_weight + self.cosine_weight > 0
        self._require(weights, "mse_weight", "0 or more, like cosine_weight, and one of the two above 0")


@dataclass(frozen=True)
class SpeechDecoderConfig(_AttentionConfig):
    """The decoder of speech tokens (paper, model section: six causal blocks at the model's width; the rest: code)."""

    width: int = 3584
    layers: int = 6
    heads: int = 32
    feed_forward: int = 14336
    dropout: float = 0.1
    rope_theta: float = 10_000.0
    adaptive_norm: Literal["once", "per-block"] = "once"
    codebook_size: int = CODEBOOK_SIZES["cosyvoice2"]
    text_chunk: int = 5  # text tokens that the decoder waits for ...
    speech_chunk: int = 15  # ... before it generates this many speech tokens
    chunked_probability: float = 0.5  # that a training sample sees its text only as it would stream in
    mtp_layers: int = 0  # multi-token prediction: tokens predicted beyond the next one, in training only
    mtp_decay: float = 0.8  # loss weight of the k-th of them: mtp_decay^k (VocalNet)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive(
            "width",
            "layers",
            "heads",
            "feed_forward",
            "rope_theta",
            "codebook_size",
            "text_chunk",
            "speech_chunk",
            "mtp_decay",
        )
        self._share("dropout", "chunked_probability")
        self._check_heads(self.width, self.heads)
        self._require(self.mtp_layers >= 0, "mtp_layers", "0 or more")

    @property
    def bos_token_id(self) -> int:
        """Stands before the text."""
        return self.codebook_size

    @property
    def sos_token_id(self) -> int:
        """Start of speech: stands between text and speech."""
        return self.codebook_size + 1

    @property
    def eos_token_id(self) -> int:
        """Ends the speech."""
        return self.codebook_size + 2

    @property
    def pad_token_id(self) -> int:
        return self.codebook_size + 3

    @property
    def vocab_size(self) -> int:
        return self.codebook_size + 4


@dataclass(frozen=True)
class TextSampling(Strict):
    """How text tokens are sampled; the values are those published with Qwen2.5-Instruct. ``temperature`` 0: greedy."""

    temperature: float = 0.7
    top_k: int = 20
    top_p: float = 0.8
    max_new_tokens: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("top_k", "top_p", "max_new_tokens")
        self._share("top_p")
        self._require(self.temperature >= 0, "temperature", "0 or more")


@dataclass(frozen=True)
class SpeechSampling(Strict):
    """How speech tokens are sampled. Not part of a checkpoint; the values are CosyVoice2's where it has them.

    ``temperature`` 0 is greedy. ``frequency_penalty`` (nats) is subtracted from the log-probability of a token
    that fills the whole of the last ``frequency_window`` tokens, and in proportion where it fills less of them.
    Unlike a factor, a difference of log-probabilities has the same effect on logits of either sign.
    """

    temperature: float = 1.0
    top_k: int = 25
    top_p: float = 0.8
    frequency_penalty: float = 0.0
    frequency_window: int = 25  # tokens, one second
    max_tokens_per_text_token: float = 25.0  # one second, three times what a slow speaker takes
    max_extra_tokens: int = 50  # on top of that: two seconds for a sigh or a laugh

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("top_k", "top_p", "frequency_window", "max_tokens_per_text_token")
        self._share("top_p")
        for name in ("temperature", "frequency_penalty", "max_extra_tokens"):
            self._require(getattr(self, name) >= 0, name, "0 or more")


@dataclass(frozen=True)
class OmniConfig(Strict):
    """The whole model. The paper has ``fusion`` ``concat`` and ``emotion_mode`` ``token``; its code ``interleave`` and
    ``utterance``."""

    semantic: EncoderConfig
    emotion: EncoderConfig
    language_model: LanguageModelConfig
    adapter: AdapterConfig
    lora: LoraConfig
    head: EmotionHeadConfig
    speech: SpeechDecoderConfig
    voice: Literal["cosyvoice2", "codec"] = "cosyvoice2"  # whose speech tokens: the paper's, or our small codec's
    fusion: Literal["concat", "interleave"] = "concat"
    emotion_mode: Literal["token", "utterance"] = "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.speech.width != self.language_model.width:
            raise refuse(
                f"speech.width is {self.speech.width} and language_model.width {self.language_model.width}; they must "
                "be equal, because the gate mixes the language model's hidden states into the decoder. Set both to one "
                "number."
            )
        if self.semantic.hz != self.emotion.hz:
            raise refuse(
                f"semantic.hz is {self.semantic.hz} and emotion.hz {self.emotion.hz}; they must be equal, because the "
                "two streams are fused position by position. Choose encoders of one frame rate."
            )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """As in :class:`Strict`; a file of release 0.1.0 may use that release's names (:data:`RENAMED`)."""
        return super().from_json(_with_current_names(text))

    @classmethod
    def preset(cls, name: str) -> OmniConfig:
        """``paper``: the published system. ``small``: trains on a CPU. ``tiny``: random, for tests."""
        makers = {"paper": _paper, "small": _small, "tiny": _tiny}
        if name not in makers:
            raise refuse(f"Unknown preset {name!r}. Use one of: {', '.join(PRESETS)}.{nearest(name, PRESETS)}")
        return makers[name]()


def _with_current_names(text: str) -> str:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError:
        return text  # Strict.from_json says what is wrong with it
    for section, names in RENAMED.items():
        if isinstance(settings, dict) and isinstance(settings.get(section), dict):
            settings[section] = {names.get(name, name): value for name, value in settings[section].items()}
    if isinstance(settings, dict) and settings.get("voice") == "units":
        settings["voice"] = "codec"
    return json.dumps(settings)


def _pinned(model: Pinned) -> str:
    return f"{model.name}@{model.revision}"


def _paper() -> OmniConfig:
    """Paper, model section. Whisper large-v3 and Qwen2.5-7B-Instruct at the commits of the cascade's preset ``hub``."""
    return OmniConfig(
        semantic=EncoderConfig(_pinned(TranscriberConfig()), 1280),
        emotion=EncoderConfig("iic/emotion2vec_base", 768),
        language_model=LanguageModelConfig(_pinned(TransformersResponderConfig()), 3584),
        adapter=AdapterConfig(),
        lora=LoraConfig(),
        head=EmotionHeadConfig(),
        speech=SpeechDecoderConfig(),
    )


def _small() -> OmniConfig:
    """Whisper base, our speech emotion encoder on top of it, SmolLM2-135M: trains on two CPU cores."""
    return OmniConfig(
        semantic=EncoderConfig("embedded", 512),
        emotion=EncoderConfig("embedded", 512),
        language_model=LanguageModelConfig("embedded", 576),
        adapter=AdapterConfig(hidden=512),
        lora=LoraConfig(),
        head=EmotionHeadConfig(width=256, layers=2, heads=4, feed_forward=704, hidden=288),
        speech=SpeechDecoderConfig(
            width=576, layers=3, heads=9, feed_forward=1536, codebook_size=CODEBOOK_SIZES["codec"]
        ),
        voice="codec",
    )


def _tiny() -> OmniConfig:
    """Random parts for tests; its codebook is that of our codec, so that its babble can be played."""
    return OmniConfig(
        semantic=EncoderConfig("random", 24),
        emotion=EncoderConfig("random", 16),
        language_model=LanguageModelConfig("random", 32),
        adapter=AdapterConfig(hidden=32),
        lora=LoraConfig(rank=2, alpha=4, dropout=0.0),
        head=EmotionHeadConfig(width=32, layers=1, heads=2, feed_forward=64, hidden=24, dropout=0.0),
        speech=SpeechDecoderConfig(
            width=32, layers=2, heads=2, feed_forward=64, dropout=0.0, codebook_size=CODEBOOK_SIZES["codec"]
        ),
        voice="codec",
    )
