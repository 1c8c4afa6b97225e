"""Every item to rate, one row each: the researcher's own file and columns beside the answers.

Only researchers see it. What raters are served never holds an item's source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from annotation.analysis.disagreement import disagreement
from annotation.analysis.results import RATED, Results

SHOWN = ("file", "about", "disagreement", "n", "answers", "decided")
LAST = ("from", "item")  # after the researcher's own
OWN = "own "  # before a name of the researcher's that is one of ours

Content = Mapping[str, Any]


def item_table(found: Results, kept_only: bool = True) -> pd.DataFrame:
    """Columns :data:`SHOWN`, the researcher's, and :data:`LAST`. The most divided items come first, those with fewer
    than two ratings last: nothing says how far their raters differ.
    """
    main = found.main
    values = found.values(main.name, kept_only, columns=RATED)
    level = main.level if main.kind == "points" else "nominal"
    divided = disagreement(values, level, list(main.values)) if len(values) else pd.DataFrame({"item": []})
    share = dict(zip(divided["item"], divided.get("disagreement", ()), strict=True))
    contents = {name: item["content"] for name, item in found.items.items() if item["role"] == "rate"}
    order = [name for name in share if name in contents] + sorted(contents.keys() - share.keys())
    counts = _counts(values)
    decided = {row["item"]: str(row["value"]) for row in found.decisions if row["subject"] == "item"}
    columns: dict[str, Sequence] = {
        "file": [file_name(contents[name]) for name in order],
        "about": [found.about(name) for name in order],
        "disagreement": [round(share[name], 3) if name in share else None for name in order],
        "n": [sum(counts.get(name, {}).values()) for name in order],
        "answers": [_most_common(counts.get(name, {})) for name in order],
        "decided": [decided.get(name, "") for name in order],
    }
    columns |= _own_columns([own_values(contents[name]) for name in order])
    columns |= {"from": [(contents[name].get("source") or {}).get("place", "") for name in order], "item": order}
    return pd.DataFrame(columns, dtype=object)


def file_name(content: Content) -> str:
    """The researcher's file; of several, each with its role."""
    files = (content.get("source") or {}).get("file") or {}
    return next(iter(files.values())) if len(files) == 1 else ", ".join(f"{role}: {one}" for role, one in files.items())


def own_values(content: Content) -> dict[str, Any]:
    """The row of the researcher's table: text and numbers as they are, anything else as JSON."""
    row = (content.get("source") or {}).get("row") or {}
    return {
        name: one if isinstance(one, str | int | float) else json.dumps(one, ensure_ascii=False)
        for name, one in row.items()
    }


def _own_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list]:
    names = dict.fromkeys(name for row in rows for name in row)
    found = {}
    for name in names:
        values = [row.get(name, "") for row in rows]
        found[OWN + name if name in (*SHOWN, *LAST) else name] = _as_numbers(values)
    return found


def _as_numbers(values: list) -> list:
    """Numbers that a CSV file holds as text, so that they sort as numbers, where none would be written differently."""
    read = [_number(one) for one in values]
    return values if any(one is None and text != "" for one, text in zip(read, values, strict=True)) else read


def _number(value: Any) -> int | float | None:
    for kind in (int, float):
        try:
            if str(kind(value)) == str(value) and not isinstance(value, bool):
                return kind(value)
        except (ValueError, OverflowError):
            continue
    return None


def _counts(values: pd.DataFrame) -> dict[str, dict[Any, int]]:
    """item → answer → how often it was given."""
    found: dict[str, dict[Any, int]] = {}
    for item, value in zip(values["item"].tolist(), values["value"].tolist(), strict=True):
        counts = found.setdefault(item, {})
        counts[value] = counts.get(value, 0) + 1
    return found


def _most_common(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{value} × {n}" for value, n in sorted(counts.items(), key=lambda pair: -pair[1]))
