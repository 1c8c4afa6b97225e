"""Confusion matrix and unweighted average recall."""

from __future__ import annotations

import pandas as pd
import pytest

from annotation.analysis.confusion import confusion_matrix, unweighted_average_recall
from emotion_omni.types import EmotionOmniError


def test_confusion_and_recall_by_hand():
    rows = pd.DataFrame(
        {
            "rated": ["sad", "sad", "sad", "sad", "happy", "happy"],
            "heard": ["sad", "sad", "sad", "happy", "happy", "calm"],
        }
    )
    table = confusion_matrix(rows, ["happy", "sad", "calm"])
    assert table.loc["sad"].to_dict() == {"happy": 1, "sad": 3, "calm": 0}
    assert table.to_numpy().tolist() == [[1, 0, 1], [1, 3, 0], [0, 0, 0]]
    assert unweighted_average_recall(table) == pytest.approx((1 / 2 + 3 / 4) / 2)  # nobody gave "calm"


def test_recall_of_nothing_is_none_and_unknown_labels_are_refused():
    empty = confusion_matrix(pd.DataFrame({"rated": [], "heard": []}), ["happy", "sad"])
    assert empty.to_numpy().sum() == 0 and unweighted_average_recall(empty) is None
    with pytest.raises(EmotionOmniError, match="'grumpy' in 'heard'. Use one of: happy, sad"):
        confusion_matrix(pd.DataFrame({"rated": ["sad"], "heard": ["grumpy"]}), ["happy", "sad"])
