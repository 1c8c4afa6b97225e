"""The tables of ratings and items hold what raters picked."""

from __future__ import annotations

import itertools

import pyarrow.parquet as pq
import pytest
from export_desk import (
    asked,
    comparison,
)

from annotation.export.writing import export_study
from annotation.study.scales import SCALES


@pytest.mark.parametrize("template", ["emotion-recognition", "empathy", "compare", "words-voice", "correction"])
def test_the_export_holds_what_raters_picked(desk, tmp_path, template):
    """Every value of every scale, and both side orders."""
    roles = {"compare": ("query", "a", "b"), "empathy": ("query", "reply"), "correction": ("query", "reply")}.get(
        template, ("speech",)
    )
    guess = {"label": "sad", "probability": 0.7}
    items = [desk.item({role: f"Text {n} of {role}." for role in roles}, guess=guess) for n in range(9)]
    study = desk.study(template, items)
    turns = {name: itertools.cycle(scale.values) for name, scale in SCALES.items()}

    def pick(scale):
        if scale.kind == "several":
            return [next(turns[scale.name]), next(turns[scale.name])]
        return next(turns[scale.name]) if scale.values else f"Words | with “signs”, {scale.name}"

    for _ in range(2):
        desk.rate(study, lambda item, screen: asked(screen, pick))
    export_study(desk.studio, study, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()
    on_page = {(row["rating"], row["scale"]): row["value_on_page"] for row in rows}
    shown = {
        (submit, name): "|".join(sorted(set(value), key=SCALES[name].values.index))
        if isinstance(value, list)
        else str(value)
        for submit, values in desk.picked.items()
        for name, value in values.items()
    }
    assert on_page == shown
    assert {row["value_number"] == float(row["value"]) for row in rows if SCALES[row["scale"]].kind == "points"} <= {
        True
    }
    for name in {row["scale"] for row in rows if SCALES[row["scale"]].kind in ("points", "choice")}:
        assert {row["value"] for row in rows if row["scale"] == name} == set(map(str, SCALES[name].values))


def test_a_preference_names_the_answer_that_was_played_on_either_side(desk, tmp_path):
    items = [comparison(desk, f"Query number {n}.") for n in range(8)]
    study = desk.study("compare", items)
    turns = itertools.cycle(("a", "b", "b"))
    for _ in range(3):
        desk.rate(study, lambda item, screen: {"preference": next(turns), "certainty": 1})
    export_study(desk.studio, study, tmp_path / "out")
    with desk.studio.store.read() as view:
        heard_as = {
            clip["played"]: role
            for item in view.items(study, "rate")
            for role, clip in item["content"]["clips"].items()
        }
    found = {
        row["rating"]: row
        for row in pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()
        if row["scale"] == "preference"
    }
    assert {row["side"] for row in found.values()} == {"as stored", "swapped"}
    for submit, values in desk.picked.items():
        position = 1 if values["preference"] == "a" else 2
        assert found[submit]["value"] == heard_as[desk.page[submit][position]]
        assert found[submit]["side"] == ("as stored" if heard_as[desk.page[submit][1]] == "a" else "swapped")
