"""Completion codes: what raters show to a platform that pays on proof of having finished, and who looks them up."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import math
from typing import Any

from annotation.people.signing_key import pseudonym
from annotation.rating.enrolment import known_study
from annotation.store.store import Store
from annotation.study.rules import Study

COLUMNS = ("rater", "code", "ratings")


def completion_code(key: bytes, study: str, rater: str) -> str:
    return hmac.new(key, f"done:{study}:{rater}".encode(), hashlib.sha256).hexdigest()[:8].upper()


def least_for_code(rules: Study, families: int) -> float:
    """Ratings for a code: what the study asks for, or all that there are. ``families``: different things to rate."""
    return min(rules.least_per_rater, rules.most_per_rater or math.inf, max(1, families))


def completion_codes(store: Store, key: bytes, study: str) -> list[dict[str, Any]]:
    """Of everybody who has finished a study and has enough ratings: pseudonym as in its export, code, ratings."""
    with store.read() as view:
        least = least_for_code(Study.read(known_study(view, study)["settings"]), view.count_families(study))
        finished = [row["rater"] for row in view.enrolments(study) if row["phase"] == "done"]
        given = {rater: view.count_ratings(study, rater) for rater in finished}
    return [
        {"rater": pseudonym(key, study, rater), "code": completion_code(key, study, rater), "ratings": given[rater]}
        for rater in finished
        if given[rater] >= least
    ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
