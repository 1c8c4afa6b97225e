"""Pairs and labels from votes, scores and corrections."""

from __future__ import annotations

import json

import pytest
from export_desk import (
    comparison,
    lines,
    prefers,
)
from hypothesis import given
from hypothesis import strategies as st

from annotation.export.preferences import flip_rate, kto_weights, margin
from annotation.export.writing import export_study


def test_margin_and_flip_rate_equal_the_hand_calculation():
    assert margin(1, 1) == pytest.approx(0.693147, abs=1e-6)  # odds 2 : 1
    assert margin(2.5, 3) == pytest.approx(0.847298, abs=1e-6)  # odds 3.5 : 1.5
    assert flip_rate(1, 1) == pytest.approx(1 / 4)  # integral of 2 p from 0 to 1/2
    assert flip_rate(3, 5) == pytest.approx(22 / 64)  # P(Beta(4, 3) < 1/2) = P(Binomial(6, 1/2) >= 4)


@given(st.integers(1, 60), st.integers(0, 120))
def test_more_votes_mean_a_larger_margin_and_fewer_flips(n, halves):
    votes = min(n, n / 2 + (1 + halves) / 2)
    assert margin(votes, n) > 0 and 0 < flip_rate(votes, n) < 0.5
    assert margin(n, n) >= margin(votes, n) and flip_rate(n, n) <= flip_rate(votes, n)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_weighted_kto_labels_are_between_one_to_one_and_four_to_three(good, bad):
    weights = kto_weights(good, bad)
    assert 1 <= weights["desirable_weight"] * good / (weights["undesirable_weight"] * bad) <= 4 / 3
    assert 1.0 in weights.values() and min(weights.values()) >= 1.0


def test_kto_without_one_of_the_labels_has_no_weights():
    assert kto_weights(3, 0) is None and kto_weights(0, 3) is None


def test_comparisons_become_preferences_with_ties_counted_half_and_tied_items_dropped(desk, tmp_path):
    known = {"planned": "calm", "timings": {"done": 1.5}, "heard": {"sad": 0.8, "calm": 0.2}}
    about = {"a": known | {"seed": 4}, "b": known | {"seed": 5}}
    study = desk.study(
        "compare", [comparison(desk, "Clear case here.", about=about), comparison(desk, "Undecided case there.")]
    )

    def answers(wanted):
        return lambda item, screen: prefers("tie" if "Undecided" in item["content"]["texts"]["query"] else wanted)(
            item, screen
        )

    raters = [desk.rate(study, answers(wanted)) for wanted in ("b", "b", "tie", "b", "a")]
    manifest = export_study(desk.studio, study, tmp_path / "out")
    (row,) = lines(tmp_path / "out", "dpo.jsonl")
    assert row["prompt"] == [{"role": "user", "content": "Clear case here."}]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("Bananas are yellow.", "That must hurt.")
    assert (row["vote_share"], row["n_raters"], len(row["raters"])) == (0.7, 5, len(raters))
    assert row["margin"] == pytest.approx(margin(3.5, 5), abs=1e-6)
    assert row["flip_rate"] == pytest.approx(flip_rate(3.5, 5), abs=1e-6)
    assert (row["chosen_system"], row["rejected_system"], row["chosen_seed"], row["rejected_seed"]) == (
        "two",
        "one",
        5,
        4,
    )
    assert json.loads(row["chosen_timings"]) == {"done": 1.5} and (row["chosen_emotion"], row["emotion"]) == (
        "calm",
        "sad",
    )
    assert row["side_as_stored"] + row["side_swapped"] == 5 and abs(row["side_as_stored"] - row["side_swapped"]) == 1
    assert row["heard_least"] >= 0.95 and row["scales"] == ["preference@1", "certainty@1", "note@1"]
    for side in ("query", "chosen", "rejected"):
        assert (tmp_path / "out" / row[f"{side}_file_name"]).is_file()
    (reward,) = lines(tmp_path / "out", "reward.jsonl")
    assert reward["chosen"] == row["prompt"] + row["chosen"] and reward["rejected"] == row["prompt"] + row["rejected"]
    kto = lines(tmp_path / "out", "kto.jsonl")
    assert [(one["completion"][0]["content"], one["label"]) for one in kto] == [
        ("Bananas are yellow.", True),
        ("That must hurt.", False),
    ]
    assert manifest.excluded == {"tie": 1}


def test_the_same_words_in_two_voices_are_marked_and_kept_out_of_kto(desk, tmp_path):
    study = desk.study("compare", [comparison(desk, a="The same words.", b="The  same words.")])
    desk.rate(study, prefers("a"))
    manifest = export_study(desk.studio, study, tmp_path / "out")
    assert [row["same_words"] for row in lines(tmp_path / "out", "dpo.jsonl")] == [True]
    assert "kto.jsonl" not in manifest.rows and manifest.excluded == {"same-words": 1}
