"""What an export holds and what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotation.export.labels import UNANCHORED
from annotation.store.event_log import Event, EventLog, decode
from annotation.store.migrations import MIGRATIONS
from annotation.study.rules import Study
from annotation.study.translate import version
from emotion_omni import __version__, emotion
from emotion_omni.rating_contract import CONTRACT
from emotion_omni.types import EmotionOmniError

EXPORTER = f"emotion-omni-studio {__version__}, export {CONTRACT}"
_CODE = ("analysis", "export", "people", "store", "study")  # folders that decide what a row says


@dataclass(frozen=True)
class Manifest:
    """``excluded``: reason → number of items that give no training row for it.

    ``held_out``: of those that the split lock excludes, reason → number. ``labels``: which are exported;
    ``label_counts``: how many ordinary ratings the study has of each. ``notes``: what a reader must know at once.
    ``files``: every other file → its SHA-256. ``log_sha256``: of the event log up to ``log_sequence``.
    ``kto_weights``: ``desirable_weight`` and ``undesirable_weight`` for KTO; ``None`` where one label is missing.
    ``label_smoothing``: the mean flip rate, for robust DPO; ``None`` without pairs. ``code_sha256``: of the code that
    decides what a row says. ``contract``: which version of :mod:`emotion_omni.rating_contract` it keeps. ``split``: of
    the study.
    """

    study: str
    rows: Mapping[str, int]
    excluded: Mapping[str, int]
    kto_weights: Mapping[str, float] | None
    label_smoothing: float | None
    files: Mapping[str, str]
    log_sha256: str
    log_sequence: int
    scales: Mapping[str, str]
    held_out: Mapping[str, int] = field(default_factory=dict)
    labels: str = UNANCHORED
    label_counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    database_version: int = len(MIGRATIONS)
    code_sha256: str = ""
    contract: int = CONTRACT
    split: str = "training"
    exporter: str = EXPORTER


def scale_versions(rules: Study) -> dict[str, str]:
    """Question → the version of its words, as raters read them."""
    return {scale.name: version(scale.version, rules.language) for scale in rules.form.asked(True)}


def code_sha256() -> str:
    """Of names and contents of all modules in the folders above and of the table of emotions."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(Path(emotion.__file__).read_bytes())
    for path in sorted(path for folder in _CODE for path in (root / folder).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def log_sha256(log: EventLog, through: int) -> str:
    """Of the lines up to the sequence number ``through``."""
    digest = hashlib.sha256()
    for line, event in _events(log):
        if event["sequence"] <= through:
            digest.update(line)
    return digest.hexdigest()


def refuse_withdrawals(log: EventLog, since: int, holds: Callable[[Event], bool]) -> None:
    """What was read before a withdrawal must not be written after it. ``holds``: whether an event erases some of it."""
    if any(event["sequence"] > since and holds(event) for _, event in _events(log)):
        raise EmotionOmniError(
            "Somebody withdrew while this export was made, so it was discarded. Export again.", "changed-meanwhile"
        )


def _events(log: EventLog) -> Iterator[tuple[bytes, Event]]:
    """Lines with their events. A line without its end is still being written."""
    for path in log.segments():
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            if line.endswith(b"\n"):
                yield line, decode(line.rstrip(b"\n"), f"{path.name}, line {number}")
