"""A synthesizer that keeps the speech of a few short phrases, so that they can be said at once.

Phrases in the manner that nobody has changed are kept in files, in a folder that names everything their sound depends
on; others stay in memory. What is kept is what the synthesizer gave, sample by sample.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from emotion_omni.synthesis.synthesizer import Synthesizer
from emotion_omni.types import Audio, Delivery

IN_MEMORY = 256  # phrases; about 60 kB each


class SpeechCache:
    """``phrases``: the only texts that are kept. ``folder``: of this synthesizer's own sounds; ``None`` for none."""

    def __init__(self, inner: Synthesizer, phrases: Collection[str], folder: Path | None = None) -> None:
        self.inner, self.phrases, self.folder = inner, frozenset(phrases), folder
        self.hz, self.voices = inner.hz, inner.voices
        self._kept: OrderedDict[tuple[str, Delivery], Audio] = OrderedDict()

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        """See :class:`~emotion_omni.synthesis.synthesizer.Synthesizer`."""
        if text.strip() not in self.phrases:
            yield from self.inner.synthesize(text, delivery, seed=seed)
            return
        yield self._phrase(text.strip(), delivery)

    def prepare(self, wanted: Iterable[tuple[str, Delivery]]) -> None:
        """Have these at hand."""
        for phrase, delivery in wanted:
            self._phrase(phrase, delivery)

    def _phrase(self, phrase: str, delivery: Delivery) -> Audio:
        key = (phrase, delivery)
        if key not in self._kept:
            self._kept[key] = self._read(phrase, delivery) or self._made(phrase, delivery)
            if len(self._kept) > IN_MEMORY:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _made(self, phrase: str, delivery: Delivery) -> Audio:
        """Spoken now, with seed 0: a phrase has one sound."""
        pieces = [piece.samples for piece in self.inner.synthesize(phrase, delivery)]
        made = Audio(np.concatenate(pieces) if pieces else np.zeros(0, np.float32), self.hz)
        path = self._path(phrase, delivery)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, scratch = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(descriptor, "wb") as file:
                np.save(file, made.samples)
            os.replace(scratch, path)
        return made

    def _read(self, phrase: str, delivery: Delivery) -> Audio | None:
        """A damaged or missing file counts as none."""
        path = self._path(phrase, delivery)
        if not path or not path.exists():
            return None
        try:
            samples = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return Audio(samples, self.hz) if samples.dtype == np.float32 and samples.ndim == 1 else None

    def _path(self, phrase: str, delivery: Delivery) -> Path | None:
        if not self.folder or delivery != Delivery(delivery.emotion):
            return None  # sliders have endless positions
        name = hashlib.sha256(f"{phrase}\n{delivery.emotion}".encode()).hexdigest()[:24]
        return self.folder / f"{name}.npy"
