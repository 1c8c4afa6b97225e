"""The pitch of a recording: normalized autocorrelation, and the best path through it.

Axes: K samples at 24 kHz, F frames of 10 ms.
"""

from __future__ import annotations

import numpy as np

from emotion_omni.synthesis.codec import HOP, HZ

LAGS = (60, 300)  # samples: 400 to 80 Hz
WINDOW = 960  # samples
JUMP_COST = 4.0  # of a pitch change by a factor of e from one frame to the next


def track_pitch(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """24 kHz [K] → pitch [F] in Hz, and how voiced each frame is, 0 to 1."""
    correlation = autocorrelation(samples)
    lags = np.arange(*LAGS)
    jumps = JUMP_COST * np.abs(np.log(lags[:, None] / lags))
    cost = 1 - correlation + 0.05 * np.log(lags / LAGS[0])  # of two lags that fit, the shorter one is the period
    sums, back = cost[0], np.zeros(cost.shape, int)
    for frame in range(1, len(cost)):
        totals = sums[:, None] + jumps
        back[frame] = totals.argmin(0)
        sums = totals[back[frame], np.arange(len(lags))] + cost[frame]
    path = np.empty(len(cost), int)
    path[-1] = sums.argmin()
    for frame in range(len(cost) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    rows, inner = np.arange(len(path)), np.clip(path, 1, len(lags) - 2)
    before, peak, after = (correlation[rows, inner + step] for step in (-1, 0, 1))
    curve = before - 2 * peak + after
    offset = np.where(curve < -1e-6, 0.5 * (before - after) / np.minimum(curve, -1e-6), 0)  # top of the parabola
    return HZ / (lags[inner] + np.clip(offset, -1, 1)), np.clip((peak - 0.4) / 0.4, 0, 1)


def autocorrelation(samples: np.ndarray) -> np.ndarray:
    """→ [F, lags]: correlation of the 40 ms around each frame's middle with the samples one lag later, -1 to 1.

    Below about 1 kHz only: when the pitch glides, high harmonics do not repeat after a period.
    """
    count = len(samples) // HOP + 1
    length = WINDOW + LAGS[1]
    low = np.convolve(samples.astype(np.float64), np.hanning(33) / 16, "same")
    padded = np.pad(low, (length // 2, length))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::HOP][:count]
    size = 2 ** (length - 1).bit_length()
    head = np.fft.rfft(frames[:, :WINDOW], size)
    products = np.fft.irfft(np.conj(head) * np.fft.rfft(frames, size), size)[:, LAGS[0] : LAGS[1]]
    energy = np.concatenate([np.zeros((count, 1)), np.cumsum(frames**2, axis=1)], axis=1)
    lags = np.arange(*LAGS)
    later = energy[:, lags + WINDOW] - energy[:, lags]
    energies = energy[:, WINDOW : WINDOW + 1] * later
    return products / np.sqrt(energies + 1e-3)  # 1e-3: silence does not correlate with itself
