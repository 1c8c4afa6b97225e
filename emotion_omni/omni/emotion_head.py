"""The emotion of the reply, planned for each text token; and what it is taught with.

Paper, model section: a light Transformer and an MLP read the language model's answer states and give
one emotion vector per token. Its targets are the emotion encoder's frames of the spoken answer, laid
on the tokens by dynamic time warping, so that a sigh or a laugh, which no forced aligner knows,
finds its token too. The Transformer is causal: a reply is spoken before it is written to its end, so
a plan that looked ahead would be taught with states that streaming never has.

Ours, for the paper leaves it open: depth and width, no band, the three classic steps of the warping.

Axes: B batch, N text tokens, T frames of the answer (50 Hz), K tokens attended to, D width, E width
of an emotion vector.
Source: dynamic time warping, Sakoe and Chiba 1978.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni.omni.config import EmotionHeadConfig, OmniConfig
from emotion_omni.omni.padding import mean_of, valid
from emotion_omni.omni.transformer import EPSILON, Block, Cache, angles
from emotion_omni.types import EmotionOmniError

BOTH_BACK, FRAME_BACK, TOKEN_BACK = 0, 1, 2  # where a cell of the warping was reached from; ties go to the first


class EmotionHead(nn.Module):
    """Answer states → emotion vectors: one per token (paper) or one per utterance (its authors' code)."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__()
        self.config, self.mode = config.head, config.emotion_mode
        width = config.language_model.width
        if self.mode == "token":
            # the states of a large model have a few huge features; the norm keeps them from drowning the rest
            self.enter = nn.Sequential(nn.RMSNorm(width, EPSILON), nn.Linear(width, self.config.width))
            sizes = (self.config.width, self.config.heads, self.config.feed_forward, self.config.dropout)
            self.blocks = nn.ModuleList(Block(*sizes) for _ in range(self.config.layers))
            self.norm = nn.RMSNorm(self.config.width, EPSILON)
        read = self.config.width if self.mode == "token" else width
        self.out = nn.Sequential(
            nn.Linear(read, self.config.hidden), nn.ReLU(), nn.Linear(self.config.hidden, config.emotion.width)
        )

    def cache(self, batch: int) -> Cache:
        """An empty cache, for plans that grow with the reply."""
        size = self.config.width // self.config.heads
        return Cache(self.config.layers, batch, self.config.heads, size, self.norm.weight)

    def forward(self, states: Tensor, lengths: Tensor, cache: Cache | None = None) -> Tensor:
        """states [B, N, D], lengths [B] → emotions [B, N, E]; in the ``utterance`` mode [B, 1, E].

        ``token``: with a cache, the states are those of the next N tokens. Padding stands at the end
        and is seen by nobody. ``utterance``: states beyond the first ``first_tokens`` are not read.
        """
        if self.mode == "utterance":
            first = states[:, : self.config.first_tokens]
            return self.out(mean_of(first, lengths.clamp_max(first.shape[1])))[:, None]
        if cache is not None:
            cache.claim(states.shape[1])
        places = torch.arange(states.shape[1], device=states.device) if cache is None else cache.at
        extent = states.shape[1] if cache is None else cache.used
        mask = (torch.arange(extent, device=states.device) <= places[:, None])[None, None]  # [1, 1, N, K]
        x, turned = self.enter(states), angles(places[None], self.config.width // self.config.heads)
        for layer, block in enumerate(self.blocks):
            x = block(x, turned, mask, cache, layer)
        return self.out(self.norm(x))


def align(cost: np.ndarray, frame_lengths: np.ndarray, token_lengths: np.ndarray) -> np.ndarray:
    """Dynamic time warping. cost [B, T, N] → for each token its frames, first and one past the last: int64 [B, N, 2].

    The path of least summed cost runs from the first frame and token to the last ones; each step goes
    on by one frame, one token or both. So spans rise, cover all frames, and each holds a frame or more;
    neighbours share one where there are too few. Tokens beyond a length get the empty span (0, 0).
    Raises ValueError on a cost that is not finite.
    """
    spans = np.zeros((cost.shape[0], cost.shape[2], 2), np.int64)
    steps = _steps(cost)
    for sample, (frames, tokens) in enumerate(zip(frame_lengths.tolist(), token_lengths.tolist(), strict=True)):
        if not np.isfinite(cost[sample, :frames, :tokens]).all():
            raise ValueError(
                f"The costs of example {sample} are not all finite: its frames or predictions hold NaN or infinity."
            )
        spans[sample, :tokens] = _trace(steps[sample], frames, tokens)
    return spans


def _steps(cost: np.ndarray) -> np.ndarray:
    """cost [B, T, N] → where each cell is reached from, uint8 [B, T + N - 1, N] by anti-diagonal and token.

    All cells of an anti-diagonal depend on the two before it only, so each takes one vector operation.
    """
    batch, frames, tokens = cost.shape
    token = np.arange(tokens)
    diagonals = np.full((batch, frames + tokens - 1, tokens), np.inf)
    diagonals[:, np.arange(frames)[:, None] + token, token] = cost
    steps = np.zeros(diagonals.shape, np.uint8)
    last, before = np.full(
        (2, batch, tokens + 1), np.inf
    )  # totals of the diagonals one and two back; column 0 is outside
    before[:, 0] = 0  # the one way in
    for index in range(diagonals.shape[1]):
        options = np.stack([before[:, :-1], last[:, 1:], last[:, :-1]])
        steps[:, index] = options.argmin(0)
        total = np.full_like(last, np.inf)
        total[:, 1:] = diagonals[:, index] + options.min(0)
        before, last = last, total
    return steps


def _trace(steps: np.ndarray, frames: int, tokens: int) -> np.ndarray:
    """The path back from the last cell → spans [tokens, 2]."""
    spans = np.empty((tokens, 2), np.int64)
    frame, token = frames - 1, tokens - 1
    spans[token] = frame, frames
    while frame or token:
        step = steps[frame + token, token]
        frame -= step != TOKEN_BACK
        if step != FRAME_BACK:
            token -= 1
            spans[token, 1] = frame + 1
        spans[token, 0] = frame
    return spans


@torch.no_grad()
@torch.autocast(
    "cpu", enabled=False
)  # a target is the encoder's frames to the bit, whatever the precision of what learns it
@torch.autocast("cuda", enabled=False)
def token_targets(frames: Tensor, frame_lengths: Tensor, predictions: Tensor, token_lengths: Tensor) -> Tensor:
    """frames [B, T, E] of the answer, predictions [B, N, E], lengths [B] each → each token's mean frame [B, N, E].

    The cost is the squared Euclidean distance to the prediction (paper, training section), without
    gradient. Padding is zero. Raises :class:`EmotionOmniError` (code ``no-target``) as
    :func:`utterance_targets` does.
    """
    _check_targets(frame_lengths, token_lengths)
    cost = torch.cdist(frames.float(), predictions.detach().float()).square().cpu().double().numpy()
    spans = torch.from_numpy(align(cost, frame_lengths.cpu().numpy(), token_lengths.cpu().numpy())).to(frames.device)
    frame = torch.arange(frames.shape[1], device=frames.device)
    taken = (frame >= spans[..., :1]) & (frame < spans[..., 1:])  # [B, N, T]
    kept = frames.float().masked_fill(~valid(frame_lengths, frames.shape[1])[..., None], 0)
    return (taken.float() @ kept / taken.sum(-1, keepdim=True).clamp_min(1)).to(frames.dtype)


@torch.no_grad()
def utterance_targets(frames: Tensor, frame_lengths: Tensor) -> Tensor:
    """frames [B, T, E] of the answer, lengths [B] → the mean of the valid ones [B, 1, E].

    Raises :class:`EmotionOmniError` (code ``no-target``) when an answer has no frames: whatever stood
    in for them, the user's own emotion say, would be learnt as the emotion to answer with.
    """
    _check_targets(frame_lengths, torch.ones_like(frame_lengths))
    return mean_of(frames, frame_lengths)[:, None]


def _check_targets(frame_lengths: Tensor, token_lengths: Tensor) -> None:
    for what, lengths in (("frame of its spoken answer", frame_lengths), ("text token of its answer", token_lengths)):
        if empty := (lengths < 1).nonzero().flatten().tolist():
            raise EmotionOmniError(
                f"Example {empty[0]} of the batch has no {what}; each needs at least one. "
                "Leave it out of the training set, or give it an answer with words and sound.",
                "no-target",
            )


def trajectory_losses(predictions: Tensor, targets: Tensor, lengths: Tensor, config: EmotionHeadConfig) -> Tensor:
    """predictions and targets [B, N, E], lengths [B] → squared_weight · MSE + cosine_weight · (1 - cosine), [B].

    Each utterance's mean over its own tokens, so that padding and batch mates change nothing.
    Paper, training section; it stands beside the cross entropy of the text.
    """
    predictions, targets = predictions.float(), targets.float()
    squared = F.mse_loss(predictions, targets, reduction="none").mean(-1)  # [B, N]
    cosine = F.cosine_similarity(predictions, targets, dim=-1)
    tokens = config.squared_weight * squared + config.cosine_weight * (1 - cosine)
    return mean_of(tokens[..., None], lengths)[:, 0]
