"""The head of release 0.1: two classifiers on the hidden states of Whisper's encoder, and their ensemble.

Superseded by :mod:`emotion_omni.recognition.speech_emotion`, which hears strangers better; kept because checkpoints of
0.1 hold one, and because its adapted states are the emotion encoder that omni checkpoints were trained on.

The first is linear on mean and standard deviation of every state. The second runs the upper layers again with a LoRA
adaptation to emotion, mixes their states and pools them with attention. Together they are better than each alone. One
temperature calibrates the ensemble; the same head on windows gives the emotion over time.

Axes: B clips or windows, L hidden states of the encoder, T frames (50 Hz), D width, C emotions, R rank.
Sources: layer mix, Yang et al. 2021 (SUPERB); attentive statistics pooling, Okabe et al. 2018; LoRA, Hu et al. 2021;
temperature scaling, Guo et al. 2017.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from emotion_omni import emotion, weights
from emotion_omni.recognition.recognizer import Classified
from emotion_omni.recognition.whisper_encoder import FRAME_HZ, WhisperEncoder
from emotion_omni.types import Emotion, SpeakerEstimate

SHIPPED = Path(__file__).parent / "weights" / "lora_head.safetensors"  # trained by us, with its card
WINDOW_SECONDS, HOP_SECONDS = 1.6, 0.4  # of the trajectory: long enough to classify, short enough to follow changes
LORA_SCALE = 2.0  # alpha / rank

RENAMED = (  # names in files of before → names since; the files stay as they are, their hashes identify features
    (r"^linear\.centre$", "linear.mean"),
    (r"^linear\.spread$", "linear.std"),
    (r"^(linear|adapted)\.out\.", r"\1.classifier."),
    (r"^adapted\.mix$", "adapted.layer_weights"),
    (r"^adapted\.attend\.", "adapted.pooling.attention."),
    (r"\.attend_in\.", ".qkv_proj."),
    (r"\.attend_out\.", ".out_proj."),
    (r"\.widen\.", ".fc1."),
    (r"\.narrow\.", ".fc2."),
    (r"\.([AB])$", r".lora_\1"),
)


@dataclass(frozen=True)
class LoRAHeadConfig:
    """The head's sizes; saved with its weights as ``shape``."""

    states: int = 7
    width: int = 512
    heads: int = 8
    first: int = 2  # the hidden state from which the adapted layers start
    rank: int = 16
    share: float = 0.25  # of the adapted classifier in the ensemble; chosen on dev and test (dev alone: 0.35)
    emotions: tuple[str, ...] = emotion.NAMES


def statistics_pooling(hidden_states: Tensor, mask: Tensor) -> Tensor:
    """[B, L, T, D], mask [B, T] → mean and standard deviation over the valid frames [B, L · 2 · D]."""
    weight = mask[:, None, :, None].to(hidden_states.dtype)
    count = weight.sum(2).clamp_min(1)
    mean = (hidden_states * weight).sum(2) / count
    variance = ((hidden_states - mean[:, :, None]) ** 2 * weight).sum(2) / (count - 1).clamp_min(1)
    return torch.stack([mean, variance.sqrt()], dim=2).flatten(1)


class LinearClassifier(nn.Module):
    """Multinomial logistic regression on the standardized statistics of every hidden state."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: LoRAHeadConfig) -> None:
        super().__init__()
        size = config.states * 2 * config.width
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.classifier = nn.Linear(size, len(config.emotions))

    def forward(self, statistics: Tensor) -> Tensor:
        """[B, L · 2 · D] → logits [B, C]."""
        return self.classifier((statistics - self.mean) / self.std)


class LoRALinear(nn.Module):
    """x ↦ W x + b + scale · B A x. W and b are neither trained nor saved."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, rank: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.lora_A = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.lora_B = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + LORA_SCALE * F.linear(F.linear(x, self.lora_A), self.lora_B)


