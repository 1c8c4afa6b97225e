"""What the emotion head is trained on: targets from the spoken answer, and the loss.

Paper, training section: the targets are the emotion encoder's frames of the spoken answer, aligned with
the text tokens by dynamic time warping. Without a forced aligner, a sigh or a laugh finds its token too.

Axes: B batch, N text tokens, T frames of the answer (50 Hz), E width of an emotion vector.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_omni.omni.config import EmotionHeadConfig
from emotion_omni.omni.dynamic_time_warping import dynamic_time_warping
from emotion_omni.omni.padding import length_mask, masked_mean
from emotion_omni.types import EmotionOmniError


@torch.no_grad()
@torch.autocast("cpu", enabled=False)  # targets are the encoder's frames to the bit, whatever precision trains
@torch.autocast("cuda", enabled=False)
def token_targets(frames: Tensor, frame_lengths: Tensor, predictions: Tensor, token_lengths: Tensor) -> Tensor:
    """frames [B, T, E] of the answer, predictions [B, N, E], lengths [B] each → each token's mean frame [B, N, E].

    The cost is the squared Euclidean distance to the detached prediction (paper, training section).
    Padding is zero. Raises :class:`EmotionOmniError` (code ``no-target``) as :func:`utterance_targets` does.
    """
    _check_lengths(frame_lengths, token_lengths)
    cost = torch.cdist(frames.float(), predictions.detach().float()).square().cpu().double().numpy()
    spans = dynamic_time_warping(cost, frame_lengths.cpu().numpy(), token_lengths.cpu().numpy())
    first, past = torch.from_numpy(spans).to(frames.device).split(1, -1)  # [B, N, 1] each
    frame = torch.arange(frames.shape[1], device=frames.device)
    weights = ((frame >= first) & (frame < past)).float()  # [B, N, T]
    kept = frames.float().masked_fill(~length_mask(frame_lengths, frames.shape[1])[..., None], 0)
    return (weights @ kept / weights.sum(-1, keepdim=True).clamp_min(1)).to(frames.dtype)


@torch.no_grad()
def utterance_targets(frames: Tensor, frame_lengths: Tensor) -> Tensor:
    """frames [B, T, E] of the answer, lengths [B] → the mean of the valid ones [B, 1, E].

    Raises :class:`EmotionOmniError` (code ``no-target``) when an answer has no frames: any stand-in,
    such as the user's own emotion, would be learned as the emotion to answer with.
    """
    _check_lengths(frame_lengths, torch.ones_like(frame_lengths))
    return masked_mean(frames, frame_lengths)[:, None]


def _check_lengths(frame_lengths: Tensor, token_lengths: Tensor) -> None:
    for what, lengths in (("frame of its spoken answer", frame_lengths), ("text token of its answer", token_lengths)):
        if empty := (lengths < 1).nonzero().flatten().tolist():
            raise EmotionOmniError(
                f"Example {empty[0]} of the batch has no {what}; each needs at least one. "
                "Leave it out of the training set, or give it an answer with words and sound.",
                "no-target",
            )


def trajectory_losses(predictions: Tensor, targets: Tensor, lengths: Tensor, config: EmotionHeadConfig) -> Tensor:
    """predictions and targets [B, N, E], lengths [B] → mse_weight · MSE + cosine_weight · (1 - cosine), [B].

    Paper, training section. Each utterance's mean over its own tokens: independent of padding and of the
    rest of the batch.
    """
    predictions, targets = predictions.float(), targets.float()
    mse = F.mse_loss(predictions, targets, reduction="none").mean(-1)  # [B, N]
    cosine = F.cosine_similarity(predictions, targets, dim=-1)
    losses = config.mse_weight * mse + config.cosine_weight * (1 - cosine)
    return masked_mean(losses[..., None], lengths)[:, 0]
