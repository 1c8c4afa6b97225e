"""Files of labelled lines: a label, a tab, a text. Knows nothing of what the labels mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from emotion_omni.text_encoding import decode_text, split_lines
from emotion_omni.types import EmotionOmniError


class LabelledLine(NamedTuple):
    number: int  # from 0, blank lines counted
    label: int  # index in the allowed labels
    text: str


def read_labelled_lines(path: Path, labels: Sequence[str]) -> list[LabelledLine]:
    """Blank lines are skipped. Raises :class:`EmotionOmniError` (codes ``data``, ``encoding``)."""
    found = []
    for number, line in enumerate(split_lines(decode_text(path.read_bytes(), path.name)[0])):
        label, _, text = line.partition("\t")
        if not line:
            continue
        if label not in labels or not text:
            raise EmotionOmniError(
                f"Line {number + 1} of {path.name} is {line[:60]!r}. It must be {' or '.join(labels)}, a tab, a text.",
                "data",
            )
        found.append(LabelledLine(number, labels.index(label), text))
    return found
