"""The items of a study that may be trained on, with the ratings that count, and the provenance of their rows.

Every item that gives no row is recorded with a reason. Ratings of flagged raters do not count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from annotation.export.fields import about_json, rounded, situation
from annotation.export.labels import UNANCHORED, chosen, label_kind
from annotation.export.manifest import EXPORTER, scale_versions
from annotation.export.source import Source
from annotation.store.tables import Row
from annotation.study.presentation import judged_from, mode_of

GOOD_MEAN, BAD_MEAN = 4.0, 2.0  # of 1 to 5: "Very much" is 5, "Somewhat" 3
APPROVING_RATERS = 2  # a single rater's approval is not enough

REASONS = {
    "evaluation-study": "this is an evaluation study: its items measure models, and none may be trained on",
    "split-lock": "an evaluation study of the same store holds the same family, recording, speaker "
    "or (nearly) the same words",
    "no-label-of-this-kind": "all ratings were made after the model's guess was shown, or all without it, "
    "and the export was asked for the others (--labels)",
    "no-rating-that-counts": "nobody rated the item, or only raters who were flagged",
    "no-transcript": "the words of the query or of an answer are not known",
    "not-approved": f"fewer than {APPROVING_RATERS} raters, or a mean of empathy or relevance under {GOOD_MEAN:g}",
    "safety-flag": "a rater found something wrong with an answer that otherwise scored well",
    "middling-score": f"a mean empathy between {BAD_MEAN:g} and {GOOD_MEAN:g} says neither good nor bad (kto)",
    "tie": "as many preferred one answer as the other",
    "same-words": "two answers with the same words are nothing to a model of text "
    "(kto; kept, marked, in dpo and reward)",
    "most-left-it-unchanged": "half of the raters or more left the answer as it was, so it is not the worse one "
    "(dpo, reward)",
    "words-or-voice-alone": "rated from the words alone, or with the words masked",
    "no-emotion-named": "no rater named one of the eight emotions",
}


@dataclass(frozen=True, eq=False)
class TrainingItem:
    """``counted``: the item's ordinary ratings without those of flagged raters; ``all``: with them.

    ``labels``: whether these raters had seen the model's guess (``anchored``) or not.
    """

    item: Row
    counted: Sequence[Row]
    all: Sequence[Row]
    labels: str = UNANCHORED

    @property
    def id(self) -> str:
        return self.item["id"]

    @property
    def content(self) -> Mapping[str, Any]:
        return self.item["content"]

    def words(self, role: str) -> str:
        """The text of a role, "" if not known; runs of white space are one space."""
        return " ".join(self.content.get("texts", {}).get(role, "").split())

    def answers(self, scale: str) -> list[Any]:
        return [row["answers"][scale] for row in self.counted if scale in row["answers"]]

    def mean(self, scale: str) -> float | None:
        answers = self.answers(scale)
        return sum(answers) / len(answers) if answers else None

    def rewrites(self) -> dict[str, list[Row]]:
        """Each text that raters wrote → their ratings; texts that differ in white space only are the same."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.counted:
            if "rewrite" in row["answers"]:
                found[" ".join(row["answers"]["rewrite"].split())].append(row)
        return dict(found)


