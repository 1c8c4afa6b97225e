"""What a recognizer finds in a clip before it knows the speaker, computed once and kept on disk.

A file is named by the SHA-256 of the clip and the identity of the recognizer, so a renamed clip is found again, and
features of other weights or other code are never mixed up. Files are whole or not there: a run that was killed resumes.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Extracted:
    """``features``: float32 [F]; ``None`` where the clip was refused, and ``refused`` is the code of the error.

    ``words``: how many were made out; ``None`` for a recognizer without words.
    """

    features: np.ndarray | None
    words: int | None = None
    refused: str = ""


class ClipFeatures:
    """The files of one recognizer in a folder."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder, self._identity = folder, identity
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, clip: Path, extract: Callable[[Path], Extracted]) -> Extracted:
        """From disk, or else extracted now."""
        file = self.path(clip)
        if not file.exists():
            self._write(file, extract(clip))
        with np.load(file) as saved:
            features = saved["features"] if len(saved["features"]) else None
            words = int(saved["words"])
            return Extracted(features, None if words < 0 else words, str(saved["refused"]))

    def path(self, clip: Path) -> Path:
        key = hashlib.sha256(clip.read_bytes() + self._identity.encode()).hexdigest()
        return self._folder / f"{key[:32]}.npz"

    @staticmethod
    def _write(file: Path, found: Extracted) -> None:
        part = file.with_suffix(f".{os.getpid()}.part")
        features = np.zeros(0, np.float32) if found.features is None else found.features.astype(np.float32)
        with open(part, "wb") as opened:
            words = -1 if found.words is None else found.words
            np.savez(opened, features=features, words=words, refused=found.refused)
        part.replace(file)


def hash_of_code(*files: Path) -> str:
    """Comments, layout and docstrings do not count."""
    return hashlib.sha256("\n".join(_bare(path.read_text(encoding="utf-8")) for path in files).encode()).hexdigest()


def _bare(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)
