"""Simulated intervals contain the truth as often as they say, also where raters' loads are unequal."""

from __future__ import annotations

import pytest

from annotation.analysis.coverage import SimulatedDesign, coverage, designs, simulate, table
from emotion_omni.types import EmotionOmniError


def test_the_clustered_interval_contains_the_truth_where_the_naive_one_does_not():
    for overlap in (None, 5):
        held = coverage(1000, raters=20, items=30, overlap=overlap, rater_sd=0.5, item_sd=0.6, noise_sd=0.8, seed=1)
        assert 0.93 <= held["clustered"] <= 0.97
        assert held["naive"] < 0.85


def test_both_intervals_contain_the_truth_if_ratings_are_independent():
    held = coverage(1000, raters=20, items=30, rater_sd=0.0, item_sd=0.0, noise_sd=1.0, seed=2)
    assert 0.92 <= held["clustered"] <= 0.98 and 0.93 <= held["naive"] <= 0.97


@pytest.mark.parametrize("size", [(12, 40, 4), (40, 60, 3)])
@pytest.mark.parametrize("outcome", ["normal", "points", "binary"])
def test_unequal_loads_keep_the_coverage(size, outcome):
    found = simulate(SimulatedDesign(*size, "unequal", 0.4, 0.2, outcome), 3000, seed=3)
    assert 0.935 <= found["clustered"] <= 0.97 and not found["note"]
    assert found["before"] < found["clustered"] and found["effective_raters"] < size[0]


def test_the_interval_before_was_too_narrow_with_unequal_loads():
    found = simulate(SimulatedDesign(12, 40, 4, "unequal", 0.4, 0.0, "points"), 3000, seed=4)
    assert found["before"] < 0.93 <= found["clustered"]


@pytest.mark.parametrize("loads", ["equal", "unequal"])
def test_a_difference_keeps_the_coverage(loads):
    found = simulate(SimulatedDesign(12, 30, 4, loads, 0.1, 0.5, "points", "difference"), 3000, seed=5)
    assert 0.935 <= found["clustered"] <= 0.97


def test_few_raters_are_noted_and_very_few_get_no_interval():
    assert "few raters (as good as 6.0)" in simulate(SimulatedDesign(6, 20), 10)["note"]
    three = simulate(SimulatedDesign(3, 20), 10)
    assert not three["given"] and three["note"].startswith("too few raters: as good as 3.0 raters")
    assert "too few ratings: 20" in simulate(SimulatedDesign(6, 10, 2), 10)["note"]


def test_the_table_covers_the_designs_and_sums_them_up():
    found = table(20, every=240)
    assert len(found["designs"]) == found["without_note"]["designs"] + found["with_note"]["designs"] == 6
    everything = list(designs())
    assert {one.raters for one in everything} == {6, 8, 10, 12, 20, 30, 40, 60}
    assert {one.rater_share for one in everything} == {0.0, 0.1, 0.4}
    assert {one.item_share for one in everything} == {0.0, 0.2, 0.5}


@pytest.mark.slow
def test_every_simulated_design_has_the_right_coverage():
    found = table(2500, every=7)["without_note"]["clustered"]
    assert found["lowest"] > 0.925 and found["highest"] < 0.975


@pytest.mark.parametrize("wrong", [{"loads": "odd"}, {"outcome": "words"}, {"rater_share": 0.9, "item_share": 0.3}])
def test_unknown_designs_are_refused(wrong):
    with pytest.raises(EmotionOmniError) as refused:
        SimulatedDesign(10, 20, **wrong)
    assert refused.value.code == "plan"
