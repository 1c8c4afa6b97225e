"""The parent of a run: whose weights a method starts from and compares itself with.

``embedded`` is what the package ships; a folder is what earlier training has written, any of the embedded engine's
parts. The child inherits the parts that its parent has and the method does not change.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from emotion_omni import checkpoint, weights
from emotion_omni.cascade.presets import PART_WEIGHTS
from emotion_omni.types import EmotionOmniError

EMBEDDED = "embedded"
PART_OF = {  # method → the file that it changes
    "reward": "reranker.safetensors",
    "recognizer": "speech_emotion.safetensors",
    "sft": "responder.safetensors",
    "dpo": "responder.safetensors",
    "kto": "responder.safetensors",
    "prosody": "prosody.json",
}


@dataclass(frozen=True)
class Parent:
    """``files``: part's file name → path, of those that are not the shipped ones. ``omni``: a checkpoint's folder."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)
    omni: Path | None = None

    def part(self, name: str) -> str:
        """The file of a part, empty for the shipped one."""
        return str(self.files.get(name, ""))

    @property
    def identity(self) -> str:
        """A SHA-256 of its own parts, or of the checkpoint; that of nothing for what the package ships."""
        if self.omni is not None:
            return checkpoint.identity(self.omni)
        lines = [f"{name} {weights.sha256(path)}\n" for name, path in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def inherit(self, folder: Path, without: str) -> None:
        """Copy the parts that a method does not change into the child's ``folder``."""
        for name, path in self.files.items():
            if name != without:
                shutil.copyfile(path, folder / name)


def find(source: str, method: str) -> Parent:
    """``embedded``, ``embedded:FOLDER`` or a folder. Raises :class:`EmotionOmniError` (code ``parent``)."""
    kind, _, rest = source.partition(":")
    if source == EMBEDDED:
        return Parent(EMBEDDED)
    folder = Path(rest if kind in (EMBEDDED, "omni") and rest else source)
    files = {name: folder / name for name in PART_WEIGHTS if (folder / name).is_file()}
    if files:
        return Parent(f"{EMBEDDED}:{folder.resolve().name}", files)
    omni = _omni(folder)
    if omni is None:
        raise refuse(
            f"{source!r} is no parent: neither embedded, nor a folder with any of {', '.join(PART_WEIGHTS)}, nor a "
            "checkpoint of the omni model. Name the folder of a finished run."
        )
    if method not in ("sft", "dpo", "kto"):
        raise refuse(
            f"The parent {source!r} is an omni checkpoint, and {method} trains a part of the embedded engine. Choose "
            "sft, dpo or kto, or another parent."
        )
    return Parent(f"omni:{omni.name}", omni=omni)


def _omni(folder: Path) -> Path | None:
    try:
        found = checkpoint.find(str(folder)) if folder.is_dir() else None
    except EmotionOmniError:
        return None
    return found


def refuse(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "parent")
