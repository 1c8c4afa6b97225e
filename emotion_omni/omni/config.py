"""The sizes of the end-to-end model: what a checkpoint saves and the model is rebuilt from.

Frozen dataclasses, strict: an unknown key, a wrong type or two settings that contradict each other
are refused by name. Imports no torch and knows no files. Values the paper gives are marked (paper,
with its section), those of its authors' code (code); the others are ours.

Source: Wang et al. 2025, "Empathy Omni", arXiv 2508.18655, called "paper" in this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emotion_omni.strict import Strict, nearest, refuse

PRESETS = ("paper", "small", "tiny")
CODES = {"cosyvoice2": 6561, "units": 1024}  # speech tokens to choose from; CosyVoice2: 3^8, finite scalar quantisation


class _Attentive(Strict):
    """Settings of layers that attend: their heads must divide their width."""

    def _divides(self, width: int, heads: int) -> None:
        fits = width % heads == 0 and width // heads % 2 == 0  # rotary attention turns pairs
        self._require(fits, "heads", f"a divisor of width {width} that leaves each head an even size")


@dataclass(frozen=True)
class EncoderConfig(Strict):
    """A frozen encoder of the query.

    ``name`` is a hub id or a folder, ``embedded`` (the part that the embedded engine has) or ``random``.
    """

    name: str
    width: int
    hz: int = 50  # frames a second

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("width", "hz")


@dataclass(frozen=True)
class LanguageModelConfig(Strict):
    """The language model that answers. ``name`` is a hub id or a folder, ``embedded`` or ``random``, as above."""

    name: str
    width: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("width")


@dataclass(frozen=True)
class LoraSettings(Strict):
    """Low-rank adaptation of the language model (paper, model section: rank; the rest: code)."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("rank", "alpha")
        self._share("dropout")
        self._require(len(self.targets) > 0, "targets", "at least one name of a linear layer")


@dataclass(frozen=True)
class AdapterConfig(Strict):
    """One frame-stacking adapter for each encoder (paper, model section: k = 5; hidden size: code)."""

    stack: int = 5  # frames to a position: 50 Hz becomes 10 Hz
    hidden: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("stack", "hidden")


@dataclass(frozen=True)
class EmotionHeadConfig(_Attentive):
    """The head that plans the emotion of the reply. Depth and width are ours: the paper says "light".

    ``width``, ``layers``, ``heads`` and ``feed_forward`` shape the Transformer of the ``token`` mode;
    ``first_tokens`` is the number of answer states averaged in the ``utterance`` mode (code).
    """

    width: int = 1024
    layers: int = 2
    heads: int = 16
    feed_forward: int = 2816
    hidden: int = 1792  # of the MLP (code)
    dropout: float = 0.1
    first_tokens: int = 5
    squared_weight: float = 0.6  # of the mean squared error (code)
    cosine_weight: float = 0.4  # of 1 - cosine (code)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("width", "layers", "heads", "feed_forward", "hidden", "first_tokens")
        self._share("dropout")
        self._divides(self.width, self.heads)
        weights = self.squared_weight >= 0 and self.cosine_weight >= 0 and self.squared_weight + self.cosine_weight > 0
        self._require(weights, "squared_weight", "0 or more, like cosine_weight, and one of the two above 0")


@dataclass(frozen=True)
class SpeechDecoderConfig(_Attentive):
    """The decoder of speech tokens (paper, model section: six causal blocks at the model's width; the rest: code)."""

    width: int = 3584
    layers: int = 6
    heads: int = 32
    feed_forward: int = 14336
    dropout: float = 0.1
    rotary_base: float = 10_000.0
    adaptive_norm: Literal["once", "per-block"] = "once"
    codes: int = CODES["cosyvoice2"]
    text_chunk: int = 5  # text tokens to wait for before
    speech_chunk: int = 15  # so many speech tokens
    chunked_share: float = 0.5  # of the training samples that see text only as it streams
    extra_predictions: int = 0  # tokens predicted beyond the next, in training
    extra_decay: float = 0.8  # the k-th of them weighs extra_decay^k (VocalNet)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive(
            "width",
            "layers",
            "heads",
            "feed_forward",
            "rotary_base",
            "codes",
            "text_chunk",
            "speech_chunk",
            "extra_decay",
        )
        self._share("dropout", "chunked_share")
        self._divides(self.width, self.heads)
        self._require(self.extra_predictions >= 0, "extra_predictions", "0 or more")

    @property
    def begin(self) -> int:
        """BOS, the id before the text."""
        return self.codes

    @property
    def speak(self) -> int:
        """SOS, the id before the speech."""
        return self.codes + 1

    @property
    def end(self) -> int:
        """EOS, the id after the speech."""
        return self.codes + 2

    @property
    def padding(self) -> int:
        return self.codes + 3

    @property
    def vocabulary(self) -> int:
        return self.codes + 4


