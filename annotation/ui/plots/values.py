"""What the pictures read from rows of results, and the same values written as text.

A row is a mapping, a table row or an object with the named attributes. Whatever is missing or not finite is written
in words or as a dash, never as a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

SPOKEN_ROWS = 12  # so that a screen reader's sentence stays short; the table has every row


def as_records(rows: Any) -> list[Any]:
    return rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)


def field(row: Any, name: str) -> Any:
    return row.get(name) if hasattr(row, "get") else getattr(row, name, None)


def finite(value: Any) -> float | None:
    """The value as a finite number, or None: for None, NaN, infinity, a missing value of a table, text."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def number_of(row: Any, name: str) -> float | None:
    return finite(field(row, name))


def numbers_of(rows: Iterable[Any], *names: str) -> list[float]:
    found = (number_of(row, name) for row in rows for name in names)
    return [number for number in found if number is not None]


def as_text(value: object) -> str:
    """The value as text, not yet escaped; empty for None and NaN."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def text_of(row: Any, name: str) -> str:
    return as_text(field(row, name))


def _rounded(number: float) -> str:
    return f"{round(number, 2) + 0.0:,.2f}"  # + 0.0 turns -0.00 into 0.00


def value_text(row: Any, name: str) -> str:
    number = number_of(row, name)
    return "–" if number is None else _rounded(number)


def count_text(row: Any, name: str) -> str:
    number = number_of(row, name)
    return "–" if number is None else f"{number:,.0f}"


def counted(row: Any, name: str, one: str) -> str:
    """For example "1 rating" or "480 ratings"; empty if the number is not defined."""
    number = number_of(row, name)
    return "" if number is None else f"{number:,.0f} {one}{'' if number == 1 else 's'}"


def interval_text(row: Any, low: str, high: str) -> str:
    """For example "3.61 to 4.07"; "above 3.61" or "below 4.07" where one side is open."""
    if number_of(row, low) is None:
        return "–" if number_of(row, high) is None else f"below {value_text(row, high)}"
    if number_of(row, high) is None:
        return f"above {value_text(row, low)}"
    return f"{value_text(row, low)} to {value_text(row, high)}"


def estimate_text(row: Any, name: str) -> str:
    """For example "3.84 (3.61 to 4.07)"; the interval is left out if it is not defined."""
    if number_of(row, name) is None:
        return "not defined"
    interval = interval_text(row, "low", "high")
    return value_text(row, name) + ("" if interval == "–" else f" ({interval})")


def reason_text(row: Any, *names: str) -> str:
    """Empty if all the named numbers are defined, else "not defined because …" with the row's own reason."""
    if all(number_of(row, name) is not None for name in names):
        return ""
    reason = text_of(row, "reason").strip()
    if reason.lower().startswith("not defined"):
        return reason
    return f"not defined because {reason or 'no number was given, nor a reason'}"


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def sentence(parts: Iterable[str]) -> str:
    """The parts as one sentence for a screen reader, cut after ``SPOKEN_ROWS``."""
    clauses = list(parts)
    more = f"; and {len(clauses) - SPOKEN_ROWS} more" if len(clauses) > SPOKEN_ROWS else ""
    return "; ".join(clauses[:SPOKEN_ROWS]) + more + "."
