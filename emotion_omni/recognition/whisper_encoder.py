"""Whisper's audio encoder in torch, with the hidden states of every layer.

CTranslate2 returns the last layer only, and the layers below it carry the emotion of the voice. So the encoder runs
here once, on the clip and one second of padding instead of Whisper's 30 s (6 GFLOP instead of 90), and serves both:
CTranslate2 decodes the words from the last state, the speech emotion head reads all of them.

Axes: B batch, M mel bands, F mel frames (100 Hz), T encoder frames (50 Hz), L hidden states, D width.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", §2.2.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

HZ = 16_000
FFT = 400  # 25 ms window
HOP = 160  # 10 ms: 100 mel frames a second
MELS = 80
FRAME_HZ = HZ // HOP // 2  # the second convolution strides by two: 50 states a second
PADDING_SECONDS = 1.0  # with none at all Whisper invents words; with 30 s it does 15 times the arithmetic
WINDOW_SECONDS = 29.0  # the longest clip one pass may take, so that clip + padding fits 30 s


def mel_filters(bands: int = MELS) -> Tensor:
    """Slaney-style triangular filters [M, FFT/2 + 1], each of unit area (Auditory Toolbox, 1998)."""

    def to_mel(hz: np.ndarray) -> np.ndarray:  # linear below 1 kHz, logarithmic above
        return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))

    def to_hz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    bins = np.linspace(0, HZ / 2, FFT // 2 + 1)
    edges = to_hz(np.linspace(0, to_mel(np.array(HZ / 2.0)), bands + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)) * area[:, None]).float()


class WhisperEncoder(torch.nn.Module):
    """The encoder of a CTranslate2 Whisper file, without gradients."""

    filters: Tensor
    window: Tensor

    def __init__(self, tensors: dict[str, Tensor], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.layers = len({name.split("/")[1] for name in tensors if "/self_attention/" in name})
        self._names = {name: name.replace("/", "__") for name in tensors}
        for name, tensor in tensors.items():
            self.register_buffer(self._names[name], tensor, persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)

    @classmethod
    def load(cls, model_bin: Path) -> WhisperEncoder:
        tensors = {name: tensor for name, tensor in read_ctranslate2(model_bin).items() if name.startswith("encoder/")}
        heads = int(tensors.pop("encoder/num_heads").item())
        tensors = {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}
        return cls(tensors, heads).eval()

    def log_mel(self, samples: Tensor) -> Tensor:
        """samples [B, N] at 16 kHz → log-mel [B, M, F], floored 80 dB under each clip's own peak."""
        spectrum = torch.stft(samples, FFT, HOP, window=self.window, return_complex=True)[..., :-1].abs() ** 2
        mel = (self.filters @ spectrum).clamp_min(1e-10).log10()
        mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (mel + 4.0) / 4.0

    @torch.inference_mode()
    def hidden_states(self, samples: np.ndarray) -> Tensor:
        """One clip of at most 29 s, [N] float32 at 16 kHz → hidden states [L, T, D] over clip + padding.

        State 0 is the embedding, state L − 1 the normalized output that the decoder attends to.
        The clip's own frames are the first ``valid_frames(N)``.
        """
        padding = int(PADDING_SECONDS * HZ) + (-len(samples)) % (2 * HOP)  # whole encoder frames
        padded = F.pad(torch.from_numpy(np.ascontiguousarray(samples, np.float32)), (0, padding))
        return torch.cat(self.forward(self.log_mel(padded[None])))

    def forward(self, mel: Tensor) -> list[Tensor]:
        """mel [B, M, F] → L hidden states, each [B, T, D]."""
        x = F.gelu(self._convolve(mel, "conv1", stride=1))
        x = F.gelu(self._convolve(x, "conv2", stride=2)).transpose(1, 2)  # [B, T, D]
        x = x + self._get("position_encodings/encodings")[: x.shape[1]]
        hidden_states = [x]
        for index in range(self.layers):
            x = self._block(x, f"layer_{index}")
            hidden_states.append(x)
        hidden_states[-1] = self._norm(x, "layer_norm")
        return hidden_states

    def _block(self, x: Tensor, layer: str) -> Tensor:
        y = self._norm(x, f"{layer}/self_attention/layer_norm")
        q, k, v = self._linear(y, f"{layer}/self_attention/linear_0").chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))  # [B, H, T, D/H]
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self._linear(y, f"{layer}/self_attention/linear_1")
        y = self._norm(x, f"{layer}/ffn/layer_norm")
        return x + self._linear(F.gelu(self._linear(y, f"{layer}/ffn/linear_0")), f"{layer}/ffn/linear_1")

    def tensors(self, at: str, *names: str) -> list[Tensor]:
        """Weights of one part, as ``tensors("layer_0/ffn/linear_0", "weight", "bias")``, for modules built on them."""
        return [self._get(f"{at}/{name}") for name in names]

    def _get(self, name: str) -> Tensor:
        return getattr(self, self._names[f"encoder/{name}"])

    def _convolve(self, x: Tensor, name: str, stride: int) -> Tensor:
        return F.conv1d(x, self._get(f"{name}/weight"), self._get(f"{name}/bias"), stride=stride, padding=1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._get(f"{name}/weight"), self._get(f"{name}/bias"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self._get(f"{name}/gamma"), self._get(f"{name}/beta"))


def valid_frames(samples: int) -> int:
    """Encoder frames of the clip itself, without its padding."""
    return max(1, math.ceil(samples / (2 * HOP)))


def read_ctranslate2(path: Path) -> dict[str, Tensor]:
    """Every tensor of a CTranslate2 ``model.bin``, by its name in the file.

    Layout (ctranslate2 ``Model::load``, binary version 6): version, spec name, spec revision, then
    count × (name, rank, sizes, type, bytes); strings carry a 16-bit length and end in a zero byte.
    """
    types = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    tensors: dict[str, Tensor] = {}
    with open(path, "rb") as file:

        def number(form: str) -> int:
            return struct.unpack("<" + form, file.read(struct.calcsize(form)))[0]

        def string() -> str:
            return file.read(number("H")).rstrip(b"\0").decode()

        number("I")  # binary version
        string()  # spec name
        number("I")  # spec revision
        for _ in range(number("I")):
            name = string()
            sizes = [number("I") for _ in range(number("B"))]
            kind, length = number("B"), number("I")
            array = np.frombuffer(file.read(length), types[kind])
            tensors[name] = torch.from_numpy(array.reshape(sizes).copy())
    return tensors
