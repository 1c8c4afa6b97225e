"""The frame-stacking adapters: frames of the two frozen encoders → positions of the language model.

Paper, model section: every k = 5 frames are stacked and mapped by a small network, 50 Hz to 10 Hz; the
semantic and the emotional stream are then concatenated on the feature axis and projected. Knows neither
the encoders nor the prompt around the positions. The paper's two adapters and their fusion have
61_356_544 parameters.

Axes: B batch, T frames (50 Hz), P positions (10 Hz), E width of an encoder, D width of the language model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.padding import length_mask

MAX_LENGTH_DIFFERENCE = 2  # positions (0.2 s): the encoders' convolutions lose a few frames at the edges


class FrameAdapter(nn.Module):
    """Linear(k · E, hidden) → ReLU → Linear(hidden, D) on k frames at a time."""

    def __init__(self, encoder_width: int, stack: int, hidden: int, width: int) -> None:
        super().__init__()
        self.stack = stack
        self.widen = nn.Linear(stack * encoder_width, hidden)
        self.project = nn.Linear(hidden, width)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """frames [B, T, E], their lengths [B] → positions [B, T // k, D], their lengths [B].

        The last T mod k frames of an utterance are dropped. Frames beyond its length may hold any value;
        positions beyond the returned length are zero.
        """
        count = frames.shape[1] // self.stack
        positions = lengths // self.stack
        mask = length_mask(positions, count)[..., None]
        stacked = frames[:, : count * self.stack].reshape(len(frames), count, self.stack * frames.shape[2])
        stacked = stacked.masked_fill(
            ~mask, 0
        )  # before the product, else a NaN in the padding would reach the gradient
        return self.project(self.widen(stacked).relu()) * mask, positions


class AudioAdapters(nn.Module):
    """Both adapters and their fusion: ``concat`` (paper, 10 Hz) or ``interleave`` (its authors' code, 20 Hz)."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__()
        width, stack, hidden = config.language_model.width, config.adapter.stack, config.adapter.hidden
        self.semantic = FrameAdapter(config.semantic.width, stack, hidden, width)
        self.emotion = FrameAdapter(config.emotion.width, stack, hidden, width)
        self.fuse = nn.Linear(2 * width, width) if config.fusion == "concat" else None

    def forward(
        self, semantic: Tensor, semantic_lengths: Tensor, emotion: Tensor, emotion_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Frames [B, T, E] and lengths [B] of each encoder → positions and their lengths [B].

        ``concat`` gives [B, P, D], ``interleave`` [B, 2 P, D] with s0 e0 s1 e1 …; padding is zero. P is
        that of the shorter stream. Raises ValueError when the two differ by more than 0.2 s.
        """
        words, word_lengths = self.semantic(semantic, semantic_lengths)
        tones, tone_lengths = self.emotion(emotion, emotion_lengths)
        if (word_lengths - tone_lengths).abs().max() > MAX_LENGTH_DIFFERENCE:
            raise ValueError(
                f"The encoders disagree on the length of a query: {word_lengths.tolist()} and {tone_lengths.tolist()} "
                "positions. Give both the same recording, each with its number of valid frames."
            )
        lengths = torch.minimum(word_lengths, tone_lengths)
        count = min(words.shape[1], tones.shape[1])
        mask = length_mask(lengths, count)
        pairs = torch.stack([words[:, :count], tones[:, :count]], 2) * mask[..., None, None]  # [B, P, 2, D]
        if self.fuse is None:
            return pairs.flatten(1, 2), 2 * lengths
        return self.fuse(pairs.flatten(2)) * mask[..., None], lengths
