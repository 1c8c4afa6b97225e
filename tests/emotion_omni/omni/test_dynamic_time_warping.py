"""Dynamic time warping against a plain implementation."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from emotion_omni.omni.dynamic_time_warping import dynamic_time_warping


def warped_by_loops(cost: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
    """→ the least total and, for each token, its first frame and one past the last."""
    frames, tokens = cost.shape
    total, came = np.full((frames, tokens), np.inf), {}
    total[0, 0] = cost[0, 0]
    for frame in range(frames):
        for token in range(tokens):
            for back in ((1, 1), (1, 0), (0, 1)):
                other = frame - back[0], token - back[1]
                if min(other) >= 0 and total[other] + cost[frame, token] < total[frame, token]:
                    total[frame, token], came[frame, token] = total[other] + cost[frame, token], other
    cell, visited = (frames - 1, tokens - 1), {token: [] for token in range(tokens)}
    while cell is not None:
        visited[cell[1]].append(cell[0])
        cell = came.get(cell)
    return total[-1, -1], [(min(held), max(held) + 1) for held in visited.values()]


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (1, 6), (9, 1), (4, 4), (40, 7), (5, 13)])
@pytest.mark.parametrize("levels", [2, 1000])  # two levels: many paths cost the same
def test_warping_is_that_of_the_textbook(frames, tokens, levels):
    cost = np.random.default_rng(frames * tokens).integers(0, levels, (3, frames, tokens)).astype(float)
    spans = dynamic_time_warping(cost, np.full(3, frames), np.full(3, tokens))
    for sample in range(3):
        assert [tuple(span) for span in spans[sample]] == warped_by_loops(cost[sample])[1]


def test_ten_seconds_are_laid_on_sixty_tokens():
    """No token goes empty, no frame is left out, and the order is kept. The time it takes is printed, not judged."""
    generator = torch.Generator().manual_seed(0)
    frames, predictions = torch.randn(1, 500, 768, generator=generator), torch.randn(1, 60, 768, generator=generator)
    cost = torch.cdist(frames, predictions).square().double().numpy()
    began = time.perf_counter()
    (spans,) = dynamic_time_warping(cost, np.array([500]), np.array([60]))
    print(f"500 frames on 60 tokens: {1000 * (time.perf_counter() - began):.1f} ms")
    first, past = spans.T
    assert first[0] == 0 and past[-1] == 500 and (past > first).all()
    assert (np.diff(first) >= 0).all() and (first[1:] <= past[:-1]).all() and (first[1:] >= past[:-1] - 1).all()
    paid = sum(cost[0, begin:end, token].sum() for token, (begin, end) in enumerate(spans))
    assert paid == pytest.approx(warped_by_loops(cost[0])[0])
