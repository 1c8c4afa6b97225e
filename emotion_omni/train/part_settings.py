"""How each small part of the embedded engine is trained: every setting, with its default.

Each field is an option of ``python -m emotion_omni train PART``. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from emotion_omni.strict import Strict
from emotion_omni.train.settings import setting


@dataclass(frozen=True)
class RecognizerSettings(Strict):
    decay: float = setting(0.35, "weight of |W|²/2 beside the mean loss")
    examples_each: int = setting(4, "examples of a clip, each with other earlier turns")
    iterations: int = setting(30, "of L-BFGS")
    seed: int = setting(0, "of the choice of earlier turns")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("decay", "examples_each", "iterations")


@dataclass(frozen=True)
class ProsodySettings(Strict):
    rounds: int = setting(4, "of sampling; each samples around what the one before found")
    samples: int = setting(400, "clips a round, about two seconds each")
    decay: float = setting(30.0, "of the ridge regression")
    steps: int = setting(700, "of the optimizer on the surface")
    restraint: float = setting(0.05, "weight of the squared distance from the voice as it is")
    own_mixture: float = setting(0.5, "share of the voice's own emotions in what a clip is judged against")
    least_alike: float = setting(0.87, "likeness to the neutral voice below which it counts as another one")
    most_loss: float = setting(0.1, "of the opinion score, that costs nothing")
    seed: int = setting(0, "of the samples")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("rounds", "samples", "decay", "steps", "restraint")
        self._share("own_mixture", "least_alike")


@dataclass(frozen=True)
class Qwen2ResponderSettings(Strict):
    rank: int = setting(14, "of LoRA")
    alpha: int = setting(28, "of LoRA; the adaptation is scaled by alpha / rank")
    first_layer: int = setting(14, "of 28 that is adapted; those below stay as they are")
    learning_rate: float = setting(2.5e-4, "peak learning rate")
    epochs: int = setting(2, "passes over the exchanges")
    batch_size: int = setting(16, "conversations per step")
    max_seconds: float = setting(1e9, "training ends early after this time; the learning rate falls accordingly")
    seed: int = setting(0, "of weights, notes and order")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("rank", "alpha", "first_layer", "learning_rate", "epochs", "batch_size", "max_seconds")


@dataclass(frozen=True)
class ResponderSettings(Strict):
    rank: int = setting(16, "of LoRA")
    alpha: int = setting(32, "of LoRA; the adaptation is scaled by alpha / rank")
    dropout: float = setting(0.0, "of LoRA")
    learning_rate: float = setting(1e-3, "peak learning rate; 5 % warm-up, cosine decay to a tenth")
    epochs: int = setting(2, "passes over the corpus")
    batch_size: int = setting(16, "replies per step")
    validation_ratio: float = setting(0.04, "share of the texts used for validation; no text is in both splits")
    max_seconds: float = setting(1e9, "an epoch ends early after this time")
    seed: int = setting(0, "of weights and order")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("rank", "alpha", "learning_rate", "epochs", "batch_size", "max_seconds")
        self._share("dropout", "validation_ratio")


@dataclass(frozen=True)
class RerankerSettings(Strict):
    learning_rate: float = setting(1e-3, "peak learning rate, one cycle")
    weight_decay: float = setting(1.0, "of AdamW")
    epochs: int = setting(8, "passes over the situations")
    batch_size: int = setting(64, "situations per step, each with its right and wrong replies")
    random_each: int = setting(3, "wrong replies at random, for each situation")
    near_each: int = setting(3, "wrong replies to something similar, for each situation")
    damaged_each: int = setting(1, "damaged replies, for each situation")
    seed: int = setting(0, "of weights, order and wrong replies")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("learning_rate", "epochs", "batch_size", "random_each", "near_each", "damaged_each")


@dataclass(frozen=True)
class GuardSettings(Strict):
    epochs: int = setting(3, "of the head for the user's words and the encoder layers below it")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("epochs")


@dataclass(frozen=True)
class CrisisSettings(Strict):
    epochs: int = setting(3, "passes over all examples")
    learning_rate: float = setting(1e-4, "peak, of the encoder's layers")
    comment_count: int = setting(2500, "comments of GoEmotions")
    bf16: bool = setting(False, "mixed precision: faster on processors with bfloat16 instructions")
    false_alarms: float = setting(0.015, "share of the look-alikes for development that may raise an alarm")
    everyday_alarms: float = setting(0.002, "share of everyday words for development that may")
    seed: int = setting(0, "of the choice of ordinary texts")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("epochs", "learning_rate", "comment_count")
        self._share("false_alarms", "everyday_alarms")


@dataclass(frozen=True)
class CriticSettings(Strict):
    learning_rate: float = setting(2e-3, "peak learning rate, one cycle")
    epochs: int = setting(8, "passes over the pairs")
    examples: int = setting(4000, "of each corpus, each with its right and two wrong replies in a draw")
    draws: int = setting(3, "of wrong replies for each example")
    batch_size: int = setting(256, "pairs per step")
    report: int = setting(400, "examples of each corpus in the report")
    seed: int = setting(0, "of weights, order and wrong replies")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("learning_rate", "epochs", "examples", "draws", "batch_size", "report")


@dataclass(frozen=True)
class G2PSettings(Strict):
    epochs: int = setting(8, "passes over the lexicon")
    seed: int = setting(0, "of weights and order")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("epochs")


@dataclass(frozen=True)
class CodecSettings(Strict):
    sentences: int = setting(632, "recordings, including those for validation")
    validation_sentences: int = setting(40, "of them, for validation")
    max_steps: int = setting(1000, "training steps, about a second each")
    batch_size: int = setting(12, "excerpts per step")
    excerpt_tokens: int = setting(40, "length of a training excerpt; 40 tokens are 1.6 s")
    learning_rate: float = setting(1.5e-3, "peak learning rate; 5 % warm-up, cosine decay to zero")
    seed: int = setting(0, "of weights and excerpts")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("validation_sentences", "batch_size", "excerpt_tokens", "learning_rate")
        more = f"greater than the {self.validation_sentences} sentences for validation"
        self._require(self.sentences > self.validation_sentences, "sentences", more)
        self._require(self.max_steps >= 10, "max_steps", "10 or more")
