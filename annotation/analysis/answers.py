"""The answers of a study as columns: one row a rating, and for each question the ratings that answer it.

Everything is grouped once, so that a large study is not searched again for every rater, item and question. Knows
nothing of the store; what it joins is given to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
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
    that answer it and the answers. ``order``: the names of the questions that each rating answers.
    """

    ratings: pd.DataFrame
    given: Mapping[str, tuple[np.ndarray, list]]
    order: Sequence[Sequence[str]]
    questions: Mapping[str, Question]

    @classmethod
    def read(
        cls,
        ratings: Mapping[str, Sequence],
        items: Mapping[str, Row],
        verdicts: Mapping[str, Verdict],
        pseudonyms: Mapping[str, str],
        questions: Mapping[str, Question],
        kinds: Collection[str],
    ) -> Answers:
        """Answers to other questions than ``questions``, and to tasks of other kinds than ``kinds``, are left out.

        ``ratings``: columns. ``verdicts`` and ``pseudonyms`` by the rater's id, of those who did such tasks.
        """
        found: dict[str, tuple[list[int], list]] = {name: ([], []) for name in questions}
        kept: list[int] = []
        order: list[tuple[str, ...]] = []

        @cache
        def asked(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if name in found)

        for place, (kind, answers) in enumerate(zip(ratings["kind"], ratings["answers"], strict=True)):
            names = asked(tuple(answers)) if kind in kinds else ()
            if not names:
                continue
            for name in names:
                places, values = found[name]
                places.append(len(kept))
                values.append(answers[name])
            kept.append(place)
            order.append(names)
        given = {name: (np.array(places, dtype=np.intp), _joined(values)) for name, (places, values) in found.items()}
        given = {name: pair for name, pair in given.items() if len(pair[0])}
        columns = {name: [values[place] for place in kept] for name, values in ratings.items()}
        return cls(_of_ratings(columns, items, verdicts, pseudonyms), given, order, questions)

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

    def to(self, scale: str, kept_only: bool, kind: str | None, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
        """The answers to one question of one kind of task (None: of all), with some of :data:`COLUMNS`."""
        places, given = self.given.get(scale, (np.zeros(0, dtype=np.intp), []))
        chosen = self._kinds[places] == kind if kind else np.ones(len(places), dtype=bool)
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
        order = [(place, name) for place, names in enumerate(self.order) for name in names]
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
    ratings: Mapping[str, Sequence],
    items: Mapping[str, Row],
    verdicts: Mapping[str, Verdict],
    pseudonyms: Mapping[str, str],
) -> pd.DataFrame:
    raters = {rater: (pseudonyms[rater], one.outcome, "|".join(one.reasons)) for rater, one in verdicts.items()}
    shown = {item: _shown(items[item]) for item in dict.fromkeys(ratings["item"])}
    family, guess, probability, system, mode = _transposed([shown[item] for item in ratings["item"]], 5)
    names, outcomes, reasons = _transposed([raters[rater] for rater in ratings["rater"]], 3)
    columns = {
        "rating": ratings["id"],
        "item": ratings["item"],
        "family": family,
        "rater": names,
        "kind": ratings["kind"],
        "side": ["as stored" if flip > 0 else "swapped" for flip in ratings["flip"]],
        "guess_shown": [bool(guess) for guess in ratings["guess"]],
        "guess": guess,
        "guess_probability": probability,
        "system": system,
        "mode": mode,
        "block": ratings["block"],
        "slot": ratings["slot"],
        "seconds": ratings["seconds"],
        "heard": [min(heard.values(), default=None) for heard in ratings["heard"]],
        "right": ratings["right"],
        "at": ratings["at"],
        "outcome": outcomes,
        "reasons": reasons,
    }
    return pd.DataFrame(columns)


def _shown(item: Row) -> tuple:
    """→ family, guess, its probability, systems, mode."""
    content = item["content"]
    guess = content.get("guess") or {}
    about = guess.get("label"), guess.get("probability"), _system(content), content.get("mode", "both")
    return item["family"], *about


def _transposed(rows: Sequence[tuple], width: int) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _joined(values: list) -> list:
    return ["|".join(value) if isinstance(value, list) else value for value in values]


def _system(content: Row) -> str | None:
    systems = content.get("systems", {})
    return " : ".join(systems[role] for role in sorted(systems)) or None
