"""The card states what is known and nothing else."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from export_desk import (
    comparison,
    lines,
    prefers,
)

from annotation.export import card
from annotation.export.training_items import REASONS
from annotation.export.writing import export_study
from annotation.study import translate
from annotation.study.scales import SCALES


def test_the_card_states_questions_figures_and_only_what_is_known(desk, tmp_path):
    study = desk.study("compare", [comparison(desk)], consent=["I agree to a special text."], licence="CC-BY-4.0")
    raters = [desk.rate(study, prefers(wanted)) for wanted in ("a", "a", "b")]
    desk.flag(study, raters[2])
    manifest = export_study(desk.studio, study, tmp_path / "out")
    head, text = (tmp_path / "out/README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    known = yaml.safe_load(head)
    assert (known["license"], known["language"], "audio" in known["tags"]) == ("cc-by-4.0", ["en"], True)
    assert {one["config_name"] for one in known["configs"]} == {"ratings", "items", "survey", "dpo", "kto", "reward"}
    scales = (SCALES["preference"].question, SCALES["certainty"].anchors[3])
    stated = (
        "I agree to a special text.",
        "3 raters",
        "1 flagged",
        "researcher's decision: 1",
        "not stated",
        "Krippendorff's alpha",
    )
    for expected in (
        *scales,
        *stated,
        manifest.log_sha256,
        "What did you listen with?",
        f"is {manifest.label_smoothing:.3f}",
    ):
        assert expected in text
    (row,) = lines(tmp_path / "out", "dpo.jsonl")
    assert (
        row["n_raters"] == 2 and row["ratings_flagged"] == 1 and row["flip_rate"] == manifest.label_smoothing == 0.125
    )


def test_a_translated_study_is_described_in_the_words_that_raters_read(desk, tmp_path, monkeypatch):
    english = SCALES["preference"].question
    monkeypatch.setattr(translate, "languages", lambda: ("en", "xx"))
    monkeypatch.setattr(
        translate, "words", lambda language: {english: "Was davon ist besser?"} if language == "xx" else {}
    )
    monkeypatch.setattr("annotation.study.rules.languages", translate.languages)
    study = desk.study("compare", [comparison(desk)], language="xx")
    desk.rate(study, prefers("a"))
    manifest = export_study(desk.studio, study, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "Was davon ist besser?" in text and english not in text
    (row,) = lines(tmp_path / "out", "dpo.jsonl")
    assert "preference@1-xx" in row["scales"] and manifest.scales["preference"] == "1-xx"
    assert {one["version"] for one in pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()} == {"1-xx"}


@pytest.mark.parametrize(
    ("licence", "head"),
    [("not stated", {"license": "unknown"}), ("Ask us", {"license": "other", "license_name": "Ask us"})],
)
def test_an_unknown_licence_is_not_replaced_by_a_known_one(desk, tmp_path, licence, head):
    study = desk.study("compare", [comparison(desk)], licence=licence)
    export_study(desk.studio, study, tmp_path / "out")
    known = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    assert head.items() <= known.items()


def test_every_reason_an_item_is_left_out_for_is_explained_in_the_card():
    trees = [ast.parse(path.read_text()) for path in Path(card.__file__).parent.glob("*.py")]
    given = {
        node.args[0].value
        for node in itertools.chain(*map(ast.walk, trees))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "leave_out"
    }
    assert given | {"evaluation-study"} == set(REASONS)
