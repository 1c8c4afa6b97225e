"""Coverage and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rating_tables import crossed

from annotation.analysis.intervals import paired_difference
from annotation.analysis.power import power_analysis, power_curve
from emotion_omni.types import EmotionOmniError


def test_power_rises_with_raters_and_with_the_difference():
    curve = power_curve(30, raters=(5, 10, 40), overlap=5, difference=0.4)
    assert list(curve["raters"]) == [5, 10, 40]
    assert curve["power"].is_monotonic_increasing and curve["power"].iloc[2] > curve["power"].iloc[0] + 0.15
    assert curve["half_width"].is_monotonic_decreasing
    powers = [power_analysis(20, 30, difference=size).power for size in (0.0, 0.3, 0.6, 1.2)]
    assert powers == sorted(powers) and powers[-1] > 0.95 and powers[0] < 0.1


def test_without_a_difference_the_power_is_the_false_positive_rate():
    assert power_analysis(20, 30, difference=0.0, simulations=3000).power == pytest.approx(0.05, abs=0.015)
    assert power_analysis(20, 30, overlap=5, difference=0.0, simulations=3000).power == pytest.approx(0.05, abs=0.015)


def test_a_plan_without_an_interval_has_no_power():
    assert power_analysis(3, 30, difference=9.0).power == 0.0 and power_analysis(4, 30, difference=9.0).power == 1.0


def test_a_plan_counts_ratings_and_minutes():
    found = power_analysis(raters=10, items=40, overlap=5, systems=3, seconds_per_rating=30)
    assert (found.total_ratings, found.ratings_per_rater, found.minutes_per_rater) == (600, 60, 30)
    assert power_analysis(raters=10, items=40).total_ratings == 10 * 40 * 2
    assert power_analysis(raters=50, items=4, overlap=5).raters == 20  # the others would get nothing


def test_raters_get_equal_loads():
    found = power_analysis(60, 60, overlap=1, rater_sd=1.0, item_sd=0.0, noise_sd=0.0, shared=0.0, simulations=500)
    # One item each: two means of 60 raters. Uneven loads would waste raters and widen the interval by some 40 %.
    assert found.half_width == pytest.approx(2.001 * math.sqrt(2 / 60), rel=0.05)


def test_the_shared_part_of_the_variance_cancels_in_the_difference():
    only_raters = {"rater_sd": 1.0, "item_sd": 0.0, "noise_sd": 0.0, "simulations": 400}
    widths = [power_analysis(30, 30, shared=shared, **only_raters).half_width for shared in (0.0, 0.5)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(0.5), rel=0.05)


def test_a_plan_predicts_the_width_of_a_real_analysis():
    widths = []
    for seed in range(30):
        found = paired_difference(crossed(seed, raters=10, items=20, noise_sd=1.0, a=3.0, b=3.0), "system", "a", "b")
        widths.append((found.high - found.low) / 2)
    assert power_analysis(10, 20, noise_sd=1.0, shared=1.0).half_width == pytest.approx(np.mean(widths), rel=0.12)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    assert power_analysis(8, 12, overlap=3, seed=4) == power_analysis(8, 12, overlap=3, seed=4)
    assert power_analysis(8, 12, overlap=3, seed=4).half_width != power_analysis(8, 12, overlap=3, seed=5).half_width


@pytest.mark.parametrize(
    "wrong",
    [
        {"raters": 1},
        {"items": 1},
        {"overlap": 11},
        {"overlap": 0},
        {"simulations": 0},
        {"rater_sd": -1.0},
        {"noise_sd": math.nan},
        {"shared": 1.5},
        {"systems": 1},
        {"difference": math.inf},
    ],
)
def test_impossible_plans_are_refused(wrong):
    with pytest.raises(EmotionOmniError) as refused:
        power_analysis(**({"raters": 10, "items": 20} | wrong))
    assert refused.value.code == "plan"
