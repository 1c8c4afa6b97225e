"""How good speech sounds by ITU-T P.835, as DNSMOS predicts it: speech, background and overall (1 to 5).

For evaluation only. Source: Reddy et al. 2022, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality
Metric to Evaluate Noise Suppressors" (arXiv 2110.01763); network and polynomials are the published ones (MIT).
"""

from __future__ import annotations

import numpy as np
import onnxruntime

from emotion_omni import audio, weights
from emotion_omni.types import Audio

HZ = 16_000
WINDOW = int(9.01 * HZ)  # samples that the network takes; shorter clips are repeated
SCORES = {  # polynomials from the network's outputs to opinion scores, in the order of its outputs
    "speech": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}


class DNSMOS:
    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    @classmethod
    def load(cls) -> DNSMOS:
        """Fetches the weights. Raises :class:`EmotionOmniError` (code ``weights``)."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return cls(onnxruntime.InferenceSession(weights.fetch("dnsmos/sig_bak_ovr.onnx"), options))

    def scores(self, sound: Audio) -> dict[str, float]:
        """The mean over windows, a second apart, of each of :data:`SCORES`."""
        samples = audio.resample(sound, HZ).samples
        samples = np.tile(samples, -(-WINDOW // max(1, len(samples))))
        starts = range(0, len(samples) - WINDOW + 1, HZ)
        found = [self._session.run(None, {"input_1": samples[None, at : at + WINDOW]})[0][0] for at in starts]
        means = np.mean([[np.polyval(p, raw) for p, raw in zip(SCORES.values(), row, strict=True)] for row in found], 0)
        return dict(zip(SCORES, map(float, means), strict=True))
