"""What frozen networks make of a sound, made once and kept on disk: encoder frames and speech tokens.

A file is named by the hash of the sound's bytes, of the network's identity and of the way sounds are
prepared; so a changed sound, network or preparation finds no file and is computed, and nothing that
is found is stale. Files are written whole or not at all, and several processes may share a folder. A
damaged file is made again. A network is loaded only when some file is missing.

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

DECODED = 1  # raise it when audio.decode gives something else for the same bytes


@dataclass(frozen=True)
class Source:
    """A frozen network: sound → Tensor [T, E] or [N]. ``identity`` names its weights, to the bit."""

    name: str  # for people
    identity: str
    load: Callable[[], Callable[[Audio], Tensor]]


@dataclass(frozen=True)
class Want:
    """One thing to be had. ``where`` tells a person which line and column it comes from."""

    where: str
    sound: Sound
    source: Source


class Features:
    """The folder of kept results. ``half`` keeps and gives floating-point frames as float16."""

    def __init__(self, folder: Path, half: bool = False) -> None:
        self.folder, self.half = folder, half
        self._loaded: dict[str, Callable[[Audio], Tensor]] = {}

    def path(self, sound: Sound, source: Source) -> Path:
        told = "\n".join(
            [
                sound.sha256,
                source.identity,
                str(DECODED),
                str(encoders.PREPARE_VERSION),
                "float16" if self.half else "float32",
            ]
        )
        key = hashlib.sha256(told.encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"

    def make(
        self, wants: Sequence[Want], process: int = 0, processes: int = 1, tick: Callable[[], None] = lambda: None
    ) -> int:
        """Compute what is missing of this process's share → how many were computed. Networks are let go afterwards.

        ``tick`` is called after each. Raises :class:`EmotionOmniError` with the line and column of a sound that cannot be used.
        """
        by_path = {self.path(want.sound, want.source): want for want in wants}
        # shares are dealt before the disk is looked at, for what is there changes while the others work
        mine = sorted(by_path.items(), key=lambda item: (item[1].source.identity, item[0]))[process::processes]
        made = 0
        for path, want in mine:
            if self._length(path) is not None:
                continue
            if want.source.identity not in self._loaded:
                self.release()  # one network at a time: two of the paper's need not fit side by side
            self._make(want)
            made += 1
            tick()
        self.release()
        return made

    def release(self) -> None:
        """Give back the memory of the networks that were loaded."""
        if not self._loaded:
            return
        self._loaded.clear()
        gc.collect()
        torch.cuda.empty_cache()

    def get(self, want: Want) -> Tensor:
        """The result, from its file, or computed where there is none or it is damaged."""
        found = self._read(self.path(want.sound, want.source))
        return found if found is not None else self._make(want)

    def length(self, want: Want) -> int:
        """Frames or tokens of a result, without reading it."""
        found = self._length(self.path(want.sound, want.source))
        return found if found is not None else len(self.get(want))

    def _make(self, want: Want) -> Tensor:
        source = want.source
        if source.identity not in self._loaded:
            self._loaded[source.identity] = source.load()
        try:
            value = self._loaded[source.identity](audio.decode(want.sound.read()))
        except EmotionOmniError as error:
            raise EmotionOmniError(f"{want.where} ({want.sound.where}): {error}", error.code) from error
        value = value.detach().cpu()
        if value.is_floating_point():
            value = value.to(torch.float16 if self.half else torch.float32)
        self._write(self.path(want.sound, source), value.contiguous())
        return value

    def _write(self, path: Path, value: Tensor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = save({"value": value}, {"checksum": _checksum(value)})
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except BaseException:  # also Ctrl-C: no half file may stay
            os.unlink(name)
            raise

    def _read(self, path: Path) -> Tensor | None:
        try:
            with safe_open(path, "pt") as file:
                value, checksum = file.get_tensor("value"), (file.metadata() or {}).get("checksum")
        except (OSError, SafetensorError):  # not there, cut off, or something else
            return None
        return value if checksum == _checksum(value) else None

    def _length(self, path: Path) -> int | None:
        try:
            with safe_open(path, "pt") as file:  # its header says how long the file must be, and is held to it
                return file.get_slice("value").get_shape()[0]
        except (OSError, SafetensorError):
            return None


def _checksum(value: Tensor) -> str:
    return f"{zlib.crc32(value.numpy().data):08x}"
