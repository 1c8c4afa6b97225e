"""Long tables of ratings to test statistics with."""

from __future__ import annotations

import numpy as np
import pandas as pd


def long(rows: list[list]) -> pd.DataFrame:
    """One list a rater, ``None`` where not rated → the long table."""
    return pd.DataFrame(
        [
            (f"i{i:03d}", f"r{r}", value)
            for r, row in enumerate(rows)
            for i, value in enumerate(row)
            if value is not None
        ],
        columns=["item", "rater", "value"],
    )


def from_counts(rows: list[list[int]]) -> pd.DataFrame:
    """One list an item: how many raters chose each category, from 1 → the long table."""
    values = [[k + 1 for k, n in enumerate(row) for _ in range(n)] for row in rows]
    rows_long = [(f"i{i}", f"r{r}", value) for i, row in enumerate(values) for r, value in enumerate(row)]
    return pd.DataFrame(rows_long, columns=["item", "rater", "value"])


N = None


# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C: 4 observers, 12 units.
# Gwet (2014), "Handbook of inter-rater reliability", uses the same table (cac.raw4raters of his R package).
FOUR_OBSERVERS = long(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)


def crossed(seed=0, raters=12, items=15, rater_sd=0.6, item_sd=0.5, noise_sd=0.7, **levels):
    """Every rater rates every item of every system; what raters and items share is the same for all systems."""
    generator = np.random.default_rng(seed)
    rater_effect, item_effect = generator.normal(0, rater_sd, raters), generator.normal(0, item_sd, items)
    rows = [
        (
            system,
            f"{system}-{item}",
            item,
            rater,
            level + rater_effect[rater] + item_effect[item] + generator.normal(0, noise_sd),
        )
        for system, level in (levels or {"a": 3.0}).items()
        for item in range(items)
        for rater in range(raters)
    ]
    return pd.DataFrame(rows, columns=["system", "item", "group", "rater", "value"])


def ratings_of(*rows):
    return pd.DataFrame(rows, columns=["item", "rater", "value"])
