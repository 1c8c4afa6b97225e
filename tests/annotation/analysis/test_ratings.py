"""Ratings that cannot be read are refused with the reason and what to do."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from rating_tables import FOUR_OBSERVERS, long

from annotation.analysis.agreement import fleiss_kappa, gwet_ac, krippendorff_alpha
from annotation.analysis.disagreement import disagreement
from annotation.analysis.soft_labels import soft_labels
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize(
    ("act", "code", "message"),
    [
        (lambda: krippendorff_alpha(FOUR_OBSERVERS, "ratio"), "unknown-level", "nominal, ordinal, interval"),
        (lambda: krippendorff_alpha(FOUR_OBSERVERS.drop(columns="rater"), "nominal"), "columns", "'rater'"),
        (lambda: krippendorff_alpha(FOUR_OBSERVERS.assign(item=None), "nominal"), "columns", "no item"),
        (lambda: krippendorff_alpha(long([["sad"], ["calm"]]), "ordinal"), "not-a-number", "'sad'"),
        (lambda: krippendorff_alpha(long([[math.inf], [1]]), "interval"), "not-a-number", "inf"),
        (lambda: gwet_ac(FOUR_OBSERVERS, range(1, 5), "nominal"), "unknown-category", "Use one of: 1, 2, 3, 4"),
        (lambda: gwet_ac(FOUR_OBSERVERS, [1, 2, 2], "nominal"), "categories", "twice"),
        (lambda: fleiss_kappa(pd.concat([FOUR_OBSERVERS] * 2)), "rated-twice", "retest"),
        (lambda: soft_labels(FOUR_OBSERVERS, range(1, 6), 0), "prior", "positive"),
        (lambda: disagreement(FOUR_OBSERVERS, "interval", [1, 2, 3]), "unknown-category", "not on the scale"),
    ],
)
def test_invalid_ratings_are_refused_with_advice(act, code, message):
    with pytest.raises(EmotionOmniError, match=message) as refusal:
        act()
    assert refusal.value.code == code
