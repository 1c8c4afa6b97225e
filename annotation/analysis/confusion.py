"""Labels that people gave against labels that the model predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from annotation.analysis.ratings import require_columns
from emotion_omni.types import EmotionOmniError


def confusion_matrix(rows: pd.DataFrame, categories: Sequence[str]) -> pd.DataFrame:
    """Counts: a row for each label that people gave (``rated``), a column for each that the model ``heard``.

    ``rows``: columns ``heard``, ``rated``. Both axes hold ``categories``, in their order. Raises
    :class:`EmotionOmniError` (codes ``columns``, ``missing-values``, ``category``).
    """
    checked = require_columns(rows, ("heard", "rated"), numeric=())
    for name in ("heard", "rated"):
        wrong = checked[name][~checked[name].isin(list(categories))]
        if len(wrong):
            raise EmotionOmniError(
                f"Unknown label {wrong.iloc[0]!r} in {name!r}. Use one of: {', '.join(categories)}.", "category"
            )
    size = len(categories)
    index = pd.Index(categories)
    cells = index.get_indexer(pd.Index(checked["rated"])) * size + index.get_indexer(pd.Index(checked["heard"]))
    counts = np.bincount(cells, minlength=size * size).reshape(size, size)
    return pd.DataFrame(counts, index=pd.Index(categories, name="rated"), columns=pd.Index(categories, name="heard"))


def unweighted_average_recall(confusion: pd.DataFrame) -> float | None:
    """Mean over rated labels of the share heard as such, 0 to 1; ``None`` without any. Labels not given are skipped."""
    counts = confusion.to_numpy(dtype=np.float64)
    given = counts.sum(axis=1)
    if not given.any():
        return None
    return float((np.diag(counts)[given > 0] / given[given > 0]).mean())