class TrainingItems:
    """``left_out``: reason (of :data:`REASONS`) → ids of the items that give no row for it.

    ``held_out``: why the split lock holds items out (a reason of ``split_lock.py``) → their ids.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.results, self.rules = source, source.results, source.results.rules
        self.left_out: dict[str, set[str]] = defaultdict(set)
        self.held_out: dict[str, set[str]] = defaultdict(set)

    def leave_out(self, reason: str, item: TrainingItem | Row) -> None:
        if reason not in REASONS:
            raise KeyError(f"{reason!r} is not explained in REASONS, which the card prints.")
        self.left_out[reason].add(item.id if isinstance(item, TrainingItem) else item["id"])

    @cached_property
    def items(self) -> list[TrainingItem]:
        """Ordinary items outside the split lock with at least one rating that counts; none of an evaluation study."""
        if self.rules.split != "training":
            self.left_out["evaluation-study"] = {item["id"] for item in self.source.ordinary}
            return []
        ratings: dict[str, list[Row]] = defaultdict(list)
        for row in self.results.rows:
            if row["kind"] == "rate":
                ratings[row["item"]].append(row)
        unlocked = [item for item in self.source.ordinary if not self._is_held_out(item)]
        return [one for item in unlocked for one in self._with_labels(item, ratings[item["id"]])]

    def _is_held_out(self, item: Row) -> bool:
        reason = self.source.lock.reason(item)
        if reason is not None:
            self.leave_out("split-lock", item)
            self.held_out[reason].add(item["id"])
        return reason is not None

    def _with_labels(self, item: Row, given: Sequence[Row]) -> list[TrainingItem]:
        """The item once for each kind of label that is exported and that it has."""
        found = []
        for kind in chosen(self.source.labels):
            rated = [row for row in given if label_kind(row["guess"]) == kind]
            counted = [row for row in rated if self.results.verdicts[row["rater"]].outcome != "flagged"]
            if counted:
                found.append(TrainingItem(item, counted, rated, kind))
        if not found:
            if any(self.results.verdicts[row["rater"]].outcome != "flagged" for row in given):
                self.leave_out("no-label-of-this-kind", item)
            else:
                self.leave_out("no-rating-that-counts", item)
        return found

    def lacks_words(self, one: TrainingItem, *roles: str) -> bool:
        """Whether the text of the query or of a role is missing, which is recorded."""
        lacks = not all(one.words(role) for role in ("query", *roles))
        if lacks:
            self.leave_out("no-transcript", one)
        return lacks

    def provenance(self, one: TrainingItem, by: Sequence[Row]) -> Row:
        """Where a row comes from. ``by``: the ratings that it is derived from."""
        results, rules, content = self.results, self.rules, one.content
        outcomes = Counter(results.verdicts[row["rater"]].outcome for row in one.all)
        decision = self.source.adjudicated.get(one.id)
        return {
            "item": one.id,
            "family": one.item["family"],
            "study": results.study["id"],
            "template": rules.template,
            "split": "train",
            "licence": rules.licence,
            "language": rules.language,
            "scales": [f"{name}@{version}" for name, version in scale_versions(rules).items()],
            "mode": mode_of(content),
            "judged_from": judged_from(rules.form, content),
            "anchoring": one.labels,
            "audio_sha256": [clip["sha"] for role in rules.form.clips if (clip := content["clips"].get(role))],
            "about": about_json(content),
            "adjudicated": decision and str(decision["value"]),
            "side_as_stored": sum(row["flip"] > 0 for row in by),
            "side_swapped": sum(row["flip"] < 0 for row in by),
            "heard_least": rounded(min((share for row in by for share in row["heard"].values()), default=None)),
            "raters": sorted(results.pseudonym(row["rater"]) for row in by),
            "n_raters": len(by),
            "agreement": self.source.alpha,
            "consent": all(row["rater"] in self.source.consents for row in by),
            "contributed": bool(one.item["contributor"]),
            "ratings_kept": outcomes["kept"],
            "ratings_could_not_check": outcomes["could-not-check"],
            "ratings_flagged": outcomes["flagged"],
            "reasons": sorted({reason for row in one.all for reason in results.verdicts[row["rater"]].reasons}),
            "exporter": EXPORTER,
        }


def majority(values: Sequence[str]) -> str | None:
    """The value given most often; ``None`` if two are tied or nothing was given."""
    first, second = (Counter(values).most_common(2) + [(None, 0), (None, 0)])[:2]
    return first[0] if first[1] > second[1] else None


def history_messages(one: TrainingItem) -> list[dict[str, str]]:
    """The earlier turns as chat messages, in front of :func:`user_message`."""
    return [{"role": message["role"], "content": message["text"]} for message in situation(one.content)["history"]]


def user_message(one: TrainingItem) -> dict[str, str]:
    return {"role": "user", "content": one.words("query")}


def assistant_message(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
