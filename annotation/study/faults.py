"""Faults of an import: each with its file, row and column, and all of them in one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from emotion_omni.types import EmotionOmniError

MOST_SHOWN = 1000


@dataclass(frozen=True)
class Fault:
    message: str
    code: str
    file: str = ""
    row: str = ""  # "row 3" of a sheet, where the header is row 1; "line 3" of JSON lines
    column: str = ""

    def __str__(self) -> str:
        where = [self.file, self.row, f"column {self.column!r}" if self.column else ""]
        place = ", ".join(part for part in where if part)
        return f"{place}: {self.message}" if place else self.message


class ImportFaults(EmotionOmniError):
    """All faults of an import. Its code is that of the first."""

    def __init__(self, faults: list[Fault]) -> None:
        lines = [str(fault) for fault in faults[:MOST_SHOWN]]
        if len(faults) > MOST_SHOWN:
            lines.append(f"… and {len(faults) - MOST_SHOWN} more.")
        text = lines[0] if len(faults) == 1 else f"{len(faults)} faults; nothing was made:\n- " + "\n- ".join(lines)
        super().__init__(text, faults[0].code)
        self.faults = faults

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.faults]


class Faults:
    """Collects the faults of an import while it goes on."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, message: str, code: str = "bad-manifest", file: str = "", row: str = "", column: str = "") -> None:
        self.found.append(Fault(message, code, file, row, column))

    @contextmanager
    def at(self, file: str = "", row: str = "", column: str = "") -> Iterator[None]:
        """Keep an error as a fault of this place."""
        try:
            yield
        except ImportFaults as error:
            self.found += error.faults
        except EmotionOmniError as error:
            self.add(str(error), error.code, file, row, column)

    def settle(self) -> None:
        if self.found:
            raise ImportFaults(self.found)
