"""What the voice adds to the words: accuracy from reading, from hearing with the words masked, and from both."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from annotation.analysis.intervals import Interval, clustered_mean, paired_difference
from annotation.analysis.ratings import group_as_item, require_columns
from emotion_omni.types import EmotionOmniError

MODES = ("words", "voice", "both")


@dataclass(frozen=True)
class VoiceLift:
    """``lift``: share correct with words and voice minus share correct with words alone; then each mode's share."""

    lift: Interval
    words: Interval
    voice: Interval
    both: Interval


def voice_lift(ratings: pd.DataFrame) -> VoiceLift:
    """The difference in accuracy between modes of the same items, clustered on rater and item.

    ``ratings``: columns ``mode`` (words, voice or both), ``correct`` (0 or 1), ``item``, ``rater`` and, where items
    share a script, ``group``. Raises :class:`EmotionOmniError` (codes ``columns``, ``missing-values``,
    ``not-numbers``, ``mode``, ``correct``).
    """
    checked = require_columns(group_as_item(ratings), ("mode", "correct", "item", "rater"), numeric=("correct",))
    wrong = checked["mode"][~checked["mode"].isin(MODES)]
    if len(wrong):
        raise EmotionOmniError(f"Unknown mode {wrong.iloc[0]!r}. Use one of: {', '.join(MODES)}.", "mode")
    not_binary = checked["correct"][~checked["correct"].isin([0.0, 1.0])]
    if len(not_binary):
        raise EmotionOmniError(
            f"Correct is 0 or 1, not {not_binary.iloc[0]:g}. Compare each answer with the truth first.", "correct"
        )
    scored = checked.assign(value=checked["correct"])
    words, voice, both = (clustered_mean(scored[scored["mode"] == mode]) for mode in MODES)
    return VoiceLift(paired_difference(scored, "mode", "both", "words"), words, voice, both)
