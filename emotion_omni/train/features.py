"""Features of recordings, computed once and kept on disk: encoder frames and speech tokens.

A file is named by the hash of the recording's bytes, of the network's identity and of the audio preparation. So a
changed recording, network or preparation finds no file and is computed; what is found is never stale. Files are
written atomically, and several processes may share a folder. A damaged file is recomputed. A network is loaded only
when a file is missing.

Axes: T frames (50 Hz), E width of an encoder, N speech tokens (25 Hz).
"""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from emotion_omni import audio
from emotion_omni.omni import encoders
from emotion_omni.train.dialogues import Sound
from emotion_omni.types import Audio, EmotionOmniError

DECODE_VERSION = 2  # to be raised when audio.decode returns other samples for the same bytes


@dataclass(frozen=True)
class FeatureExtractor:
    """A frozen network: recording → Tensor [T, E] or [N]. ``identity`` identifies its weights, to the bit."""

    name: str  # for people
    identity: str
    load: Callable[[], Callable[[Audio], Tensor]]


@dataclass(frozen=True)
class FeatureRequest:
    """One feature of one recording. ``where``: its line and column in the data set, for error messages."""

    where: str
    sound: Sound
    extractor: FeatureExtractor


class FeatureCache:
    """The folder of features. ``half`` stores and returns floating-point frames as float16."""

    def __init__(self, folder: Path, half: bool = False) -> None:
        self.folder, self.half = folder, half
        self._loaded: dict[str, Callable[[Audio], Tensor]] = {}

    def path(self, sound: Sound, extractor: FeatureExtractor) -> Path:
        dtype = "float16" if self.half else "float32"
        key_parts = [sound.sha256, extractor.identity, str(DECODE_VERSION), str(encoders.PREPARE_VERSION), dtype]
        key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"

    def compute_missing(
        self,
        requests: Sequence[FeatureRequest],
        process: int = 0,
        processes: int = 1,
        progress: Callable[[], object] = lambda: None,
    ) -> int:
        """Compute what is missing of this process's share → how many were computed. Networks are unloaded afterwards.

        ``progress`` is called after each. Raises :class:`EmotionOmniError` with the line and column of an unusable
        recording.
        """
        by_path = {self.path(request.sound, request.extractor): request for request in requests}
        # shares are fixed before looking at the disk, which changes while the other processes work
        ordered = sorted(by_path.items(), key=lambda item: (item[1].extractor.identity, item[0]))
        computed = 0
        for path, request in ordered[process::processes]:
            if self._length(path) is not None:
                continue
            if request.extractor.identity not in self._loaded:
                self.release()  # one network at a time: two of the paper's may not fit side by side
            self._compute(request)
            computed += 1
            progress()
        self.release()
        return computed

    def release(self) -> None:
        """Free the memory of the loaded networks."""
        if not self._loaded:
            return
        self._loaded.clear()
        gc.collect()
        torch.cuda.empty_cache()

    def get(self, request: FeatureRequest) -> Tensor:
        """The feature from its file, or computed if the file is missing or damaged."""
        found = self._read(self.path(request.sound, request.extractor))
        return found if found is not None else self._compute(request)

    def length(self, request: FeatureRequest) -> int:
        """Number of frames or tokens, without reading them."""
        found = self._length(self.path(request.sound, request.extractor))
        return found if found is not None else len(self.get(request))

    def _compute(self, request: FeatureRequest) -> Tensor:
        extractor = request.extractor
        if extractor.identity not in self._loaded:
            self._loaded[extractor.identity] = extractor.load()
        try:
            value = self._loaded[extractor.identity](audio.decode(request.sound.read()))
        except EmotionOmniError as error:
            raise EmotionOmniError(f"{request.where} ({request.sound.where}): {error}", error.code) from error
        value = value.detach().cpu()
        if value.is_floating_point():
            value = value.to(torch.float16 if self.half else torch.float32)
        self._write(self.path(request.sound, extractor), value.contiguous())
        return value

    def _write(self, path: Path, value: Tensor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = save({"value": value}, {"checksum": _checksum(value)})
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except BaseException:  # Ctrl-C included: no partial file may remain
            os.unlink(name)
            raise

    def _read(self, path: Path) -> Tensor | None:
        try:
            with safe_open(path, "pt") as file:
                value, checksum = file.get_tensor("value"), (file.metadata() or {}).get("checksum")
        except (OSError, SafetensorError):  # missing, cut off, or of another kind
            return None
        return value if checksum == _checksum(value) else None

    def _length(self, path: Path) -> int | None:
        try:
            with safe_open(path, "pt") as file:  # the header states the file's length, which is checked
                return file.get_slice("value").get_shape()[0]
        except (OSError, SafetensorError):
            return None


def _checksum(value: Tensor) -> str:
    return f"{zlib.crc32(value.numpy().data):08x}"
