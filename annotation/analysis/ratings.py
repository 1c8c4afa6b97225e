"""The long table of ratings, one row a rating: what is read from it, and what is refused.

Columns ``item``, ``rater``, ``value`` and what else a statistic needs. Agreement, raters and labels skip rows
without a value (:func:`rated`); means, rankings and lifts refuse them (:func:`require_columns`). Knows nothing of
where ratings are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from emotion_omni.types import EmotionOmniError

LEVELS = ("nominal", "ordinal", "interval")  # of measurement (Stevens 1946)


@dataclass(frozen=True, eq=False)
class ValueCounts:
    """``counts`` [items, values]: ratings of an item by value. ``positions`` [values]: numbers, scaled to [0, 1]."""

    counts: sparse.csr_array
    positions: np.ndarray
    raters: int

    @property
    def pairable(self) -> sparse.csr_array:
        """The rows of the items with two ratings or more."""
        return self.counts[self.counts.sum(axis=1) >= 2]


def rated(ratings: pd.DataFrame, key: tuple[str, ...] = ("item", "rater")) -> pd.DataFrame:
    """The rows with a value, names as text.

    Raises :class:`EmotionOmniError`: ``columns`` (a column or a name is missing), ``rated-twice`` (one rater rated
    an item more than once, which would count as agreement with others).
    """
    missing = [column for column in (*key, "value") if column not in ratings.columns]
    if missing:
        raise EmotionOmniError(
            f"The ratings have no column {missing[0]!r}; {', '.join((*key, 'value'))} are needed, one row a rating. "
            "Rename the columns or export the ratings again.",
            "columns",
        )
    table = ratings.loc[ratings["value"].notna(), [*key, "value"]].reset_index(drop=True)
    if table[list(key)].isna().to_numpy().any():
        raise EmotionOmniError(
            "A rating names no item or no rater; both are needed. Fill them in or drop the row.", "columns"
        )
    table = table.astype({"item": str, "rater": str})
    repeated = table[table.duplicated(list(key))]
    if len(repeated):
        item, rater = repeated.iloc[0][["item", "rater"]]
        raise EmotionOmniError(
            f"Rater {rater!r} has rated item {item!r} more than once; one rating each is allowed, or a rater would "
            "agree with themselves. Keep the first, and compare hidden repeats with retest().",
            "rated-twice",
        )
    return table


@dataclass(frozen=True, eq=False)
class Rated:
    """A table read once, for several statistics: codes of the items [N] in order of their names, and the values."""

    item: np.ndarray
    items: int
    raters: int
    values: pd.Series

    @classmethod
    def read(cls, ratings: pd.DataFrame) -> Rated:
        """Raises as :func:`rated`."""
        table = rated(ratings)
        item, items = pd.factorize(table["item"], sort=True)
        return cls(item, len(items), table["rater"].nunique(), table["value"])


def count_values(ratings: pd.DataFrame | Rated, categories: Sequence | None, numeric: bool) -> ValueCounts:
    """Counts of values by item; items in order of their names, so that the order of rows changes nothing.

    Columns are the ``categories`` where given, else the values that occur, in rising order if ``numeric``.
    Scaling positions to [0, 1] changes no coefficient and gives rounding errors a common scale.
    """
    table = ratings if isinstance(ratings, Rated) else Rated.read(ratings)
    positions = np.zeros(0)
    if categories is not None:
        code, width = category_codes(table.values, categories), len(categories)
    elif numeric:
        values, code = np.unique(numbers(table.values), return_inverse=True)
        width = len(values)
        positions = (values - values[:1]) / (np.ptp(values) if width > 1 else 1)
    else:
        code, names = pd.factorize(table.values.astype(object))
        width = len(names)
    cells = (np.ones(len(code)), (table.item, code))
    return ValueCounts(sparse.coo_array(cells, shape=(table.items, width)).tocsr(), positions, table.raters)


def numbers(values: pd.Series) -> np.ndarray:
    """The values as finite numbers, text such as "4" included. Raises :class:`EmotionOmniError` (``not-a-number``)."""
    converted = pd.to_numeric(values.astype(object), errors="coerce").to_numpy(dtype=float)
    wrong = values[~np.isfinite(converted)]
    if len(wrong):
        raise EmotionOmniError(
            f"The rating {wrong.iloc[0]!r} is not a finite number, as an ordered scale needs. "
            "Replace words by their position on the scale, or treat the scale as nominal.",
            "not-a-number",
        )
    return converted


def category_codes(values: pd.Series, categories: Sequence) -> np.ndarray:
    """The index of each value in the categories. Raises :class:`EmotionOmniError` (``unknown-category``)."""
    index = pd.Index(list(categories), dtype=object)
    if not index.is_unique:
        raise EmotionOmniError(f"The scale {list(categories)} names a category twice. Name each once.", "categories")
    found = values.astype(object)
    if all_numbers(categories):
        found = pd.Series(numbers(values), index=values.index, dtype=object)
    code = index.get_indexer(pd.Index(found, dtype=object))
    if (code < 0).any():
        raise EmotionOmniError(
            f"The rating {values[code < 0].iloc[0]!r} is not on the scale. "
            f"Use one of: {', '.join(map(str, categories))}.",
            "unknown-category",
        )
    return code


def all_numbers(categories: Sequence) -> bool:
    return all(
        isinstance(category, int | float | np.number) and not isinstance(category, bool) for category in categories
    )


def as_ranks(ratings: pd.DataFrame, categories: Sequence) -> pd.DataFrame:
    """The ratings with every value replaced by its rank on the scale, from 1."""
    table = rated(ratings)
    return table.assign(value=category_codes(table["value"], categories) + 1)


def check_level(level: str) -> None:
    if level not in LEVELS:
        raise EmotionOmniError(
            f"Unknown level of measurement {level!r}. Use one of: {', '.join(LEVELS)}.", "unknown-level"
        )


def optional_column(values: Sequence[Any]) -> pd.Series:
    """A column that keeps ``None``, where pandas would write NaN."""
    return pd.Series(list(values), dtype=object)


def table_of(rows: Sequence[tuple], columns: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    """A frame of ``rows`` whose columns in ``optional`` keep ``None``."""
    table = pd.DataFrame(rows, columns=list(columns))
    for name in optional:
        position = list(columns).index(name)
        table[name] = optional_column([row[position] for row in rows])
    return table


# --- complete tables ---------------------------------------------------------------------------------------------


def require_columns(ratings: pd.DataFrame, columns: Sequence[str], numeric: Sequence[str] = ("value",)) -> pd.DataFrame:
    """The columns asked for, without gaps, those in ``numeric`` as finite float64.

    Raises :class:`EmotionOmniError` (codes ``columns``, ``missing-values``, ``not-numbers``).
    """
    missing = [name for name in columns if name not in ratings.columns]
    if missing:
        raise EmotionOmniError(
            f"The table has no column {', '.join(missing)}; it has {', '.join(map(str, ratings.columns)) or 'none'}. "
            f"Give the columns {', '.join(columns)}.",
            "columns",
        )
    table = ratings[list(dict.fromkeys(columns))]
    for name in table.columns:
        empty = int(table[name].isna().sum())
        if empty:
            raise EmotionOmniError(
                f"{empty} of {len(table)} rows have no {name!r}; every row needs one. Leave out skipped items first.",
                "missing-values",
            )
    return table.assign(**{name: _finite(table[name]) for name in numeric if name in table.columns})


def _finite(column: pd.Series) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce").astype(np.float64)
    bad = column[~np.isfinite(values)]
    if len(bad):
        raise EmotionOmniError(
            f"{len(bad)} of {len(column)} entries of {column.name!r} are not finite numbers, "
            f"such as {str(bad.iloc[0])!r}. Give numbers; replace labels by their position on the scale.",
            "not-numbers",
        )
    return values


def values_and_clusters(ratings: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """→ values [N] float64, and codes from 0 of their raters [N] and items [N]."""
    return coded(require_columns(ratings, ("item", "rater", "value")))


def coded(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`values_and_clusters`, of columns that were checked."""
    return table["value"].to_numpy(), pd.factorize(table["rater"])[0], pd.factorize(table["item"])[0]


def group_as_item(ratings: pd.DataFrame) -> pd.DataFrame:
    """Items that share a ``group`` (a prompt, a script) count as one item."""
    return ratings.assign(item=ratings["group"]) if "group" in ratings.columns else ratings
