"""Dynamic time warping of frames to tokens, in numpy.

Ours, because the paper leaves it open: no band, the three classic steps.

Axes: B batch, T frames, N tokens.
Source: Sakoe and Chiba 1978.
"""

from __future__ import annotations

import numpy as np

BOTH_BACK, FRAME_BACK, TOKEN_BACK = 0, 1, 2  # predecessor of a cell; ties go to the first


def dynamic_time_warping(cost: np.ndarray, frame_lengths: np.ndarray, token_lengths: np.ndarray) -> np.ndarray:
    """cost [B, T, N] → the frames of each token, first and one past the last: int64 [B, N, 2].

    The path of least total cost runs from the first frame and token to the last ones; each step advances
    one frame, one token or both. So the spans rise, cover all frames, and each has at least one frame;
    neighbors share a frame where there are too few. Tokens beyond a length get the empty span (0, 0).
    Raises ValueError if a cost is not finite.
    """
    spans = np.zeros((cost.shape[0], cost.shape[2], 2), np.int64)
    steps = _predecessors(cost)
    for sample, (frames, tokens) in enumerate(zip(frame_lengths.tolist(), token_lengths.tolist(), strict=True)):
        if not np.isfinite(cost[sample, :frames, :tokens]).all():
            raise ValueError(
                f"The costs of example {sample} are not all finite: its frames or predictions hold NaN or infinity."
            )
        spans[sample, :tokens] = _backtrack(steps[sample], frames, tokens)
    return spans


def _predecessors(cost: np.ndarray) -> np.ndarray:
    """cost [B, T, N] → the predecessor of each cell, uint8 [B, T + N - 1, N] by anti-diagonal and token.

    The cells of an anti-diagonal depend only on the two before it, so each takes one vector operation.
    """
    batch, frames, tokens = cost.shape
    token = np.arange(tokens)
    diagonals = np.full((batch, frames + tokens - 1, tokens), np.inf)
    diagonals[:, np.arange(frames)[:, None] + token, token] = cost
    steps = np.zeros(diagonals.shape, np.uint8)
    # totals of the last two diagonals; column 0 lies outside the matrix
    last, before = np.full((2, batch, tokens + 1), np.inf)
    before[:, 0] = 0  # the path starts here
    for index in range(diagonals.shape[1]):
        options = np.stack([before[:, :-1], last[:, 1:], last[:, :-1]])
        steps[:, index] = options.argmin(0)
        total = np.full_like(last, np.inf)
        total[:, 1:] = diagonals[:, index] + options.min(0)
        before, last = last, total
    return steps


def _backtrack(steps: np.ndarray, frames: int, tokens: int) -> np.ndarray:
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
