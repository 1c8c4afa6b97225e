"""Decoding with a graph of :mod:`emotion_omni.response.int4_graph`: several continuations of one prompt at once.

Axes: B rows that are continued, V vocabulary. Keys and values stay inside onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import tokenizers

from emotion_omni.response.qwen2 import Qwen2Shape


class Int4Decoder:
    """``folder``: ``model.onnx``, its data and ``tokenizer.json``."""

    def __init__(self, folder: Path, shape: Qwen2Shape | None = None, threads: int = 2) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the voice needs the cores meanwhile
        self.session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.shape = shape or Qwen2Shape()
        self._past = [one.name for one in self.session.get_inputs()[2:]]
        self._outputs = [one.name for one in self.session.get_outputs()]

    def start(self, tokens: Sequence[int]) -> Decoding:
        """The state after a prompt."""
        empty = np.zeros((1, self.shape.key_value_heads, 0, self.shape.head_size), np.float32)
        state = Decoding(self, [ort.OrtValue.ortvalue_from_numpy(empty)] * len(self._past), 0, 1)
        state.append(np.array([list(tokens)], np.int64))
        return state

    def run(self, tokens: np.ndarray, past: list[ort.OrtValue], total: int) -> tuple[np.ndarray, list[ort.OrtValue]]:
        """[B, T] → logits of what follows [B, V], and the keys and values with these tokens added."""
        feeds = {
            "input_ids": ort.OrtValue.ortvalue_from_numpy(tokens),
            "attention_mask": ort.OrtValue.ortvalue_from_numpy(np.ones((tokens.shape[0], total), np.int64)),
            **dict(zip(self._past, past, strict=True)),
        }
        logits, *present = self.session.run_with_ort_values(self._outputs, feeds)
        return logits.numpy()[:, 0], present


class Decoding:
    """Rows of equal length with one beginning. ``logits``: of the next token [B, V]."""

    def __init__(self, decoder: Int4Decoder, past: list[ort.OrtValue], length: int, rows: int) -> None:
        self.decoder, self._past, self.length, self.rows = decoder, past, length, rows
        self.logits = np.zeros((rows, 0), np.float32)

    def append(self, tokens: np.ndarray) -> None:
        """The same number of tokens for each row [B, T]; several rows take one at a time (a limit of the operator)."""
        self.length += tokens.shape[1]
        self.logits, self._past = self.decoder.run(tokens, self._past, self.length)

    def take(self, rows: Sequence[int], length: int = 0) -> Decoding:
        """A state of its own with these rows, each as often as it is named.

        ``length``: only so many positions of them; a token has to be appended before there are logits again.
        """
        length = length or self.length
        past = [ort.OrtValue.ortvalue_from_numpy(one.numpy()[list(rows), :, :length]) for one in self._past]
        taken = Decoding(self.decoder, past, length, len(rows))
        if length == self.length:
            taken.logits = self.logits[list(rows)]
        return taken
