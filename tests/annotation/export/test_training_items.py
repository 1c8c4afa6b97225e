"""Which ratings a training row rests on, at the thresholds; on rows in memory."""

from __future__ import annotations

from typing import Any

import pytest
from study_rows import flagged, item, rating, results

from annotation.analysis.reports import Reports
from annotation.export.source import Source
from annotation.export.split_lock import SplitLock
from annotation.export.training import training_tables
from annotation.export.training_items import TrainingItems, majority


def training_items(template: str, items: list[dict], ratings: list[dict], decisions: tuple = (), **of: Any):
    found = results(template, items, ratings, decisions, split="training")
    consents = of.get("consents", frozenset(row["rater"] for row in ratings))
    lock, labels = SplitLock(of.get("locked", [])), of.get("labels", "unanchored")
    return TrainingItems(Source(found, consents, consents, Reports((), {}), lock, 0, labels))


def answered(name: str = "i") -> dict[str, Any]:
    clips = {role: {"sha": f"{name}-{role}", "played": f"{name}-{role}"} for role in ("query", "reply")}
    return item(name, texts={"query": f"Query {name}.", "reply": "An answer."}, clips=clips) | {"contributor": None}


def spoken(name: str = "i", **content: Any) -> dict[str, Any]:
    clips = {"speech": {"sha": name, "played": name}}
    return item(name, texts={"speech": f"Words of {name}."}, clips=clips, **content) | {"contributor": None}


def scored(*empathy: int, relevance: int = 5) -> list[dict[str, Any]]:
    answers = [{"empathy": value, "relevance": relevance} for value in empathy]
    return [rating(f"r{n}", "i", answer) for n, answer in enumerate(answers)]


@pytest.mark.parametrize(("empathy", "labels"), [((4, 4), [True]), ((2, 2), [False]), ((3, 4), []), ((2, 3), [])])
def test_scores_at_the_thresholds_have_a_label_and_scores_between_have_none(empathy, labels):
    items = training_items("empathy", [answered()], scored(*empathy))
    assert [row["label"] for row in training_tables(items).get("kto", [])] == labels
    assert ("middling-score" in items.left_out) == (not labels)


def test_an_answer_is_approved_at_a_mean_of_four_and_not_below():
    for empathy, relevance, approved in ((4, 4, True), (4, 3, False), (3, 4, False)):
        items = training_items("empathy", [answered()], scored(empathy, empathy, relevance=relevance))
        assert ("sft" in training_tables(items)) == approved, (empathy, relevance)


def test_an_answer_that_half_of_the_raters_left_unchanged_is_not_the_worse_one():
    def rewritten(*texts: str):
        answers = [{"rewrite": text, "rewrite_emotion": "calm"} for text in texts]
        return training_items("correction", [answered()], [rating(f"r{n}", "i", a) for n, a in enumerate(answers)])

    half = rewritten("Better.", "An answer.")
    assert "dpo" not in training_tables(half) and half.left_out["most-left-it-unchanged"] == {"i"}
    (row,) = training_tables(rewritten("Better.", "Better.", "An answer."))["dpo"]
    assert row["vote_share"] == pytest.approx(2 / 3, abs=1e-6)


def test_an_emotion_row_rests_on_raters_who_are_not_flagged():
    ratings = [
        rating("ann", "i", {"primary": "sad", "valence": 2}, guess=True, heard={"0": 1.0}),
        rating("bob", "i", {"primary": "sad", "valence": 3}, guess=True, heard={"0": 0.96}),
        rating("dan", "i", {"primary": "calm", "valence": 6}, guess=False, heard={"0": 0.7}),
        rating("eve", "i", {"primary": "happy", "valence": 7}, guess=True, heard={"0": 0.5}),
    ]
    items = training_items(
        "emotion-recognition", [spoken()], ratings, (flagged("eve"),), consents=frozenset({"ann"}), labels="anchored"
    )
    (row,) = training_tables(items)["emotion"]
    assert (row["label"], row["valence"], row["guess_shown_share"], row["n_raters"]) == ("sad", 2.5, 1.0, 2)
    assert max(row["soft_label"]) == pytest.approx(2.5 / 6) and sorted(row["soft_label"])[-2] == pytest.approx(
        0.5 / 6, abs=1e-6
    )
    assert row["heard_least"] == 0.96 and row["consent"] is False
    assert (row["ratings_could_not_check"], row["ratings_flagged"]) == (2, 1)


def test_labels_with_and_without_the_guess_are_never_pooled():
    ratings = [rating("ann", "i", {"primary": "sad"}, guess=True), rating("bob", "i", {"primary": "calm"}, guess=False)]
    found = {}
    for labels in ("unanchored", "anchored", "both"):
        rows = training_tables(training_items("emotion-recognition", [spoken()], ratings, labels=labels))["emotion"]
        found[labels] = [(row["anchoring"], row["label"], row["guess_shown_share"], row["n_raters"]) for row in rows]
    unanchored, anchored = ("unanchored", "calm", 0.0, 1), ("anchored", "sad", 1.0, 1)
    assert found == {"unanchored": [unanchored], "anchored": [anchored], "both": [unanchored, anchored]}


def test_an_item_with_labels_of_the_other_kind_alone_is_counted():
    items = training_items("emotion-recognition", [spoken()], [rating("ann", "i", {"primary": "sad"}, guess=True)])
    assert training_tables(items) == {} and items.left_out == {"no-label-of-this-kind": {"i"}}


def test_consent_is_that_of_every_rater_of_the_row():
    ratings = [rating(rater, "i", {"primary": "sad"}) for rater in ("ann", "bob")]
    (row,) = training_tables(training_items("emotion-recognition", [spoken()], ratings))["emotion"]
    assert row["consent"] is True


def test_a_locked_item_gives_no_row_of_any_table():
    ratings = [rating(rater, "i", {"primary": "sad"}) for rater in ("ann", "bob")]
    items = training_items("emotion-recognition", [spoken()], ratings, locked=[spoken("i")])
    assert training_tables(items) == {} and items.left_out == {"split-lock": {"i"}}
    assert items.held_out == {"sound": {"i"}}


def test_a_tie_has_no_majority():
    assert majority(["sad", "calm", "sad"]) == "sad"
    assert majority(["sad", "calm"]) is None and majority([]) is None


def test_an_unknown_reason_is_refused():
    with pytest.raises(KeyError, match="not explained"):
        training_items("empathy", [answered()], []).leave_out("bad luck", answered())
