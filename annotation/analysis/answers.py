"""The answers of a study as columns: one row a rating, and for each question the ratings that answer it.

Everything is grouped once, so that a large study is not searched again for every rater, item and question. Knows
nothing of the store; what it joins is given to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from annotation.analysis.raters import Verdict

Row = Mapping[str, Any]

COLUMNS = [
    "rating",
    "item",
    "family",
    "rater",
    "kind",
    "scale",
    "version",
    "level",
    "value",
    "side",
    "guess_shown",
    "guess",
    "guess_probability",
    "system",
    "mode",
    "block",
    "slot",
    "seconds",
    "heard",
    "right",
    "at",
    "outcome",
    "reasons",
]
OF_ANSWERS = ("scale", "version", "level", "value")  # the other columns are of the rating


@dataclass(frozen=True)
class Question:
    """As it was asked: the version of its wording, its level of measurement, and whether its answers are numbers."""

    version: str
    level: str
    numeric: bool


@dataclass(frozen=True, eq=False)
class Answers:
    """``ratings``: those with an answer to any question. ``given``: for each question, the positions of the ratings
    that answer it and the answers. ``rows``: the ratings as stored.
    """

    ratings: pd.DataFrame
    given: Mapping[str, tuple[np.ndarray, list]]
    rows: Sequence[Row]
    questions: Mapping[str, Question]

    @classmethod
    def read(
        cls,
        ratings: Sequence[Row],
        items: Mapping[str, Row],
        verdicts: Mapping[str, Verdict],
        pseudonyms: Mapping[str, str],
        questions: Mapping[str, Question],
    ) -> Answers:
        """Answers to other ``questions`` are left out. ``verdicts`` and ``pseudonyms`` by the rater's id."""
        rows = [row for row in ratings if not questions.keys().isdisjoint(row["answers"])]
        found: dict[str, tuple[list[int], list]] = {name: ([], []) for name in questions}
        for place, row in enumerate(rows):
            for name, value in row["answers"].items():
                if name in found:
                    places, values = found[name]
                    places.append(place)
                    values.append(value)
        given = {name: (np.array(places, dtype=np.intp), _joined(values)) for name, (places, values) in found.items()}
        given = {name: pair for name, pair in given.items() if len(pair[0])}
        return cls(_of_ratings(rows, items, verdicts, pseudonyms), given, rows, questions)

    @property
    def empty(self) -> bool:
        return not self.given

    @cached_property
    def _kinds(self) -> np.ndarray:
        return self.ratings["kind"].to_numpy(dtype=object)

    @cached_property
    def _flagged(self) -> np.ndarray:
        return self.ratings["outcome"].to_numpy(dtype=object) == "flagged"

    @property
    def ordinary(self) -> int:
        """How many ordinary ratings there are."""
        return int((self._kinds == "rate").sum())

    def to(self, scale: str, kept_only: bool, kind: str, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
        """The answers to one question of one kind of task, with some of :data:`COLUMNS`."""
        places, given = self.given.get(scale, (np.zeros(0, dtype=np.intp), []))
        chosen = self._kinds[places] == kind
        if kept_only:
            chosen &= ~self._flagged[places]
        answers = pd.Series(given, dtype=object)[chosen].reset_index(drop=True)
        of_ratings = [name for name in columns if name not in OF_ANSWERS]
        table = self.ratings[of_ratings].take(places[chosen]).reset_index(drop=True)
        asked = self.questions[scale]
        values = pd.to_numeric(answers) if asked.numeric else answers.astype(str)
        return table.assign(scale=scale, version=asked.version, level=asked.level, value=values)[list(columns)]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each answer, in the order in which they came, columns :data:`COLUMNS`."""
        if self.empty:
            return pd.DataFrame([], columns=COLUMNS)
        order = [(place, name) for place, row in enumerate(self.rows) for name in row["answers"] if name in self.given]
        names = [name for _, name in order]
        following = {name: iter(values) for name, (_, values) in self.given.items()}
        table = self.ratings.take([place for place, _ in order]).reset_index(drop=True)
        columns = {
            "scale": names,
            "version": [self.questions[name].version for name in names],
            "level": [self.questions[name].level for name in names],
            "value": [next(following[name]) for name in names],
        }
        return table.assign(**columns)[COLUMNS]


def _of_ratings(
    ratings: Sequence[Row], items: Mapping[str, Row], verdicts: Mapping[str, Verdict], pseudonyms: Mapping[str, str]
) -> pd.DataFrame:
    contents = [items[row["item"]]["content"] for row in ratings]
    guesses = [content.get("guess") or {} for content in contents]
    judged = [verdicts[row["rater"]] for row in ratings]
    columns = {
        "rating": [row["id"] for row in ratings],
        "item": [row["item"] for row in ratings],
        "family": [items[row["item"]]["family"] for row in ratings],
        "rater": [pseudonyms[row["rater"]] for row in ratings],
        "kind": [row["kind"] for row in ratings],
        "side": ["as stored" if row["flip"] > 0 else "swapped" for row in ratings],
        "guess_shown": [bool(row["guess"]) for row in ratings],
        "guess": [guess.get("label") for guess in guesses],
        "guess_probability": [guess.get("probability") for guess in guesses],
        "system": [_system(content) for content in contents],
        "mode": [content.get("mode", "both") for content in contents],
        "block": [row["block"] for row in ratings],
        "slot": [row["slot"] for row in ratings],
        "seconds": [row["seconds"] for row in ratings],
        "heard": [min(row["heard"].values(), default=None) for row in ratings],
        "right": [row["right"] for row in ratings],
        "at": [row["at"] for row in ratings],
        "outcome": [verdict.outcome for verdict in judged],
        "reasons": ["|".join(verdict.reasons) for verdict in judged],
    }
    return pd.DataFrame(columns)


def _joined(values: list) -> list:
    return ["|".join(value) if isinstance(value, list) else value for value in values]


def _system(content: Row) -> str | None:
    systems = content.get("systems", {})
    return " : ".join(systems[role] for role in sorted(systems)) or None
