"""Reads all that an export of a study is made from, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from annotation.analysis.agreement import Agreement
from annotation.analysis.reports import Reports
from annotation.analysis.results import Results
from annotation.export.fields import rounded
from annotation.export.labels import UNANCHORED
from annotation.export.split_lock import SplitLock
from annotation.store.event_log import Event
from annotation.store.queries import View
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.study.rules import Study

EXPORTED_ROLES = ("rate", "trap", "gold")  # training and sound check items train raters; they measure nothing


@dataclass(frozen=True, eq=False)
class Source:
    """``sequence``: of the newest event in it."""

    results: Results
    raters: frozenset[str]  # all who have begun
    consents: frozenset[str]  # raters whose agreement is stored
    reports: Reports
    lock: SplitLock
    sequence: int
    labels: str = UNANCHORED  # of :data:`LABELS`

    @classmethod
    def read(cls, studio: Studio, study: str, labels: str = UNANCHORED) -> Source:
        """Raises :class:`EmotionOmniError` (code ``not-found``)."""
        with studio.store.read() as view:
            results = Results.read(view, study, studio.people.key)
            answers = {row["rater"]: row["answers"] for row in view.enrolments(study)}
            consents = frozenset(rater for rater, given in answers.items() if given.get("consent"))
            trains = results.rules.split == "training"
            evaluated, tags = (_evaluation_items(view, study), view.locks()) if trains else ([], set())
            reports, applied = Reports.read(view, study), view.applied()
        lock = SplitLock(evaluated, tags, studio.people.key, studio.clips)
        return cls(results, frozenset(answers), consents, reports, lock, applied, labels)

    @cached_property
    def items(self) -> list[Row]:
        """Those that are exported, sorted by id."""
        return [item for _, item in sorted(self.results.items.items()) if item["role"] in EXPORTED_ROLES]

    def holds(self, event: Event) -> bool:
        """Whether something of what a withdrawal or deletion erases was read."""
        study = self.results.study["id"]
        if event["event"] == "rater.withdrawn":
            return event["rater"] in self.raters and event["study"] in (None, study)
        if event["event"] == "contributor.withdrawn":
            return not self.results.items.keys().isdisjoint(event["items"])
        return event["event"] == "study.deleted" and event["study"] == study

    @property
    def ordinary(self) -> list[Row]:
        """Items to rate, without traps and gold items."""
        return [item for item in self.items if item["role"] == "rate"]

    @cached_property
    def agreement(self) -> dict[str, list[Agreement]]:
        return self.results.agreement()

    @property
    def alpha(self) -> float | None:
        """Krippendorff's alpha of the template's main question, over raters who are not flagged."""
        found = self.agreement.get(self.results.rules.form.main)
        return rounded(found[0].value) if found else None

    @cached_property
    def adjudicated(self) -> dict[str, Row]:
        """item → the latest decision on it."""
        return {row["item"]: row for row in self.results.decisions if row["subject"] == "item"}


def _evaluation_items(view: View, study: str) -> list[Row]:
    """The items of all other studies whose split is evaluation."""
    others = [row for row in view.studies() if row["id"] != study]
    evaluation = [row["id"] for row in others if Study.read(row["settings"]).split == "evaluation"]
    return [item for name in evaluation for item in view.items(name)]
