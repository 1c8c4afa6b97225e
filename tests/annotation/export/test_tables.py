"""The tables of ratings and items hold what raters picked."""

from __future__ import annotations

import itertools

import pyarrow.parquet as pq
import pytest
from export_desk import (
    asked,
    comparison,
    lines,
    prefers,
)

from annotation.analysis.reports import Reports
from annotation.analysis.results import Results
from annotation.export.writing import export_study
from annotation.study.scales import SCALES
from annotation.ui.report_tables import report_tables


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
    export_study(desk.studio, study, tmp_path / "out", labels="both")
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


def reported(desk):
    """A study with a note, a comment, and an item that was skipped as distressing → the study."""
    study = desk.study("compare", [comparison(desk, f"Query number {n}.") for n in range(2)])
    desk.rate(study, lambda item, screen: prefers("a")(item, screen) | {"note": "a-note"})

    def report(transaction):
        (one,) = transaction.enrolments(study)
        answers = one["answers"] | {"survey": one["answers"]["survey"] | {"comment": "a-comment"}}
        transaction.record("phase.changed", study=study, rater=one["rater"], answers=answers)
        rated = next(row for row in transaction.assignments(study, one["rater"]) if row["kind"] == "rate")
        assignment = {name: rated[name] for name in ("study", "rater", "item", "kind", "flip", "family")}
        places = {"block": 0, "slot": 9, "guess": 0, "leased_until": 0.0}
        transaction.record("assigned", assignment="skipped-one", **assignment, **places)
        del assignment["family"]
        transaction.record("skipped", assignment="skipped-one", reason="distressing", **assignment)

    desk.studio.store.write(report)
    return study


def test_what_raters_report_is_in_both_forms_of_the_export_and_the_card_says_so(desk, tmp_path):
    out, study = tmp_path / "out", reported(desk)
    export_study(desk.studio, study, out)
    for name in ("ratings", "skips", "survey"):
        assert pq.read_table(out / f"{name}.parquet").to_pylist() == lines(out, f"{name}.jsonl")
    assert [row["value"] for row in lines(out, "ratings.jsonl") if row["scale"] == "note"] == ["a-note"] * 2
    (skip,) = lines(out, "skips.jsonl")
    assert (skip["reason"], skip["distressing"], skip["slot"]) == ("distressing", True, 9)
    (survey,) = lines(out, "survey.jsonl")
    assert (survey["comment"], survey["device"], survey["difficulty"]) == ("a-comment", "headphones", 2)
    assert survey["rater"] == skip["rater"] and skip["rater"].startswith("R")
    card = (out / "README.md").read_text()
    assert "**distressing: 1**" in card and "Comments: 1" in card


def test_what_raters_report_is_shown_with_the_results(desk):
    study = reported(desk)
    with desk.studio.store.read() as view:
        shown = report_tables(Results.read(view, study, b"key"), Reports.read(view, study))
    for text in ("a-note", "a-comment", '<strong class="alert">distressing × 1</strong>'):
        assert text in shown


def test_words_of_raters_are_no_html(desk):
    study = desk.study("compare", [comparison(desk)])
    desk.rate(study, lambda item, screen: prefers("a")(item, screen) | {"note": "<img src=x>"})
    with desk.studio.store.read() as view:
        shown = report_tables(Results.read(view, study, b"key"), Reports.read(view, study))
    assert "&lt;img" in shown and "<img" not in shown