@dataclass(frozen=True)
class Sampling(Strict):
    """How speech tokens are drawn. Not part of a checkpoint; the values are CosyVoice2's where it has them.

    ``temperature`` 0 takes the likeliest token. ``repetition_nats`` is what a token's log-probability
    loses when the whole of the last ``repetition_window`` tokens are that one token, and in proportion
    when fewer are. A difference of log-probabilities does not care about the sign of a logit.
    """

    temperature: float = 1.0
    top_k: int = 25
    top_p: float = 0.8
    repetition_nats: float = 0.0
    repetition_window: int = 25  # tokens, one second
    longest_per_text: float = 25.0  # speech tokens for each text token: a second, three times a slow speaker's
    longest_extra: int = 50  # speech tokens on top, two seconds for a sigh or a laugh

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("top_k", "top_p", "repetition_window", "longest_per_text")
        self._share("top_p")
        for name in ("temperature", "repetition_nats", "longest_extra"):
            self._require(getattr(self, name) >= 0, name, "0 or more")


@dataclass(frozen=True)
class OmniConfig(Strict):
    """The whole model. ``fusion`` ``concat`` is the paper's, ``interleave`` the code's; ``emotion_mode`` likewise."""

    semantic: EncoderConfig
    emotion: EncoderConfig
    language_model: LanguageModelConfig
    adapter: AdapterConfig
    lora: LoraSettings
    head: EmotionHeadConfig
    speech: SpeechDecoderConfig
    voice: Literal["cosyvoice2", "units"] = "cosyvoice2"  # whose speech tokens: the paper's, or our small codec's
    fusion: Literal["concat", "interleave"] = "concat"
    emotion_mode: Literal["token", "utterance"] = "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.speech.width != self.language_model.width:
            raise refuse(
                f"speech.width is {self.speech.width} and language_model.width {self.language_model.width}; they must be "
                "equal, for the gate mixes the language model's states into the decoder. Set both to the same number."
            )
        if self.semantic.hz != self.emotion.hz:
            raise refuse(
                f"semantic.hz is {self.semantic.hz} and emotion.hz {self.emotion.hz}; they must be equal, for the two "
                "streams are fused position by position. Choose encoders of one frame rate."
            )

    @classmethod
    def preset(cls, name: str) -> OmniConfig:
        """``paper``: the published system. ``small``: trains on a CPU. ``tiny``: random, for tests."""
        makers = {"paper": _paper, "small": _small, "tiny": _tiny}
        if name not in makers:
            raise refuse(f"Unknown preset {name!r}. Use one of: {', '.join(PRESETS)}.{nearest(name, PRESETS)}")
        return makers[name]()


def _paper() -> OmniConfig:
    """Paper, model section."""
    return OmniConfig(
        semantic=EncoderConfig("openai/whisper-large-v3", 1280),
        emotion=EncoderConfig("iic/emotion2vec_base", 768),
        language_model=LanguageModelConfig("Qwen/Qwen2.5-7B-Instruct", 3584),
        adapter=AdapterConfig(),
        lora=LoraSettings(),
        head=EmotionHeadConfig(),
        speech=SpeechDecoderConfig(),
    )


def _small() -> OmniConfig:
    """Whisper base, the embedded engine's tone encoder on top of it, SmolLM2-135M: what two CPU cores can train."""
    return OmniConfig(
        semantic=EncoderConfig("embedded", 512),
        emotion=EncoderConfig("embedded", 512),
        language_model=LanguageModelConfig("embedded", 576),
        adapter=AdapterConfig(hidden=512),
        lora=LoraSettings(),
        head=EmotionHeadConfig(width=256, layers=2, heads=4, feed_forward=704, hidden=288),
        speech=SpeechDecoderConfig(width=576, layers=3, heads=9, feed_forward=1536, codes=CODES["units"]),
        voice="units",
    )


def _tiny() -> OmniConfig:
    """Random parts that fit a test; it speaks the codes of the small voice, so that its babble can be heard."""
    return OmniConfig(
        semantic=EncoderConfig("random", 24),
        emotion=EncoderConfig("random", 16),
        language_model=LanguageModelConfig("random", 32),
        adapter=AdapterConfig(hidden=32),
        lora=LoraSettings(rank=2, alpha=4, dropout=0.0),
        head=EmotionHeadConfig(width=32, layers=1, heads=2, feed_forward=64, hidden=24, dropout=0.0),
        speech=SpeechDecoderConfig(width=32, layers=2, heads=2, feed_forward=64, dropout=0.0, codes=CODES["units"]),
        voice="units",
    )
