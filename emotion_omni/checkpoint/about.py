"""What a checkpoint records about itself: its data, its parent, its base models, its files with their hashes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from emotion_omni.checkpoint.errors import as_checkpoint_error
from emotion_omni.checkpoint.layout import CONFIG, REPO, SHA256, TENSORS
from emotion_omni.omni.config import OmniConfig
from emotion_omni.strict import Strict

MAX_LINE = 300  # characters of a name
UNPINNED = "unpinned"


@dataclass(frozen=True)
class Data(Strict):
    """A data set it was trained on: ``rows`` of it in the training split."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Stored(Strict):
    """A file of the checkpoint."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class About(Strict):
    """What a checkpoint is and where it comes from, stored in ``about.json``.

    ``created``: ISO 8601 in UTC. ``parent``: the identity of the checkpoint that training started from.
    ``base_models``: as :func:`base_models` gives them; where empty, ``save()`` fills them in, as it does ``files``,
    which include neither the card nor this file. Values out of range and unknown keys are refused
    (:class:`EmotionOmniError`, code ``checkpoint``).
    """

    name: str
    stages: tuple[str, ...]  # ("understand",) or ("understand", "speak")
    created: str
    parent: str | None
    data: tuple[Data, ...]
    base_models: dict[str, str]
    steps: int
    metrics: dict[str, float]
    seed: int
    version: str  # of this package
    licence: str = "not stated"  # of the weights; a hub identifier where there is one, such as "cc-by-nc-4.0"
    files: dict[str, Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with as_checkpoint_error():
            object.__setattr__(self, "stages", tuple(self.stages))
            object.__setattr__(self, "data", tuple(_as(Data, each) for each in self.data))
            object.__setattr__(self, "files", {name: _as(Stored, each) for name, each in self.files.items()})
            self._check_text()
            self._check_numbers()
            self._check_files()

    def _check_text(self) -> None:
        for name, text in (("version", self.version), ("licence", self.licence)):
            self._require(_is_line(text) and bool(text), name, "one line of text")
        self._require(_is_line(self.name), "name", f"one line of at most {MAX_LINE} characters")
        stages = (("understand",), tuple(TENSORS))
        self._require(self.stages in stages, "stages", "('understand',) or ('understand', 'speak')")
        self._require(_is_utc(self.created), "created", "a time in UTC such as '2026-01-31T12:00:00+00:00'")
        self._require(self.parent is None or _is_sha256(self.parent), "parent", "a SHA-256 in hexadecimal, or null")
        names = [*self.base_models, *self.base_models.values()]
        self._require(all(map(_is_line, names)), "base_models", "names by role")
        data = all(_is_line(each.name) and _is_sha256(each.sha256) for each in self.data)
        self._require(data, "data", "names with a SHA-256 each")

    def _check_numbers(self) -> None:
        self._require(type(self.seed) is int, "seed", "a whole number")
        self._require(type(self.steps) is int and self.steps >= 0, "steps", "a whole number, 0 or more")
        self._require(all(each.rows >= 0 for each in self.data), "data", "of 0 rows or more")
        finite = all(_is_line(name) and _is_finite(value) for name, value in self.metrics.items())
        self._require(finite, "metrics", "finite numbers by name")

    def _check_files(self) -> None:
        known = [CONFIG, *TENSORS.values()]
        self._require(set(self.files) <= set(known), "files", f"of {', '.join(known)}")
        fit = all(_is_sha256(each.sha256) and each.bytes >= 0 for each in self.files.values())
        self._require(fit, "files", "sizes and SHA-256 by name")


def base_models(config: OmniConfig) -> dict[str, str]:
    """Role → ``id@revision`` of each frozen model of the hub, ``id@unpinned`` where the configuration has no revision.

    Parts of this package and folders keep their name.
    """
    names = {
        "semantic": config.semantic.name,
        "emotion": config.emotion.name,
        "language_model": config.language_model.name,
    }
    return {role: f"{name}@{UNPINNED}" if _is_unpinned(name) else name for role, name in names.items()}


def _is_unpinned(name: str) -> bool:
    return REPO.fullmatch(name) is not None and not Path(name).is_dir()


def _as(kind: Any, value: Any) -> Any:
    return value if isinstance(value, kind) else kind.from_json(json.dumps(value))


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable() and len(text) <= MAX_LINE


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_sha256(text: Any) -> bool:
    return isinstance(text, str) and SHA256.fullmatch(text) is not None


def _is_utc(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except (TypeError, ValueError):
        return False
