"""The figures of one study: its ratings as a table, a verdict on each rater, and all that the Results tab shows.

Joins the store to the statistics of this package. The table is long: one row for each answer to
each question. Hidden repeats, traps and gold items stay in it, marked by ``kind``; figures use ordinary ratings
(``kind == "rate"``), once with all raters and once without those who were flagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from annotation.analysis import raters
from annotation.analysis.agreement import Agreement, agreement_table
from annotation.analysis.answers import COLUMNS, Answers, Question
from annotation.analysis.confusion import confusion_matrix
from annotation.analysis.intervals import Interval, clustered_mean, means_by, paired_difference
from annotation.analysis.ranking import Ranking, rank
from annotation.analysis.raters import Evidence, Verdict
from annotation.analysis.voice_lift import VoiceLift, voice_lift
from annotation.people.signing_key import pseudonym
from annotation.rating.playback import FASTEST
from annotation.store.queries import View
from annotation.store.tables import TASK_KINDS, Row
from annotation.study.rules import Study
from annotation.study.scales import SCALES, Scale
from annotation.study.translate import version
from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

RATED = ("item", "rater", "value")
Columns = Mapping[str, Sequence]  # of ratings, as :meth:`View.rating_columns` reads them

__all__ = ["COLUMNS", "Anchoring", "Results"]


@dataclass(frozen=True)
class Anchoring:
    """Shares of ratings that agree with the model's guess: with the guess ``shown``, with it ``hidden``, and the
    ``gap``, shown minus hidden: above zero, raters lean towards a guess that they see.
    """

    shown: Interval
    hidden: Interval
    gap: Interval


@dataclass(frozen=True, eq=False)
class Results:
    """Everything about one study, read in one transaction."""

    study: Row
    rules: Study
    items: Mapping[str, Row]
    ratings: Columns
    decisions: Sequence[Row]
    secret: bytes
    skipped_checks: Sequence[Row] = ()  # rater and kind of skipped traps and gold items

    @classmethod
    def read(cls, view: View, study: str, secret: bytes) -> Results:
        row = view.study(study)
        if row is None:
            raise EmotionOmniError("There is no such study.", "not-found")
        items = {item["id"]: item for item in view.items(study)}
        given = view.rating_columns(study), view.decisions(study), secret, view.skipped_checks(study)
        return cls(row, Study.read(row["settings"]), items, *given)

    # -- people

    def pseudonym(self, rater: str) -> str:
        """A rater's name in this study; it differs between studies, so that exports cannot be joined."""
        return pseudonym(self.secret, self.study["id"], rater)

    @cached_property
    def raters(self) -> list[str]:
        return sorted({rater for rater, kinds in self._places.items() if not kinds.keys().isdisjoint(TASK_KINDS)})

    @cached_property
    def rows(self) -> list[Row]:
        """The ratings one by one, in order of arrival."""
        names = list(self.ratings)
        return [dict(zip(names, values, strict=True)) for values in zip(*self.ratings.values(), strict=True)]

    @cached_property
    def _places(self) -> dict[str, dict[str, list[int]]]:
        """rater → kind → the positions of their ratings."""
        found: dict[str, dict[str, list[int]]] = {}
        for place, (rater, kind) in enumerate(zip(self.ratings["rater"], self.ratings["kind"], strict=True)):
            found.setdefault(rater, {}).setdefault(kind, []).append(place)
        return found

    @cached_property
    def _main_answers(self) -> list[Any]:
        """The answer of each rating to the main question, or None."""
        return [answers.get(self.main.name) for answers in self.ratings["answers"]]

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """By rater's id. The latest decision of a researcher overrides the criteria."""
        found = {rater: raters.judge(self.evidence(rater)) for rater in self.raters}
        for row in self.decisions:
            if row["subject"] == "rater" and row["rater"] in found:
                found[row["rater"]] = Verdict(row["rater"], row["value"], (f"researcher: {row['reason']}",))
        return found

    def evidence(self, rater: str) -> Evidence:
        mine = self._places.get(rater, {})
        rated = mine.get("rate", [])
        same, skipped = self._retest(mine), self._skipped.get(rater, Counter())
        main = [self._main_answers[place] for place in rated]
        return Evidence(
            rater,
            ratings=len(rated),
            traps_right=self._right(mine.get("trap", [])),
            traps_seen=len(mine.get("trap", [])) + skipped["trap"],
            gold_right=self._right(mine.get("gold", [])),
            gold_seen=len(mine.get("gold", [])) + skipped["gold"],
            retest_pairs=len(same),
            retest_same=float(np.mean(same)) if same else None,
            median_seconds=float(np.median(self._thinking_seconds[rated])) if rated else None,
            constant=len(set(map(str, main))) == 1 if len(main) >= 10 else None,
            agreement_with_others=self._agreement_with_others.get(rater),
        )

    def _right(self, places: Sequence[int]) -> int:
        return sum(bool(self.ratings["right"][place]) for place in places)

    @cached_property
    def _skipped(self) -> dict[str, Counter]:
        """rater → how many checks of each kind they skipped, which are not passed."""
        found: dict[str, Counter] = {}
        for row in self.skipped_checks:
            found.setdefault(row["rater"], Counter())[row["kind"]] += 1
        return found

    @cached_property
    def _thinking_seconds(self) -> np.ndarray:
        """Of each rating, from hand-out to answer, by the server's clock, without the least time in which the clips
        can be heard.
        """
        needed = {name: _seconds_of_clips(item["content"]) / FASTEST for name, item in self.items.items()}
        at, handed = (np.array(self.ratings[name], dtype=float) for name in ("at", "handed"))
        return np.maximum(0.0, at - handed - np.array([needed[item] for item in self.ratings["item"]]))

    @cached_property
    def _agreement_with_others(self) -> dict[str, float | None]:
        """By rater's id: agreement of the main answers with the others'; below zero, they contradict everyone else."""
        columns = {name: self.ratings[name] for name in ("item", "rater", "kind")} | {"value": self._main_answers}
        table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
        table = table[(table["kind"] == "rate") & table["value"].notna()]
        table = table.drop_duplicates(["item", "rater"], keep="last")
        scale = self.main
        return raters.agreement_with_others(table, None if scale.kind == "points" else len(scale.values))

    def _retest(self, places: Mapping[str, Sequence[int]]) -> list[bool]:
        """Whether the main answer to each hidden repeat was the same; on points, within one point. ``places``: of one
        rater's ratings, by kind.
        """
        if not places.get("repeat"):
            return []
        items = self.ratings["item"]
        first = {items[place]: self._main_answers[place] for place in places.get("rate", [])}
        pairs = [
            (first[items[place]], self._main_answers[place]) for place in places["repeat"] if items[place] in first
        ]
        return [abs(a - b) <= 1 if isinstance(a, int) and isinstance(b, int) else a == b for a, b in pairs]

    # -- the table

    @cached_property
    def answers(self) -> Answers:
        names = {rater: self.pseudonym(rater) for rater in self.raters}
        questions = {
            name: Question(version(scale.version, self.rules.language), scale.level, scale.kind == "points")
            for name, scale in SCALES.items()
        }
        return Answers.read(self.ratings, self.items, self.verdicts, names, questions, TASK_KINDS)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each answer, columns :data:`COLUMNS`; multiple-choice answers are joined by ``|``."""
        return self.answers.table

    def values(
        self, scale: str, kept_only: bool = True, kind: str | None = "rate", columns: Sequence[str] = COLUMNS
    ) -> pd.DataFrame:
        """The answers to one question of one kind of task (None: of all), with columns of the table."""
        return self.answers.to(scale, kept_only, kind, columns)

    # -- figures

    @property
    def main(self) -> Scale:
        """The main question."""
        return SCALES[self.rules.form.main]

    @property
    def scales(self) -> list[Scale]:
        """The questions with an answer on a scale."""
        return [scale for scale in self.rules.form.asked(True) if scale.level != "none" and scale.kind != "several"]

    def agreement(self, kept_only: bool = True) -> dict[str, list[Agreement]]:
        given = [(scale, self.values(scale.name, kept_only, columns=RATED)) for scale in self.scales]
        return {
            scale.name: agreement_table(values, scale.level, list(scale.values))
            for scale, values in given
            if len(values)
        }

    def means(self, kept_only: bool = True) -> dict[str, pd.DataFrame]:
        """For each scale of points: each system's mean with its clustered interval and the naive one."""
        points = [scale.name for scale in self.scales if scale.kind == "points"]
        found = {
            name: self.values(name, kept_only, columns=(*RATED, "system")).fillna({"system": "all"}) for name in points
        }
        return {name: means_by(values, "system") for name, values in found.items() if len(values)}

    def votes(self, kept_only: bool = True) -> pd.DataFrame:
        """Comparisons as the page showed them: systems left and right, and which side won."""
        chosen = self.values("preference", kept_only)
        sides = [self._sides(item, side) for item, side in zip(chosen["item"], chosen["side"], strict=True)]
        won = [_winner(value, side) for value, side in zip(chosen["value"], chosen["side"], strict=True)]
        return chosen.assign(left=[left for left, _ in sides], right=[right for _, right in sides], outcome=won)

    def _sides(self, item: str, side: str) -> tuple[str, str]:
        systems = self.items[item]["content"].get("systems", {})
        a, b = systems.get("a", "a"), systems.get("b", "b")
        return (a, b) if side == "as stored" else (b, a)

    def ranking(self, kept_only: bool = True, bootstrap: int = 300) -> Ranking | None:
        votes = self.votes(kept_only) if self.rules.template == "compare" else pd.DataFrame()
        votes = votes[votes["left"] != votes["right"]] if len(votes) else votes
        return rank(votes, bootstrap=bootstrap) if len(votes) else None

    def confusion(self, kept_only: bool = True) -> pd.DataFrame | None:
        """Labels of people against the model's guess, where raters did not see the guess."""
        if "primary" not in self.rules.form.scales:
            return None
        chosen = self.values("primary", kept_only)
        unseen = chosen["guess"].notna() & ~chosen["guess_shown"].astype(bool)
        chosen = chosen[unseen & chosen["value"].isin(emotion.NAMES)]  # not "other", "cannot-tell"
        if chosen.empty:
            return None
        pairs = pd.DataFrame({"heard": chosen["guess"], "rated": chosen["value"]})
        return confusion_matrix(pairs, list(emotion.NAMES))

    def anchoring(self, kept_only: bool = True) -> Anchoring | None:
        """How far ratings made with the model's guess visible lean towards it, compared with those made without."""
        if "primary" not in self.rules.form.scales:
            return None
        chosen = self.values("primary", kept_only, columns=(*RATED, "guess", "guess_shown"))
        chosen = chosen[chosen["guess"].notna()]
        shown = chosen["guess_shown"].map({True: "shown", False: "hidden"})
        agrees = chosen.assign(value=(chosen["value"] == chosen["guess"]).astype(float), shown=shown)
        agrees = agrees[["item", "rater", "value", "shown"]]
        if agrees["shown"].nunique() < 2:
            return None
        shown, hidden = (clustered_mean(agrees[agrees["shown"] == name]) for name in ("shown", "hidden"))
        return Anchoring(shown, hidden, paired_difference(agrees, "shown", "shown", "hidden"))

    def voice_lift(self, kept_only: bool = True) -> VoiceLift | None:
        """Share of answers equal to the item's stated emotion from words, from voice, and from both.

        ``None`` without a stated emotion: the raters' own majority would favor the mode it is taken from.
        """
        if self.rules.template != "words-voice":
            return None
        truth, chosen = self._truth(), self.values("primary", kept_only)
        chosen = chosen[chosen["family"].isin(truth)]
        if chosen.empty:
            return None
        correct = [float(truth[row.family] == row.value) for row in chosen.itertuples()]
        return voice_lift(chosen.assign(correct=correct, group=chosen["family"]))

    def _truth(self) -> dict[str, str]:
        """family → stated emotion."""
        stated = {
            item["family"]: item["content"].get("about", {}).get("emotion")
            for item in self.items.values()
            if item["role"] == "rate"
        }
        return {family: emotion.find(name).name for family, name in stated.items() if emotion.is_known(name)}

    def distribution(self, scale: str, kept_only: bool = True) -> dict[str, list[int]]:
        """How often each value was given, by system."""
        chosen, values = self.values(scale, kept_only, columns=("value", "system")), SCALES[scale].values
        series = chosen.groupby(chosen["system"].fillna("all"))["value"]
        return {str(name): [int((group == value).sum()) for value in values] for name, group in series}

    def retest(self) -> pd.DataFrame:
        main = self.rules.form.main
        first, again = (self.values(main, False, kind, RATED) for kind in ("rate", "repeat"))
        pairs = pd.concat([first.assign(repeat=0), again.assign(repeat=1)], ignore_index=True)
        return raters.retest(pairs[["item", "rater", "value", "repeat"]])

    @property
    def first_points(self) -> Scale | None:
        """The scale on which raters' severity is measured: the main one, or else the first with points."""
        points = [scale for scale in self.scales if scale.kind == "points"]
        return next((scale for scale in points if scale.name == self.rules.form.main), points[0] if points else None)

    def severity(self) -> pd.DataFrame | None:
        """How much higher or lower each rater rates than the others."""
        values = self.values(self.first_points.name, False, columns=RATED) if self.first_points else pd.DataFrame()
        return raters.severity(values) if len(values) else None

    def about(self, item: str) -> str:
        """The first words of an item, so that a person can find it."""
        texts = self.items[item]["content"].get("texts", {})
        return next(filter(None, texts.values()), "")[:60]

    def alarm(self) -> str | None:
        """A warning if exclusions rose sharply among the later half of the raters."""
        began: dict[str, float] = {}
        for rater, at in zip(self.ratings["rater"], self.ratings["at"], strict=True):
            began[rater] = min(at, began.get(rater, at))
        order = sorted(self.raters, key=began.__getitem__)
        verdicts = [self.verdicts[rater] for rater in order]
        half = len(verdicts) // 2
        return raters.exclusion_alarm(verdicts[:half], verdicts[half:])

    def per_hour(self) -> list[tuple[str, int]]:
        rated = zip(self.ratings["at"], self.ratings["kind"], strict=True)
        times = pd.to_datetime([at for at, kind in rated if kind == "rate"], unit="s", utc=True)
        counts = pd.Series(1, index=times).resample("1h").sum() if len(times) else pd.Series(dtype=int)
        return [(at.strftime("%Y-%m-%d %H:00"), int(n)) for at, n in counts.items()]


def _winner(value: str, side: str) -> str:
    """The side of the page that won, from the answer as stored."""
    if value == "tie":
        return value
    return "left" if (value == "a") == (side == "as stored") else "right"


def _seconds_of_clips(content: Row) -> float:
    """How long the clips of an item last, those that raters hear."""
    clips = content.get("clips", {})
    if content.get("mode") == "words":  # of an answer that is read, the query is heard
        clips = {role: clip for role, clip in clips.items() if role == "query"}
    return sum(clip.get("seconds", 0.0) for clip in clips.values())
