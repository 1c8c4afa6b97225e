"""How it was said: a small head on the states of Whisper's encoder.

Two readers vote. One is linear on the mean and spread of every layer; the others mix the layers,
look along time and pool with attention (several, trained from other seeds). Their mean probability
is calibrated by one temperature. The same head on windows gives the emotion over time.

Axes: B clips, L states of the encoder, T frames (50 Hz), D width, C emotions.
Sources: attentive statistics pooling, Okabe et al. 2018; learned layer mix, Yang et al. 2021 (SUPERB);
calibration by temperature, Guo et al. 2017.
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
from emotion_omni.embedded.whisper_encoder import FRAME_HZ
from emotion_omni.types import Emotion

WINDOW_SECONDS, HOP_SECONDS = 1.6, 0.4  # of the trajectory: long enough to tell a tone, short enough to move


@dataclass(frozen=True)
class Shape:
    """The head's sizes; saved with its weights."""

    states: int = 7
    width: int = 512
    channels: int = 96
    readers: int = 4
    emotions: tuple[str, ...] = emotion.NAMES


def statistics(states: Tensor, mask: Tensor) -> Tensor:
    """states [B, L, T, D], mask [B, T] → mean and standard deviation over the valid frames [B, L, 2D]."""
    weight = mask[:, None, :, None].to(states.dtype)
    count = weight.sum(2).clamp_min(1)
    mean = (states * weight).sum(2) / count
    variance = ((states - mean[:, :, None]) ** 2 * weight).sum(2) / count
    return torch.cat([mean, variance.clamp_min(0).sqrt()], dim=-1)


class LinearReader(nn.Module):
    """Multinomial regression on the standardised statistics of every layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        size = shape.states * 2 * shape.width
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.out = nn.Linear(size, len(shape.emotions))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.out((statistics(states, mask).flatten(1) - self.centre) / self.spread)


class AttentiveReader(nn.Module):
    """Layer mix → two convolutions along time → attentive mean and spread → emotions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        wide = shape.channels
        self.norm = nn.LayerNorm(shape.width, elementwise_affine=False)
        self.mix = nn.Parameter(torch.zeros(2, shape.states))  # two mixes: low and high layers may both matter
        self.inward = nn.Linear(2 * shape.width, wide)
        self.along = nn.ModuleList(nn.Conv1d(wide, wide, 5, padding=2) for _ in range(2))
        self.attend = nn.Sequential(nn.Linear(wide, 32), nn.Tanh(), nn.Linear(32, 4))
        self.out = nn.Sequential(nn.Dropout(0.4), nn.Linear(8 * wide, 64), nn.GELU(), nn.Dropout(0.4),
                                 nn.Linear(64, len(shape.emotions)))  # fmt: skip
        self.drop = nn.Dropout(0.3)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        mixed = torch.einsum("mk,bktd->btmd", self.mix.softmax(1), self.norm(states)).flatten(2)  # [B, T, 2D]
        x = self.drop(F.gelu(self.inward(self.drop(mixed))))
        for layer in self.along:
            x = x * mask[..., None]
            x = x + self.drop(F.gelu(layer(x.transpose(1, 2)).transpose(1, 2)))
        score = self.attend(x).masked_fill(~mask[..., None], -torch.inf).softmax(1)  # [B, T, 4]
        mean = torch.einsum("bta,btw->baw", score, x)
        square = torch.einsum("bta,btw->baw", score, x**2)
        return self.out(torch.cat([mean, (square - mean**2).clamp_min(1e-5).sqrt()], -1).flatten(1))


class ToneHead(nn.Module):
    """All readers, their vote and its calibration."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.linear = LinearReader(shape)
        self.attentive = nn.ModuleList(AttentiveReader(shape) for _ in range(shape.readers))
        self.register_buffer("temperature", torch.ones(1))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states [B, L, T, D] float32, mask [B, T] of valid frames → probabilities [B, C]."""
        votes = [reader(states, mask).log_softmax(1) for reader in (self.linear, *self.attentive)]
        weights = [0.5] + [0.5 / len(self.attentive)] * len(self.attentive)
        mean = sum(weight * vote for weight, vote in zip(weights, votes, strict=True))
        return (mean / self.temperature).softmax(1)

    def save(self, path: Path) -> None:
        tensors = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        safetensors.torch.save_file(tensors, path, metadata={"shape": json.dumps(asdict(self.shape))})

    @classmethod
    def load(cls, path: Path) -> ToneHead:
        with safe_open(path, "pt") as file:
            shape = json.loads(file.metadata()["shape"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        head = cls(Shape(**shape | {"emotions": tuple(shape["emotions"])}))
        head.load_state_dict(tensors, strict=True)
        return head.eval()

    @torch.inference_mode()
    def hear(self, states: Tensor) -> tuple[Emotion, list[tuple[float, Emotion]]]:
        """The valid frames of one clip [L, T, D] → its emotion, and (seconds, emotion) of each window's middle."""
        length, window, hop = states.shape[1], int(WINDOW_SECONDS * FRAME_HZ), int(HOP_SECONDS * FRAME_HZ)
        whole = self(states[None], torch.ones(1, length, dtype=torch.bool))[0]
        if length <= window:
            return self._belief(whole), [(length / FRAME_HZ / 2, self._belief(whole))]
        windows = states.unfold(1, window, hop).permute(1, 0, 3, 2)  # [B, L, window, D]
        over_time = self(windows, torch.ones(len(windows), window, dtype=torch.bool))
        middles = (np.arange(len(windows)) * hop + window / 2) / FRAME_HZ
        return self._belief(whole), [(float(at), self._belief(row)) for at, row in zip(middles, over_time, strict=True)]

    def _belief(self, probabilities: Tensor) -> Emotion:
        return emotion.mixture(dict(zip(self.shape.emotions, probabilities.double().tolist(), strict=True)))