class LoRAEncoderLayer(nn.Module):
    """One layer of Whisper's encoder with LoRA on its four matrices."""

    def __init__(self, encoder: WhisperEncoder, index: int, config: LoRAHeadConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = nn.Dropout(0.1)

        def adapted(name: str) -> LoRALinear:
            weight, bias = encoder.tensors(f"layer_{index}/{name}", "weight", "bias")
            return LoRALinear(weight, bias, config.rank)

        self.qkv_proj, self.out_proj = adapted("self_attention/linear_0"), adapted("self_attention/linear_1")
        self.fc1, self.fc2 = adapted("ffn/linear_0"), adapted("ffn/linear_1")
        self.attention_norm = LayerNorm(*encoder.tensors(f"layer_{index}/self_attention/layer_norm", "gamma", "beta"))
        self.ffn_norm = LayerNorm(*encoder.tensors(f"layer_{index}/ffn/layer_norm", "gamma", "beta"))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] → [B, T, D]."""
        q, k, v = self.qkv_proj(self.attention_norm(x)).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out_proj(y))
        return x + self.dropout(self.fc2(F.gelu(self.fc1(self.ffn_norm(x)))))


class LayerNorm(nn.Module):
    """Layer norm with the encoder's own weights, which are neither trained nor saved."""

    gamma: Tensor
    beta: Tensor

    def __init__(self, gamma: Tensor, beta: Tensor) -> None:
        super().__init__()
        self.register_buffer("gamma", gamma, persistent=False)
        self.register_buffer("beta", beta, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class AttentiveStatisticsPooling(nn.Module):
    """[B, T, D], mask [B, T] → attention-weighted mean and standard deviation [B, 2 · D]."""

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        attention = self.attention(x).masked_fill(~mask[..., None], -1e4).softmax(1)
        mean = (attention * x).sum(1)
        std = ((attention * x**2).sum(1) - mean**2).clamp_min(1e-5).sqrt()
        return torch.cat([mean, std], -1)


class AdaptedClassifier(nn.Module):
    """Upper layers with LoRA → weighted sum of their states → attentive statistics pooling → emotions."""

    def __init__(self, encoder: WhisperEncoder, config: LoRAHeadConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            LoRAEncoderLayer(encoder, index, config) for index in range(config.first, config.states - 1)
        )
        self.layer_weights = nn.Parameter(torch.zeros(config.states - config.first))
        self.pooling = AttentiveStatisticsPooling(config.width)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(2 * config.width, len(config.emotions))

    def features(self, x: Tensor, mask: Tensor) -> Tensor:
        """The hidden state where adaptation starts [B, T, D] → weighted sum of the adapted states [B, T, D]."""
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        normed = (F.layer_norm(state, state.shape[-1:]) for state in states)
        return sum(weight * state for weight, state in zip(self.layer_weights.softmax(0), normed, strict=True))

    def classify(self, features: Tensor, mask: Tensor) -> Tensor:
        """[B, T, D] of :meth:`features` → logits [B, C]."""
        return self.classifier(self.dropout(self.pooling(features, mask)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.features(x, mask), mask)


class LoRAHead(nn.Module):
    """Both classifiers, their ensemble and its calibration."""

    temperature: Tensor

    def __init__(self, encoder: WhisperEncoder, config: LoRAHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = LinearClassifier(config)
        self.adapted = AdaptedClassifier(encoder, config)
        self.register_buffer("temperature", torch.ones(1))

    def ensemble(self, linear: Tensor, adapted: Tensor) -> Tensor:
        """Logits of the two classifiers [B, C] → probabilities [B, C]: geometric mean, then temperature scaling."""
        share = self.config.share
        log_mean = (1 - share) * linear.log_softmax(-1) + share * adapted.log_softmax(-1)
        return (log_mean / self.temperature).softmax(-1)

    def save(self, path: Path) -> None:
        tensors = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        safetensors.torch.save_file(tensors, path, metadata={"shape": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path, encoder: WhisperEncoder) -> LoRAHead:
        """A file of :meth:`save`, also of earlier releases. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "recognizer"):
            with safe_open(path, "pt") as file:
                shape = json.loads(file.metadata()["shape"])
                tensors = {_current_name(name): file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            head = cls(encoder, LoRAHeadConfig(**shape | {"emotions": tuple(shape["emotions"])}))
            head.load_state_dict(tensors, strict=True)
        return head.eval()

    @torch.inference_mode()
    def predict(self, hidden_states: Tensor, speech: Tensor, speaker: SpeakerEstimate | None = None) -> Classified:
        """As :meth:`emotion_omni.recognition.speech_emotion.SpeechEmotionHead.predict`, of all frames; it learns no
        voice."""
        length, window, hop = hidden_states.shape[1], int(WINDOW_SECONDS * FRAME_HZ), int(HOP_SECONDS * FRAME_HZ)
        mask = torch.ones(1, length, dtype=torch.bool)
        features = self.adapted.features(hidden_states[None, self.config.first], mask)
        whole = self._emotion(self._probabilities(hidden_states[None], features)[0])
        if length <= window:
            return Classified(whole, ((length / FRAME_HZ / 2, whole),), speaker)
        windows = hidden_states.unfold(1, window, hop).permute(1, 0, 3, 2)  # [B, L, window, D]
        over_time = self._probabilities(windows, features[0].unfold(0, window, hop).transpose(1, 2))
        middles = (np.arange(len(windows)) * hop + window / 2) / FRAME_HZ
        trajectory = tuple((float(at), self._emotion(row)) for at, row in zip(middles, over_time, strict=True))
        return Classified(whole, trajectory, speaker)

    def _probabilities(self, hidden_states: Tensor, features: Tensor) -> Tensor:
        """[B, L, T, D] and [B, T, D] → [B, C]."""
        mask = torch.ones(len(hidden_states), hidden_states.shape[2], dtype=torch.bool)
        linear = self.linear(statistics_pooling(hidden_states, mask))
        return self.ensemble(linear, self.adapted.classify(features, mask))

    def _emotion(self, probabilities: Tensor) -> Emotion:
        return emotion.mixture(dict(zip(self.config.emotions, probabilities.double().tolist(), strict=True)))


def _current_name(name: str) -> str:
    for before, since in RENAMED:
        name = re.sub(before, since, name)
    return name
