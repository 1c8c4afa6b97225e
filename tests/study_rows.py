"""A study as rows in memory, without a store: its ratings, items and decisions."""

from __future__ import annotations

import itertools
from typing import Any

from annotation.analysis.results import Results
from annotation.study.rules import Study

IDS = itertools.count()


def rating(rater: str, item: str, answers: dict[str, Any], kind: str = "rate", **more: Any) -> dict[str, Any]:
    number = next(IDS)
    shown = {"flip": 1, "guess": False, "block": 0, "slot": 0, "handed": number - 4.0}
    usual = shown | {"seconds": 4.0, "heard": {}, "right": None}
    return {"id": f"r{number}", "item": item, "rater": rater, "kind": kind, "answers": answers, "at": number} | (
        usual | more
    )


def item(name: str, **content: Any) -> dict[str, Any]:
    return {"id": name, "family": name, "role": "rate", "content": content}


def results(template: str, items: list[dict], ratings: list[dict], decisions: tuple = (), **settings: Any) -> Results:
    rules = Study.read({"title": "A study", "template": template} | settings)
    columns = {name: [row[name] for row in ratings] for name in rating("", "", {})}
    return Results({"id": "s"}, rules, {row["id"]: row for row in items}, columns, decisions, b"secret")


def flagged(rater: str) -> dict[str, Any]:
    return {"subject": "rater", "rater": rater, "value": "flagged", "reason": "answers by a pattern"}
