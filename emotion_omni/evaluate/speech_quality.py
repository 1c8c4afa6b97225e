"""How natural speech sounds, as a model predicts the mean opinion score (MOS, 1 to 5) of listeners: DistillMOS.

For evaluation only. The network is built here, because its package needs torchaudio; the weights are the published
ones. Source: Stahl & Gamper 2025, "Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech
Quality Assessment" (arXiv 2502.05356), https://github.com/microsoft/Distill-MOS (MIT).

Axes: B segments, S samples, T frames of 20 ms, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni import audio, weights
from emotion_omni.types import Audio

HZ = 16_000
SEGMENT = 122_880  # samples, 7.68 s: what the network takes; shorter clips are padded, longer ones averaged
HOP = 16_000  # samples, the longest between two segments
WINDOW, STEP = 320, 160  # samples
CHANNELS = (64, 64, 128, 256, 256, 256)
WIDTH, LAYERS, HEADS = 200, 7, 8
FRAMES = SEGMENT // STEP // 2


class SpeechQuality(nn.Module):
    """Convolutions over the compressed complex spectrogram, a transformer, attentive pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.ModuleDict({"cnn": nn.Sequential(*_convolutions())})
        self.transformer_pool_attn = _Head(4 * CHANNELS[-1])

    @classmethod
    def load(cls) -> SpeechQuality:
        """Fetches the weights. Raises :class:`EmotionOmniError` (code ``weights``)."""
        model = cls()
        stored = torch.load(weights.fetch("distillmos/distill_mos_v7.pt"), map_location="cpu", weights_only=True)
        model.load_state_dict(stored["model"])
        return model.eval()

    @torch.inference_mode()
    def score(self, sound: Audio) -> float:
        """The predicted mean opinion score, from 1 to 5."""
        segments = _segments(torch.from_numpy(audio.resample(sound, HZ).samples))
        return float(1 + 4 * self(segments).mean())

    def forward(self, segments: Tensor) -> Tensor:
        """[B, SEGMENT], each with a peak of 1 → quality from 0 to 1 [B]."""
        features = self.cnn["cnn"](_compressed_spectrogram(segments)).flatten(1, 2)  # [B, D, T]
        return self.transformer_pool_attn(features.transpose(1, 2))


class _Head(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm_input = nn.BatchNorm1d(features)
        self.transformer = _Transformer(features)
        self.norm_trans = nn.BatchNorm1d(WIDTH)
        linear = {"linear1": nn.Linear(WIDTH, 2 * WIDTH), "linear2": nn.Linear(2 * WIDTH, 1)}
        self.pool = nn.ModuleDict(linear | {"linear3": nn.Linear(WIDTH, 1)})

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B]."""
        x = self.norm_input(x.transpose(1, 2)).transpose(1, 2)
        x = self.norm_trans(self.transformer(x).transpose(1, 2)).transpose(1, 2)
        attention = self.pool["linear2"](F.relu(self.pool["linear1"](x))).softmax(1)
        return self.pool["linear3"]((attention * x).sum(1)).sigmoid().squeeze(1)


class _Transformer(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.position_encoding = nn.ParameterDict({"pe": nn.Parameter(torch.zeros(1, FRAMES, WIDTH))})
        self.linear_proj = nn.Linear(features, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear_proj(self.norm(x.transpose(1, 2)).transpose(1, 2))
        return self.transformer_encoder(x + self.position_encoding["pe"])


def _convolutions() -> list[nn.Module]:
    """Strides: the frequency from the second on, the time in the last."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(zip((2, *CHANNELS[:-1]), CHANNELS, strict=True)):
        stride = (2 if index else 1, 2 if index == len(CHANNELS) - 1 else 1)
        layers += [nn.Conv2d(before, after, 3, stride=stride, padding=(0, 1)), nn.LeakyReLU(0.1)]
    return layers


def _segments(samples: Tensor) -> Tensor:
    """[S] → [B, SEGMENT], evenly spread, each with a peak of 1."""
    beyond = max(0, len(samples) - SEGMENT)
    samples = F.pad(samples, (0, max(0, SEGMENT - len(samples))))
    count = -(-beyond // HOP) + 1
    starts = torch.linspace(0, beyond, count).int().tolist()
    segments = torch.stack([samples[start : start + SEGMENT] for start in starts])
    return segments / (segments.abs().amax(1, keepdim=True) + 1e-8)


def _compressed_spectrogram(segments: Tensor) -> Tensor:
    """[B, SEGMENT] → real and imaginary parts [B, 2, 161, frames of 10 ms], magnitudes to the power of 0.3."""
    margin = (WINDOW - STEP) // 2
    padded = F.pad(segments[:, None], (margin, margin), mode="reflect")[:, 0]
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(padded, WINDOW, STEP, window=window, center=False, return_complex=True)
    magnitude = spectrum.abs().clamp_min(1e-12)
    return torch.view_as_real(spectrum * magnitude**-0.7).permute(0, 3, 1, 2)
