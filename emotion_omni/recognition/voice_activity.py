"""Voice activity detection, of a whole clip or of sound that is still arriving. Silero VAD through onnxruntime.

Audio is mono float32 at 16 kHz; spans are in samples.
Source: Silero team, "Silero VAD" (MIT); the network reads 32 ms at a time with 4 ms of context.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

HZ = 16_000
FRAME = 512  # samples per decision: 32 ms
CONTEXT = 64  # samples of the frame before, in front of each frame

ON, OFF = 0.5, 0.35  # hysteresis: speech starts above ON and ends only below OFF
SHORTEST = 0.10  # seconds; a burst shorter than this is a click, not a word
MARGIN = 0.15  # seconds kept on both sides, so that soft onsets and releases survive


class VoiceActivity:
    """Speech probability per frame. The network's state lives within one call."""

    def __init__(self, network: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """samples [N] → probability of speech per frame of 32 ms, [ceil(N / 512)]."""
        frames = np.pad(samples, (CONTEXT, -len(samples) % FRAME)).astype(np.float32)
        state = np.zeros((2, 1, 128), np.float32)
        rate = np.array(HZ, np.int64)
        found = []
        for start in range(0, len(frames) - CONTEXT, FRAME):
            window = frames[None, start : start + CONTEXT + FRAME]
            probability, state = self._session.run(None, {"input": window, "state": state, "sr": rate})
            found.append(float(probability[0, 0]))
        return np.array(found, np.float32)

    def stream(self) -> VoiceStream:
        return VoiceStream(self._session)

    def spans(self, samples: np.ndarray) -> list[tuple[int, int]]:
        """Spans of speech in order, disjoint, with their margins. Empty without speech."""
        speaking, start, raw = False, 0, []
        for index, probability in enumerate([*self.probabilities(samples), 0.0]):
            if not speaking and probability >= ON:
                speaking, start = True, index * FRAME
            elif speaking and probability < OFF:
                speaking = False
                raw.append((start, index * FRAME))
        return with_margins([span for span in raw if span[1] - span[0] >= SHORTEST * HZ], len(samples))


class VoiceStream:
    """Voice activity of sound that is still arriving. The network's state lives as long as the stream."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.reset()

    def probability(self, frame: np.ndarray) -> float:
        """The next 512 samples → probability that somebody speaks in them."""
        window = np.concatenate([self._context, frame])[None].astype(np.float32)
        found, self._state = self._session.run(
            None, {"input": window, "state": self._state, "sr": np.array(HZ, np.int64)}
        )
        self._context = frame[-CONTEXT:]
        return float(found[0, 0])

    def reset(self) -> None:
        self._state, self._context = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32)


def with_margins(spans: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Spans with a margin on both sides, merged where they touch. ``length``: of the recording."""
    margin = int(MARGIN * HZ)
    merged: list[tuple[int, int]] = []
    for first, last in spans:
        start, end = max(0, first - margin), min(length, last + margin)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
