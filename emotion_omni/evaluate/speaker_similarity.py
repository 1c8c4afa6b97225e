"""Whether two clips are one voice: cosine similarity of speaker embeddings.

For evaluation only. The network is built here, because its package needs a compiler; the weights are those of
Resemblyzer (Apache-2.0). Source: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification".

Axes: P parts, T mel frames (100 Hz), M mel bands.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from emotion_omni import audio, weights
from emotion_omni.recognition.whisper_encoder import FFT, HOP, HZ, mel_filters
from emotion_omni.types import Audio

MELS, WIDTH, LAYERS = 40, 256, 3
PART, STEP = 160, 40  # frames of a part and from one to the next
LEVEL_DBFS = -30.0


class SpeakerEmbedder(nn.Module):
    """An LSTM over mel energies; a clip's embedding is the mean over its parts."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, WIDTH, LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("filters", mel_filters(MELS), persistent=False)

    @classmethod
    def load(cls) -> SpeakerEmbedder:
        """Fetches the weights. Raises :class:`EmotionOmniError` (code ``weights``)."""
        model = cls()
        stored = torch.load(weights.fetch("resemblyzer/pretrained.pt"), map_location="cpu", weights_only=True)
        own = {name: value for name, value in stored["model_state"].items() if not name.startswith("similarity")}
        model.load_state_dict(own)
        return model.eval()

    @torch.inference_mode()
    def embed(self, sound: Audio) -> np.ndarray:
        """→ float32 [256], of length 1."""
        samples = audio.set_level(audio.resample(sound, HZ).samples, LEVEL_DBFS)
        mean = self(self._parts(torch.from_numpy(samples))).mean(0)
        return (mean / mean.norm()).numpy()

    def forward(self, parts: Tensor) -> Tensor:
        """[P, PART, M] → embeddings of length 1 [P, 256]."""
        _, (hidden, _) = self.lstm(parts)
        embeddings = self.linear(hidden[-1]).relu()
        return embeddings / embeddings.norm(dim=1, keepdim=True)

    def _parts(self, samples: Tensor) -> Tensor:
        """[S] → mel energies [P, PART, M]; a clip shorter than a part is padded."""
        window = torch.hann_window(FFT)
        power = torch.stft(samples, FFT, HOP, window=window, pad_mode="constant", return_complex=True).abs() ** 2
        mel = (self.filters @ power).T
        mel = nn.functional.pad(mel, (0, 0, 0, max(0, PART - len(mel))))
        return mel.unfold(0, PART, STEP).transpose(1, 2)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of two embeddings: about 0.6 between voices, above 0.8 within one."""
    return float(one @ other)
