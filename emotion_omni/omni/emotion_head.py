"""The emotion of the reply, planned for each text token; and what it is taught with.

Paper, model section: a light Transformer and an MLP read the language model's answer states and give
one emotion vector per token. Its targets are the emotion encoder's frames of the spoken answer, laid
on the tokens by dynamic time warping, so that a sigh or a laugh, which no forced aligner knows,
finds its token too. The Transformer is causal: a reply is spoken before it is written to its end, so
a plan that looked ahead would be taught with states that streaming never has.

The blocks (rotary attention, SwiGLU, one key-value cache) also make up the speech decoder.
Ours, for the paper leaves it open: depth and width, no band, the three classic steps of the warping.

Axes: B batch, N text tokens, T frames of the answer (50 Hz), R rows, K rows attended to, D width,
H heads, E width of an emotion vector.
Sources: rotary attention, Su et al. 2021; SwiGLU, Shazeer 2020; RMSNorm, Zhang and Sennrich 2019;
dynamic time warping, Sakoe and Chiba 1978.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni.omni.adapters import valid
from emotion_omni.omni.config import EmotionHeadConfig, OmniConfig
from emotion_omni.types import EmotionOmniError

EPSILON = 1e-6  # of RMSNorm
BOTH_BACK, FRAME_BACK, TOKEN_BACK = 0, 1, 2  # where a cell of the warping was reached from; ties go to the first


class Cache:
    """Keys and values of every layer in one buffer, its rows in order of arrival. The only state of attention.

    Rows are claimed once for a step, then each layer writes its own. The buffer doubles when it is full.
    """

    def __init__(self, layers: int, batch: int, heads: int, size: int, like: Tensor, capacity: int = 256) -> None:
        """``size``: of one head. ``like``: a tensor of the wanted device and dtype."""
        self.keys = like.new_zeros(layers, batch, heads, capacity, size)
        self.values = torch.zeros_like(self.keys)
        self.used = 0
        self.at = torch.zeros(0, dtype=torch.long, device=like.device)  # the claimed rows [R]

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def claim(self, rows: int) -> None:
        """Take the next ``rows`` rows for the step to come."""
        while self.used + rows > self.capacity:
            self.keys = torch.cat([self.keys, torch.zeros_like(self.keys)], 3)
            self.values = torch.cat([self.values, torch.zeros_like(self.values)], 3)
        self.at = torch.arange(self.used, self.used + rows, device=self.keys.device)
        self.used += rows

    def extend(self, layer: int, keys: Tensor, values: Tensor, extent: int) -> tuple[Tensor, Tensor]:
        """Write keys and values [B, H, R, D] to the claimed rows → the first ``extent`` rows of both."""
        self.keys[layer].index_copy_(2, self.at, keys)
        self.values[layer].index_copy_(2, self.at, values)
        return self.keys[layer, :, :, :extent], self.values[layer, :, :, :extent]


def angles(places: Tensor, size: int, base: float = 10_000.0) -> Tensor:
    """places [B, R] → the angles [B, 1, R, ``size`` / 2] by which a head's pairs turn: place · base^(-2i / size)."""
    rates = base ** (-torch.arange(0, size, 2, device=places.device, dtype=torch.float32) / size)
    return (places[..., None].float() * rates)[:, None]


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """x [B, H, R, D] with the pairs (i, i + D/2) turned by ``angles``, so that products see distances only."""
    one, other = x.float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([one * cos - other * sin, other * cos + one * sin], -1).to(x.dtype)


class Block(nn.Module):
    """x + attention(norm x), then x + SwiGLU(norm x). No biases."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.RMSNorm(width, EPSILON)
        self.gate_and_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, angles: Tensor, mask: Tensor,
        cache: Cache | None = None, layer: int = 0, modulation: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """x [B, R, D], angles [B, 1, R, D / 2H], mask [B, 1, R, K] → [B, R, D].

        With a cache, K reaches over its rows, the claimed ones included. ``modulation``: the scale and
        shift [B, R, D] put on the first norm.
        """
        y = self.attention_norm(x)
        if modulation is not None:
            y = y * modulation[0] + modulation[1]
        x = x + self.dropout(self._attend(y, angles, mask, cache, layer))
        gate, up = self.gate_and_up(self.feed_norm(x)).chunk(2, -1)
        return x + self.dropout(self.down(F.silu(gate) * up))

    def _attend(self, x: Tensor, angles: Tensor, mask: Tensor, cache: Cache | None, layer: int) -> Tensor:
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1)
        )
        queries, keys = turn(queries, angles), turn(keys, angles)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values, mask.shape[-1])
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.attention_out(seen.transpose(1, 2).flatten(2))


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
        self.out = nn.Sequential(nn.Linear(read, self.config.hidden), nn.ReLU(), nn.Linear(self.config.hidden, config.emotion.width))

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


def mean_of(values: Tensor, lengths: Tensor) -> Tensor:
    """values [B, T, D], lengths [B] → the mean of each sample's valid rows [B, D]; padding counts for nothing."""
    kept = values.masked_fill(~valid(lengths, values.shape[1])[..., None], 0)
    return kept.sum(1) / lengths.clamp_min(1)[:, None].to(values.dtype)


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
            raise ValueError(f"The costs of example {sample} are not all finite: its frames or predictions hold NaN or infinity.")
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
    last, before = np.full((2, batch, tokens + 1), np.inf)  # totals of the diagonals one and two back; column 0 is outside
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
