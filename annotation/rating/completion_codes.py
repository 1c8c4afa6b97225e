"""Completion codes: what raters show to a platform that pays on proof of having finished, and who looks them up."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
from typing import Any

from annotation.people.signing_key import pseudonym
from annotation.rating.enrolment import known_study
from annotation.store.store import Store

COLUMNS = ("rater", "code", "ratings")


def completion_code(key: bytes, study: str, rater: str) -> str:
    return hmac.new(key, f"done:{study}:{rater}".encode(), hashlib.sha256).hexdigest()[:8].upper()


def completion_codes(store: Store, key: bytes, study: str) -> list[dict[str, Any]]:
    """Of everybody who has finished a study: pseudonym as in its export, code, number of ratings."""
    with store.read() as view:
        known_study(view, study)
        return [
            {
                "rater": pseudonym(key, study, row["rater"]),
                "code": completion_code(key, study, row["rater"]),
                "ratings": view.count_ratings(study, row["rater"]),
            }
            for row in view.enrolments(study)
            if row["phase"] == "done"
        ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
