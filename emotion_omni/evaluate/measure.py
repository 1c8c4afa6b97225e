"""What a measure is: a name, its figures, what it depends on, and a function that yields samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.subject import Subject

Say = Callable[[str], None]
SUITES = ("quick", "full")
SECTIONS = ("Hearing", "Answering", "Counterfactuals", "Safety and truth", "Voice", "Speed and cost", "Judged")


@dataclass(frozen=True)
class Sources:
    """What a user brings. ``recordings``: folders with a manifest.csv. ``counterfactuals``: a folder of real recordings
    of them. ``questions``: JSONL files. ``ratings``: a folder that the studio exported. ``split``: of the manifests."""

    recordings: tuple[Path, ...] = ()
    counterfactuals: Path | None = None
    questions: tuple[Path, ...] = ()
    ratings: Path | None = None
    split: str = "test"


@dataclass(frozen=True, eq=False)
class Run:
    """What a measure is given. ``size``: how much of its set, as its suite says; 0 is all. ``cache``: a folder."""

    subject: Subject
    size: int
    sources: Sources
    cache: Path
    say: Say


class NotRun(Exception):
    """A measure cannot be taken; the message says why and what would help."""


@dataclass(eq=False)
class Outcome:
    """``details``: for the page and for people. ``not_run``: what of it could not be measured, with the reason."""

    samples: list[Sample] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"samples": [asdict(one) for one in self.samples], "details": self.details, "not_run": self.not_run}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Outcome:
        return cls([Sample(**one) for one in row["samples"]], row["details"], row["not_run"])


@dataclass(frozen=True, eq=False)
class Measure:
    """``parts``: those of the subject that it depends on. ``sizes``: by suite, absent where it is not in it.

    ``code``: modules, and ``files``: data, whose content counts beside the parts. ``sources``: fields of
    :class:`Sources` that it reads; their content counts too. ``cached``: not for what depends on the machine's load.
    """

    name: str
    title: str
    section: str
    text: str
    figures: tuple[Figure, ...]
    parts: tuple[str, ...]
    run: Callable[[Run], Outcome]
    sizes: Mapping[str, int]
    files: tuple[Path, ...] = ()
    sources: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()  # variables whose values count
    cached: bool = True

    def figure(self, name: str) -> Figure:
        """Of the figure ``uar: RAVDESS`` the entry is ``uar``, with that title behind it."""
        stem, _, of = name.partition(": ")
        found = next(one for one in self.figures if one.name == stem)
        if not of:
            return found
        return Figure(name, f"{found.title}: {of}", found.better, found.unit, False, found.margin)
