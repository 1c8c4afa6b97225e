"""Clustered intervals against hand calculations and known truths."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from rating_tables import crossed, ratings_of

from annotation.analysis.intervals import Interval, clustered_mean, means_by, naive_mean, paired_difference, verdict
from emotion_omni.types import EmotionOmniError


def test_a_share_has_an_interval_inside_zero_and_one():
    table = ratings_of(*[(item, rater, float(rater == item == 0)) for item in range(9) for rater in range(8)])
    found = clustered_mean(table)
    assert found.mean == pytest.approx(1 / 72) and 0 < found.low < found.mean < found.high < 1
    assert found.high - found.mean > 2 * (found.mean - found.low)  # Wilson's, which is not symmetric


def test_few_effective_raters_give_no_interval_but_the_reason():
    table = [(item, "busy", 1.0 + item % 3) for item in range(60)]
    table += [(item, f"r{n}", 2.0 + n % 2) for n in range(9) for item in range(3)]
    found = clustered_mean(ratings_of(*table))
    assert found.low is None and found.raters == 10 and found.reason.startswith("too few raters: as good as 2.")


def test_few_raters_are_noted():
    found = clustered_mean(crossed(raters=5))
    assert found.low is not None and "few raters (as good as 5.0)" in found.note
    assert not clustered_mean(crossed()).note


def test_the_naive_interval_is_the_t_interval():
    found = naive_mean(ratings_of(("x", "p", 1), ("x", "q", 2), ("y", "p", 3)))
    assert (found.mean, found.se) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3))


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([], "no ratings"),
        ([("x", "p", 1), ("y", "p", 2)], "only 1 rater and 2 items"),
        ([("x", "p", 1), ("x", "q", 2)], "2 raters and only 1 item"),
        ([(item, rater, 0.1) for item in "xyz" for rater in "pqr"], "no spread"),
    ],
)
def test_a_missing_interval_has_a_reason(rows, expected):
    found = clustered_mean(ratings_of(*rows))
    assert (found.low, found.high, found.se) == (None, None, None) and expected in found.reason
    assert found.mean == (pytest.approx(np.mean([row[2] for row in rows])) if rows else None)


def test_one_rating_has_no_naive_interval():
    found = naive_mean(ratings_of(("x", "p", 4)))
    assert (found.mean, found.low) == (4.0, None) and "only 1 rating" in found.reason


@pytest.mark.parametrize(
    "table, code",
    [
        (pd.DataFrame({"item": [1], "value": [2]}), "columns"),
        (ratings_of(("x", "p", 1), ("x", None, 2)), "missing-values"),
        (ratings_of(("x", "p", 1), ("x", "q", None)), "missing-values"),
        (ratings_of(("x", "p", 1), ("x", "q", "good")), "not-numbers"),
        (ratings_of(("x", "p", 1), ("x", "q", math.inf)), "not-numbers"),
    ],
)
def test_invalid_tables_are_refused(table, code):
    for read in (naive_mean, clustered_mean):
        with pytest.raises(EmotionOmniError) as refused:
            read(table)
        assert refused.value.code == code


def test_systems_are_sorted_by_their_lower_bound_and_those_without_come_last():
    table = crossed(good=4.0, poor=2.0)
    once = pd.DataFrame([("lucky", "z", 99, 0, 5.0)], columns=table.columns)
    found = means_by(pd.concat([table, once]), "system")
    assert list(found["system"]) == ["good", "poor", "lucky"]
    first, last = found.iloc[0], found.iloc[2]
    assert first.clustered_low < first.naive_low < first["mean"] < first.naive_high < first.clustered_high
    assert last.clustered_low is None and last.naive_low is None and last.reason and last["mean"] == 5.0
    assert list(found["n"]) == [180, 180, 1] and list(found["raters"]) == [12, 12, 1]


def test_what_raters_and_items_share_cancels_in_a_paired_difference():
    table = crossed(new=3.4, old=3.0, rater_sd=1.5, item_sd=1.5)
    paired = paired_difference(table, "system", "new", "old")
    alone = clustered_mean(table[table["system"] == "new"])
    assert paired.se < alone.se / 4 and paired.low < 0.4 < paired.high
    assert verdict(paired) == "better"
    assert (paired.raters, paired.items, paired.n) == (12, 15, 360)


def test_without_groups_differences_between_items_add_to_the_variance():
    table = crossed(new=3.4, old=3.0, rater_sd=1.5, item_sd=1.5)
    paired = paired_difference(table, "system", "new", "old")
    unpaired = paired_difference(table.drop(columns="group"), "system", "new", "old")
    assert unpaired.mean == pytest.approx(paired.mean) and unpaired.se > 3 * paired.se and unpaired.items == 30


def test_on_full_pairs_the_difference_is_the_mean_of_the_differences():
    table = crossed(new=3.4, old=3.0)
    new, old = (table[table["system"] == name].reset_index() for name in ("new", "old"))
    one_by_one = pd.DataFrame({"item": new["group"], "rater": new["rater"], "value": new["value"] - old["value"]})
    paired, mean = paired_difference(table, "system", "new", "old"), clustered_mean(one_by_one)
    assert (paired.mean, paired.se, paired.low) == pytest.approx((mean.mean, mean.se, mean.low))


def test_reversing_the_comparison_reverses_the_interval():
    table = crossed(new=3.4, old=3.0)
    there, back = (
        paired_difference(table, "system", "new", "old"),
        paired_difference(table, "system", "old", "new"),
    )
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert (verdict(there), verdict(back)) == ("better", "worse")


def test_a_difference_without_interval_has_a_reason():
    table = crossed(new=3.4, old=3.0)
    absent = paired_difference(table, "system", "new", "older")
    assert absent.mean is None and "no ratings of 'older'" in absent.reason
    rare = pd.concat([table[table["system"] == "new"], table[table["system"] == "old"].head(1)])
    once = paired_difference(rare, "system", "new", "old")
    assert once.mean is not None and once.low is None and "'old' has only 1 rater and only 1 item" in once.reason
    assert verdict(absent) == verdict(once) == "not shown"
    with pytest.raises(EmotionOmniError, match="with itself"):
        paired_difference(table, "system", "new", "new")


@pytest.mark.parametrize(
    "low, high, smallest, expected",
    [
        (0.1, 0.5, 0.0, "better"),
        (0.1, 0.5, 0.1, "not shown"),
        (-0.5, -0.1, 0.0, "worse"),
        (-0.5, -0.1, 0.2, "not shown"),
        (-0.1, 0.5, 0.0, "not shown"),
        (0.0, 0.5, 0.0, "not shown"),
    ],
)
def test_a_verdict_needs_the_whole_interval(low, high, smallest, expected):
    assert verdict(Interval((low + high) / 2, low, high, 0.1, 9, 3, 3, "clustered"), smallest) == expected


def test_a_negative_smallest_difference_is_refused():
    with pytest.raises(EmotionOmniError, match="0 or more"):
        verdict(Interval(0.0, -1.0, 1.0, 0.5, 9, 3, 3, "clustered"), -0.1)
