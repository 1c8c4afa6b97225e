"""The pitch of a recording: normalized autocorrelation, and the best path through it.

Knows nothing of speech or training. Axes: K samples, F frames of 10 ms.
"""

from __future__ import annotations

import numpy as np

FRAMES_PER_SECOND = 100
WINDOW_SECONDS = 0.04
LOWPASS_HZ = 1500  # length of the smoothing kernel: two periods of this; passes what is below about 1 kHz
JUMP_COST = 4.0  # of a pitch change by a factor of e from one frame to the next


def track_pitch(
    samples: np.ndarray, hz: int, lowest: float = 80.0, highest: float = 400.0
) -> tuple[np.ndarray, np.ndarray]:
    """[K] → pitch [F] in Hz, and how voiced each frame is, 0 to 1."""
    lags = lag_range(hz, lowest, highest)
    correlation = autocorrelation(samples, hz, lags)
    jumps = JUMP_COST * np.abs(np.log(lags[:, None] / lags))
    cost = 1 - correlation + 0.05 * np.log(lags / lags[0])  # of two lags that fit, the shorter one is the period
    path = _cheapest_path(cost, jumps)
    rows, inner = np.arange(len(path)), np.clip(path, 1, len(lags) - 2)
    before, peak, after = (correlation[rows, inner + step] for step in (-1, 0, 1))
    curve = before - 2 * peak + after
    offset = np.where(curve < -1e-6, 0.5 * (before - after) / np.minimum(curve, -1e-6), 0)  # top of the parabola
    return hz / (lags[inner] + np.clip(offset, -1, 1)), np.clip((peak - 0.4) / 0.4, 0, 1)


def lag_range(hz: int, lowest: float, highest: float) -> np.ndarray:
    """The periods in samples from the highest pitch to the lowest."""
    return np.arange(int(hz / highest), int(hz / lowest))


def _cheapest_path(cost: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """Costs of frames [F, S] and of steps [S, S] → the states [F] with the lowest sum (Viterbi)."""
    sums, back = cost[0], np.zeros(cost.shape, int)
    for frame in range(1, len(cost)):
        totals = sums[:, None] + jumps
        back[frame] = totals.argmin(0)
        sums = totals[back[frame], np.arange(len(sums))] + cost[frame]
    path = np.empty(len(cost), int)
    path[-1] = sums.argmin()
    for frame in range(len(cost) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def autocorrelation(samples: np.ndarray, hz: int, lags: np.ndarray) -> np.ndarray:
    """→ [F, lags]: correlation of the 40 ms around each frame's middle with the samples one lag later, -1 to 1.

    Below about 1 kHz only: when the pitch glides, high harmonics do not repeat after a period.
    """
    hop, window, longest = hz // FRAMES_PER_SECOND, int(WINDOW_SECONDS * hz), int(lags[-1]) + 1
    count = len(samples) // hop + 1
    length = window + longest
    half = round(hz / LOWPASS_HZ)
    low = np.convolve(samples.astype(np.float64), np.hanning(2 * half + 1) / half, "same")
    padded = np.pad(low, (length // 2, length))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][:count]
    size = 2 ** (length - 1).bit_length()
    head = np.fft.rfft(frames[:, :window], size)
    products = np.fft.irfft(np.conj(head) * np.fft.rfft(frames, size), size)[:, lags]
    energy = np.concatenate([np.zeros((count, 1)), np.cumsum(frames**2, axis=1)], axis=1)
    later = energy[:, lags + window] - energy[:, lags]
    energies = energy[:, window : window + 1] * later
    return products / np.sqrt(energies + 1e-3)  # 1e-3: silence does not correlate with itself
