"""The parent of a run: whose weights a method starts from and compares itself with.

``embedded`` is what the package ships; a promoted name or a folder is what earlier training has written, any of the
embedded engine's parts. The child inherits the parts that its parent has and the method does not change.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from emotion_omni import checkpoint
from emotion_omni.checkpoint import promotion
from emotion_omni.checkpoint.lineage import SHIPPED
from emotion_omni.checkpoint.part_files import PART_FILES, files_of, identity_of
from emotion_omni.types import EmotionOmniError

EMBEDDED = "embedded"
PART_OF = {  # method → the file that it changes
    "reward": "reranker.safetensors",
    "recognizer": "speech_emotion.safetensors",
    "sft": "responder.safetensors",
    "dpo": "responder.safetensors",
    "kto": "responder.safetensors",
}


@dataclass(frozen=True)
class Parent:
    """``files``: part's file name → path, of those that are not the shipped ones."""

    name: str
    identity: str = SHIPPED
    files: dict[str, Path] = field(default_factory=dict)

    def part(self, name: str) -> str:
        """The file of a part, empty for the shipped one."""
        return str(self.files.get(name, ""))

    def inherit(self, folder: Path, without: str) -> None:
        """Copy the parts that a method does not change into the child's ``folder``."""
        for name, path in self.files.items():
            if name != without:
                shutil.copyfile(path, folder / name)


def find(source: str, method: str) -> Parent:
    """``embedded``, a promoted name or a folder, also as ``embedded:NAME``.

    Raises :class:`EmotionOmniError` (code ``parent``).
    """
    if source == EMBEDDED:
        return Parent(EMBEDDED)
    given = source.removeprefix(f"{EMBEDDED}:")
    shown, folder = promotion.find(given) or (Path(given).resolve().name, Path(given))
    files = {name: folder / name for name in PART_FILES if (folder / name).is_file()}
    if files:
        return Parent(f"{EMBEDDED}:{shown}", identity_of(files_of(folder)), files)
    if _is_omni(given.removeprefix("omni:")):
        raise refuse(
            f"The parent {source!r} is an omni checkpoint, and {method} trains a part of the embedded engine. Choose "
            "another parent. Ratings do not train omni checkpoints yet."
        )
    raise refuse(
        f"{source!r} is no parent: neither embedded, nor a promoted name, nor a folder with any of "
        f"{', '.join(PART_FILES)}. Name the folder of a finished run."
    )


def _is_omni(source: str) -> bool:
    try:
        checkpoint.check(checkpoint.find(source), hashes=False)
        return True
    except EmotionOmniError:
        return False


def refuse(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "parent")
