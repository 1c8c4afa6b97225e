"""Kokoro's graph, cut in two: what to say and how (pitch, energy, durations), then the sound.

Between the two halves prosody can be changed directly. The weights are unchanged, and with nothing changed in between
the two give the very samples of the whole. The halves are made once from the verified file and kept in the cache.

Axes: L phonemes with the two ends, D frames of 25 ms, 2D frames of 12.5 ms, S samples at 24 kHz.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from emotion_omni import weights

log = logging.getLogger(__name__)

# names in the published graph
TOKENS, STYLE, SPEED, SAMPLES = "tokens", "style", "speed", "audio"
PITCH, ENERGY, TEXT = "/encoder/Reshape_output_0", "/encoder/Reshape_1_output_0", "/encoder/MatMul_1_output_0"
SILENCE = -4.0  # energy below which nothing is heard
MARGIN = 14  # frames of 12.5 ms; with fewer, first words get lost
HALVES = {
    "predictor": ((TOKENS, STYLE, SPEED), (PITCH, ENERGY, TEXT)),
    "decoder": ((PITCH, ENERGY, TEXT, STYLE), (SAMPLES,)),
}


@dataclass(frozen=True, eq=False)
class Predicted:
    """``pitch`` float32 [2D]: hertz, near 0 where unvoiced. ``energy`` float32 [2D]. ``text`` float32 [1, 512, D]:
    the features of the phonemes, each for as many frames as it lasts."""

    pitch: np.ndarray
    energy: np.ndarray
    text: np.ndarray

    def without_silence(self) -> Predicted:
        """Without most of the silence at both ends, which need not be decoded."""
        spoken = np.flatnonzero(self.energy > SILENCE)
        if not len(spoken):
            return self
        first = max(0, spoken[0] - MARGIN) // 2
        last = min(len(self.energy), spoken[-1] + MARGIN) // 2
        here = slice(2 * first, 2 * last)
        return Predicted(self.pitch[here], self.energy[here], self.text[:, :, first:last])


class KokoroGraph:
    """The two halves as sessions of onnxruntime. ``folder``: as :func:`prepare_halves` makes it."""

    def __init__(self, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the other parts need the cores
        self._predictor, self._decoder = (
            onnxruntime.InferenceSession(str(folder / f"{half}.onnx"), options, providers=["CPUExecutionProvider"])
            for half in HALVES
        )

    @classmethod
    def load(cls, source: Path, threads: int) -> KokoroGraph:
        """From the published file; damaged halves in the cache are made again."""
        folder = prepare_halves(source)
        try:
            return cls(folder, threads)
        except Exception:  # onnxruntime has no common class for what it finds
            log.warning("The prepared voice in %s cannot be read; it is made again.", folder)
            return cls(prepare_halves(source, again=True), threads)

    def predict(self, ids: np.ndarray, style: np.ndarray, speed: np.ndarray) -> Predicted:
        """Phoneme ids int64 [L], style float32 [256], speed of each phoneme float32 [L] → what the decoder speaks."""
        inputs = {TOKENS: ids[None], STYLE: style[None], SPEED: speed[None]}
        pitch, energy, text = self._predictor.run(None, inputs)
        return Predicted(pitch[0], energy[0], text)

    def decode(self, predicted: Predicted, style: np.ndarray) -> np.ndarray:
        """→ float32 [S]."""
        inputs = {PITCH: predicted.pitch[None], ENERGY: predicted.energy[None], TEXT: predicted.text}
        (samples,) = self._decoder.run(None, inputs | {STYLE: style[None]})
        return samples.ravel()


def prepare_halves(source: Path, *, again: bool = False) -> Path:
    """→ the folder with both halves; its name holds the hashes of the published graph and of the cut.

    ``again``: also where they exist. Each half is replaced whole, so another process never finds one missing.

    Raises :class:`EmotionOmniError` (code ``weights``) as :func:`weights.fetch` does.
    """
    cut = hashlib.sha256(repr(HALVES).encode()).hexdigest()
    folder = weights.cache() / "converted" / f"kokoro-{weights.sha256(source)[:8]}-{cut[:8]}"
    with weights.locked(folder):
        if again or not all((folder / f"{half}.onnx").exists() for half in HALVES):
            log.info("Preparing the voice, once: %s", folder)
            folder.mkdir(parents=True, exist_ok=True)
            _write_halves(source, folder)
    return folder


def _write_halves(source: Path, folder: Path) -> None:
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(source))
    _give_each_phoneme_a_speed(model)
    extractor = onnx.utils.Extractor(model)
    for half, (inputs, outputs) in HALVES.items():
        scratch = folder / f"{half}.new"
        onnx.save(extractor.extract_model(list(inputs), list(outputs)), scratch)
        os.replace(scratch, folder / f"{half}.onnx")


def _give_each_phoneme_a_speed(model: Any) -> None:
    """The graph divides the durations [1, L] by the speed [1]; declared [1, L] it divides each by its own."""
    (speed,) = (each for each in model.graph.input if each.name == SPEED)
    shape = speed.type.tensor_type.shape
    shape.ClearField("dim")
    shape.dim.add().dim_value = 1
    shape.dim.add().dim_param = "sequence_length"
