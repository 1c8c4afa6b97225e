"""Anchored labels: ratings whose rater saw the model's guess first, which pulls raters towards it.

An export holds those without it, unless others are asked for. The two are never pooled into one training row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from emotion_omni.types import EmotionOmniError

UNANCHORED, ANCHORED, BOTH = LABELS = ("unanchored", "anchored", "both")
MEASURING = ("rate", "repeat")  # kinds of ratings that label an item; traps and gold items check the rater


def check_labels(labels: str) -> str:
    if labels not in LABELS:
        known = ", ".join(LABELS)
        raise EmotionOmniError(f"labels = {labels[:40]!r} is not known. Choose one of {known}.", "bad-value")
    return labels


def chosen(labels: str) -> tuple[str, ...]:
    return (UNANCHORED, ANCHORED) if labels == BOTH else (labels,)


def label_kind(guess_shown: Any) -> str:
    return ANCHORED if guess_shown else UNANCHORED


def count_labels(ratings: Mapping[str, Sequence[Any]]) -> dict[str, int]:
    """Ordinary ratings of each kind. ``ratings``: as columns."""
    given = zip(ratings["kind"], ratings["guess"], strict=True)
    found = Counter(label_kind(guess) for kind, guess in given if kind == "rate")
    return {kind: found[kind] for kind in (UNANCHORED, ANCHORED)}


def missing_labels(labels: str, counts: Mapping[str, int]) -> str:
    """What to tell where there are ratings, but none of those that were asked for; "" otherwise."""
    if not sum(counts.values()) or any(counts[kind] for kind in chosen(labels)):
        return ""
    other = ANCHORED if labels == UNANCHORED else UNANCHORED
    seen = "after the model's guess was shown" if other == ANCHORED else "without the model's guess"
    return (
        f"This study has {other} labels only: all {counts[other]} ratings were made {seen}. So an export of {labels} "
        f"labels holds none. Export with --labels {other}, or choose it on the Results tab, to get them."
    )
