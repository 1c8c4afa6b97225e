"""What raters reported beside their ratings: reasons for skipped items, notes, and comments in the closing survey."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.study.scales import SURVEY

DISTRESSING = "distressing"  # the reason that a researcher should look at first


@dataclass(frozen=True)
class Reports:
    """``surveys``: rater → answers, of those who have come to the survey. Raters are ids, not pseudonyms."""

    skips: Sequence[Row]
    surveys: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, view: View, study: str) -> Reports:
        answers = {row["rater"]: row["answers"] for row in view.enrolments(study)}
        return cls(view.skips(study), {rater: given["survey"] for rater, given in answers.items() if "survey" in given})

    def reasons(self) -> list[tuple[str, Counter[str]]]:
        """Item → how often it was skipped for each reason; first the distressing ones, then those skipped most."""
        found: dict[str, Counter[str]] = {}
        for row in self.skips:
            found.setdefault(row["item"], Counter())[row["reason"]] += 1
        return sorted(found.items(), key=lambda one: (-one[1][DISTRESSING], -one[1].total(), one[0]))

    def comments(self) -> list[tuple[str, str]]:
        """Rater and words, by rater."""
        words = [scale.name for scale in SURVEY if scale.kind == "text"]
        return [
            (rater, given[name]) for rater, given in sorted(self.surveys.items()) for name in words if given.get(name)
        ]
