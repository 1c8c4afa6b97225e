"""Intervals that hold what they promise, rankings that find the truth they were made from, and plans that add up."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from annotation.analysis import intervals as statistics
from emotion_omni.types import EmotionOmniError


def crossed(seed=0, raters=12, items=15, rater_sd=0.6, item_sd=0.5, noise_sd=0.7, **levels):
    """Every rater rates every item of every system; what raters and items share is the same for all systems."""
    generator = np.random.default_rng(seed)
    rater_effect, item_effect = generator.normal(0, rater_sd, raters), generator.normal(0, item_sd, items)
    rows = [
        (
            system,
            f"{system}-{item}",
            item,
            rater,
            level + rater_effect[rater] + item_effect[item] + generator.normal(0, noise_sd),
        )
        for system, level in (levels or {"a": 3.0}).items()
        for item in range(items)
        for rater in range(raters)
    ]
    return pd.DataFrame(rows, columns=["system", "item", "group", "rater", "value"])


def ratings_of(*rows):
    return pd.DataFrame(rows, columns=["item", "rater", "value"])


def simulated_votes(strengths, bias=0.0, tie=0.8, count=4000, seed=0, raters=30, items=40):
    """Votes drawn from the model itself, sides at random, outcomes by its three weights."""
    generator = np.random.default_rng(seed)
    names = list(strengths)
    rows = []
    for _ in range(count):
        left, right = generator.choice(names, 2, replace=False)
        lean = strengths[left] - strengths[right] + bias
        weights = np.array([math.exp(lean / 2), tie, math.exp(-lean / 2)])
        outcome = generator.choice(["left", "tie", "right"], p=weights / weights.sum())
        rows.append((left, right, outcome, generator.integers(raters), generator.integers(items)))
    return pd.DataFrame(rows, columns=["left", "right", "outcome", "rater", "item"])


def votes_of(*counted):
    """(left, right, outcome, how many), dealt out to five raters and seven items."""
    rows = [row[:3] for row in counted for _ in range(row[3])]
    table = pd.DataFrame(rows, columns=["left", "right", "outcome"])
    return table.assign(rater=np.arange(len(table)) % 5, item=np.arange(len(table)) % 7)


def strengths_of(ranking):
    return ranking.table.set_index("system")["strength"].to_dict()


# --- means ---------------------------------------------------------------------------------------------------------


def test_the_clustered_interval_holds_the_truth_where_the_naive_one_does_not():
    for overlap in (None, 5):
        held = statistics.coverage(
            1000, raters=20, items=30, overlap=overlap, rater_sd=0.5, item_sd=0.6, noise_sd=0.8, seed=1
        )
        assert 0.93 <= held["clustered"] <= 0.97
        assert held["naive"] < 0.85


def test_where_ratings_are_independent_both_intervals_hold_the_truth():
    held = statistics.coverage(1000, raters=20, items=30, rater_sd=0.0, item_sd=0.0, noise_sd=1.0, seed=2)
    assert 0.92 <= held["clustered"] <= 0.98 and 0.93 <= held["naive"] <= 0.97


def test_the_clustered_variance_is_the_one_worked_by_hand():
    found = statistics.clustered_mean(ratings_of(("x", "p", 1), ("x", "q", 3), ("y", "p", 2), ("y", "q", 6)))
    # Deviations -2, 0, -1, 3: raters sum to -3 and 3, items to -2 and 2, each with 2/1; the four cells with 4/3.
    variance = (18 * 2 + 8 * 2 - 14 * 4 / 3) / 16
    assert found.mean == 3 and found.se == pytest.approx(math.sqrt(variance))
    assert found.high - 3 == pytest.approx(12.7062 * math.sqrt(variance), rel=1e-5)  # t at 1 degree of freedom
    assert (found.n, found.raters, found.items) == (4, 2, 2)


def test_a_negative_variance_gives_way_to_the_larger_one_way_variance():
    found = statistics.clustered_mean(ratings_of(("x", "p", 1), ("x", "q", 5), ("y", "p", 5), ("y", "q", 2)))
    # Deviations from 3.25: raters sum to -0.5 and 0.5, as do the items; the cells' part is far larger.
    assert found.se == pytest.approx(math.sqrt(0.5 * 2 / 16))


def test_the_naive_interval_is_the_t_interval():
    found = statistics.naive_mean(ratings_of(("x", "p", 1), ("x", "q", 2), ("y", "p", 3)))
    assert (found.mean, found.se) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3))


@pytest.mark.parametrize(
    "rows, said",
    [
        ([], "no ratings"),
        ([("x", "p", 1), ("y", "p", 2)], "only 1 rater and 2 items"),
        ([("x", "p", 1), ("x", "q", 2)], "2 raters and only 1 item"),
        ([(item, rater, 0.1) for item in "xyz" for rater in "pqr"], "no spread"),
    ],
)
def test_an_interval_that_cannot_be_had_says_why(rows, said):
    found = statistics.clustered_mean(ratings_of(*rows))
    assert (found.low, found.high, found.se) == (None, None, None) and said in found.reason
    assert found.mean == (pytest.approx(np.mean([row[2] for row in rows])) if rows else None)


def test_one_rating_has_no_naive_interval():
    found = statistics.naive_mean(ratings_of(("x", "p", 4)))
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
def test_broken_tables_are_refused(table, code):
    for read in (statistics.naive_mean, statistics.clustered_mean):
        with pytest.raises(EmotionOmniError) as refused:
            read(table)
        assert refused.value.code == code


def test_systems_are_ordered_by_their_lower_bound_and_the_unsure_come_last():
    table = crossed(good=4.0, poor=2.0)
    once = pd.DataFrame([("lucky", "z", 99, 0, 5.0)], columns=table.columns)
    found = statistics.means_by(pd.concat([table, once]), "system")
    assert list(found["system"]) == ["good", "poor", "lucky"]
    first, last = found.iloc[0], found.iloc[2]
    assert first.clustered_low < first.naive_low < first["mean"] < first.naive_high < first.clustered_high
    assert last.clustered_low is None and last.naive_low is None and last.reason and last["mean"] == 5.0
    assert list(found["n"]) == [180, 180, 1] and list(found["raters"]) == [12, 12, 1]


# --- differences ---------------------------------------------------------------------------------------------------


def test_what_raters_and_items_share_cancels_in_a_paired_difference():
    table = crossed(new=3.4, old=3.0, rater_sd=1.5, item_sd=1.5)
    paired = statistics.paired_difference(table, "system", "new", "old")
    alone = statistics.clustered_mean(table[table["system"] == "new"])
    assert paired.se < alone.se / 4 and paired.low < 0.4 < paired.high
    assert statistics.verdict(paired) == "better"
    assert (paired.raters, paired.items, paired.n) == (12, 15, 360)


def test_without_groups_the_items_differences_count_as_chance():
    table = crossed(new=3.4, old=3.0, rater_sd=1.5, item_sd=1.5)
    paired = statistics.paired_difference(table, "system", "new", "old")
    unpaired = statistics.paired_difference(table.drop(columns="group"), "system", "new", "old")
    assert unpaired.mean == pytest.approx(paired.mean) and unpaired.se > 3 * paired.se and unpaired.items == 30


def test_on_full_pairs_the_difference_is_the_mean_of_the_differences():
    table = crossed(new=3.4, old=3.0)
    new, old = (table[table["system"] == name].reset_index() for name in ("new", "old"))
    one_by_one = pd.DataFrame({"item": new["group"], "rater": new["rater"], "value": new["value"] - old["value"]})
    paired, mean = statistics.paired_difference(table, "system", "new", "old"), statistics.clustered_mean(one_by_one)
    assert (paired.mean, paired.se, paired.low) == pytest.approx((mean.mean, mean.se, mean.low))


def test_turning_the_comparison_round_turns_the_interval_round():
    table = crossed(new=3.4, old=3.0)
    there, back = (
        statistics.paired_difference(table, "system", "new", "old"),
        statistics.paired_difference(table, "system", "old", "new"),
    )
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert (statistics.verdict(there), statistics.verdict(back)) == ("better", "worse")


def test_a_difference_that_cannot_be_judged_says_why():
    table = crossed(new=3.4, old=3.0)
    absent = statistics.paired_difference(table, "system", "new", "older")
    assert absent.mean is None and "no ratings of 'older'" in absent.reason
    rare = pd.concat([table[table["system"] == "new"], table[table["system"] == "old"].head(1)])
    once = statistics.paired_difference(rare, "system", "new", "old")
    assert once.mean is not None and once.low is None and "'old' has only 1 rater and only 1 item" in once.reason
    assert statistics.verdict(absent) == statistics.verdict(once) == "not shown"
    with pytest.raises(EmotionOmniError, match="with itself"):
        statistics.paired_difference(table, "system", "new", "new")


@pytest.mark.parametrize(
    "low, high, smallest, said",
    [
        (0.1, 0.5, 0.0, "better"),
        (0.1, 0.5, 0.1, "not shown"),
        (-0.5, -0.1, 0.0, "worse"),
        (-0.5, -0.1, 0.2, "not shown"),
        (-0.1, 0.5, 0.0, "not shown"),
        (0.0, 0.5, 0.0, "not shown"),
    ],
)
def test_a_verdict_needs_the_whole_interval(low, high, smallest, said):
    assert (
        statistics.verdict(statistics.Interval((low + high) / 2, low, high, 0.1, 9, 3, 3, "clustered"), smallest)
        == said
    )


def test_a_negative_smallest_difference_is_refused():
    with pytest.raises(EmotionOmniError, match="0 or more"):
        statistics.verdict(statistics.Interval(0.0, -1.0, 1.0, 0.5, 9, 3, 3, "clustered"), -0.1)


# --- planning ------------------------------------------------------------------------------------------------------


def test_power_rises_with_raters_and_with_the_difference():
    curve = statistics.plan_curve(30, raters=(5, 10, 40), overlap=5, difference=0.4)
    assert list(curve["raters"]) == [5, 10, 40]
    assert curve["power"].is_monotonic_increasing and curve["power"].iloc[2] > curve["power"].iloc[0] + 0.15
    assert curve["half_width"].is_monotonic_decreasing
    powers = [statistics.plan(20, 30, difference=size).power for size in (0.0, 0.3, 0.6, 1.2)]
    assert powers == sorted(powers) and powers[-1] > 0.95 and powers[0] < 0.1


def test_without_a_difference_the_power_is_the_rate_of_false_alarms():
    assert statistics.plan(20, 30, difference=0.0, simulations=3000).power == pytest.approx(0.05, abs=0.015)
    assert statistics.plan(20, 30, overlap=5, difference=0.0, simulations=3000).power == pytest.approx(0.05, abs=0.015)


def test_a_plan_counts_ratings_and_minutes():
    found = statistics.plan(raters=10, items=40, overlap=5, systems=3, seconds_per_rating=30)
    assert (found.total_ratings, found.ratings_per_rater, found.minutes_per_rater) == (600, 60, 30)
    assert statistics.plan(raters=10, items=40).total_ratings == 10 * 40 * 2
    assert statistics.plan(raters=50, items=4, overlap=5).raters == 20  # the others would get nothing


def test_raters_are_dealt_level_loads():
    found = statistics.plan(60, 60, overlap=1, rater_sd=1.0, item_sd=0.0, noise_sd=0.0, shared=0.0, simulations=500)
    # One item each: two means of 60 raters. Uneven loads would waste raters and widen the interval by some 40 %.
    assert found.half_width == pytest.approx(2.001 * math.sqrt(2 / 60), rel=0.05)


def test_a_plan_foretells_the_width_of_a_real_analysis():
    widths = []
    for seed in range(30):
        found = statistics.paired_difference(
            crossed(seed, raters=10, items=20, noise_sd=1.0, a=3.0, b=3.0), "system", "a", "b"
        )
        widths.append((found.high - found.low) / 2)
    assert statistics.plan(10, 20, noise_sd=1.0, shared=1.0).half_width == pytest.approx(np.mean(widths), rel=0.12)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    assert statistics.plan(8, 12, overlap=3, seed=4) == statistics.plan(8, 12, overlap=3, seed=4)
    assert statistics.plan(8, 12, overlap=3, seed=4).half_width != statistics.plan(8, 12, overlap=3, seed=5).half_width


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
def test_plans_that_cannot_be_are_refused(wrong):
    with pytest.raises(EmotionOmniError) as refused:
        statistics.plan(**({"raters": 10, "items": 20} | wrong))
    assert refused.value.code == "plan"


# --- rankings ------------------------------------------------------------------------------------------------------

TRUTH = {"ash": 0.9, "birch": 0.3, "cedar": -0.2, "dogwood": -1.0}


def test_known_strengths_ties_and_bias_are_recovered():
    ranking = statistics.fit_bradley_terry(simulated_votes(TRUTH, bias=0.5, tie=0.8), bootstrap=200)
    assert list(ranking.table["system"]) == list(TRUTH)
    for row in ranking.table.itertuples():
        assert row.strength == pytest.approx(TRUTH[row.system], abs=0.12)
        assert row.low < TRUTH[row.system] < row.high and row.low < row.strength < row.high
    assert ranking.tie == pytest.approx(0.8, abs=0.08)
    bias = ranking.position_bias
    assert bias.mean == pytest.approx(0.5, abs=0.1) and bias.low < 0.5 < bias.high and bias.low > 0
    assert statistics.verdict(bias) == "better" and set(ranking.table["status"]) == {"listed"} and not ranking.note


def test_a_bias_does_not_leak_into_strengths_even_when_sides_are_uneven():
    votes = simulated_votes(TRUTH, bias=1.0, count=8000)
    rare = (votes["right"] == "ash") & (np.arange(len(votes)) % 8 != 0)
    found = strengths_of(statistics.fit_bradley_terry(votes[~rare], bootstrap=0))
    assert found == pytest.approx(TRUTH, abs=0.15)
    assert found["ash"] - found["dogwood"] == pytest.approx(1.9, abs=0.15)


def test_swapping_the_sides_turns_the_bias_and_nothing_else():
    votes = simulated_votes(TRUTH, bias=0.5, count=1500)
    turned = votes["outcome"].map({"left": "right", "right": "left", "tie": "tie"})
    mirrored = votes.assign(left=votes["right"], right=votes["left"], outcome=turned)
    there, back = (statistics.fit_bradley_terry(table, bootstrap=40) for table in (votes, mirrored))
    assert strengths_of(there) == pytest.approx(strengths_of(back), abs=1e-4)
    assert there.tie == pytest.approx(back.tie, abs=1e-4)
    assert there.table["low"].astype(float).to_numpy() == pytest.approx(
        back.table["low"].astype(float).to_numpy(), abs=1e-3
    )
    one, other = there.position_bias, back.position_bias
    assert one.mean > 0.2
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=1e-3)
    assert statistics.verdict(other) == "worse"


def test_two_systems_without_ties_lie_the_log_of_wins_over_losses_apart():
    votes = votes_of(("a", "b", "left", 60), ("a", "b", "right", 30), ("b", "a", "right", 60), ("b", "a", "left", 30))
    ranking = statistics.fit_bradley_terry(votes, bootstrap=0, prior=1e-6)
    found = strengths_of(ranking)
    assert found["a"] - found["b"] == pytest.approx(math.log(2), abs=1e-4) and found["a"] + found["b"] == pytest.approx(
        0, abs=1e-9
    )
    assert ranking.position_bias.mean == pytest.approx(0, abs=1e-4) and ranking.tie == 0.0


def test_the_fit_returns_the_shares_it_was_given():
    one_way = (("a", "b", "left", 50), ("a", "b", "tie", 30), ("a", "b", "right", 20))
    votes = votes_of(*one_way, ("b", "a", "right", 50), ("b", "a", "tie", 30), ("b", "a", "left", 20))
    ranking = statistics.fit_bradley_terry(votes, bootstrap=0, prior=1e-6)
    found = strengths_of(ranking)
    assert found["a"] - found["b"] == pytest.approx(math.log(0.5 / 0.2), abs=1e-2)
    assert ranking.tie == pytest.approx(0.3 / math.sqrt(0.5 * 0.2), abs=1e-2)


def test_the_unbeaten_stay_finite_and_first():
    votes = votes_of(("a", "b", "left", 20), ("b", "a", "right", 20), ("b", "c", "left", 20), ("c", "b", "left", 20))
    ranking = statistics.fit_bradley_terry(votes, bootstrap=50)
    assert ranking.table["system"].iloc[0] == "a" and 1 < ranking.table["strength"].iloc[0] < 8
    assert np.isfinite(ranking.table["high"].astype(float)).all()


def test_nothing_but_ties_leaves_all_equal():
    ranking = statistics.fit_bradley_terry(votes_of(("a", "b", "tie", 20), ("b", "a", "tie", 20)), bootstrap=50)
    assert list(ranking.table["strength"]) == pytest.approx([0, 0], abs=1e-6)
    assert 10 < ranking.tie < 1e4 and list(ranking.table["ties"]) == [40, 40] and list(ranking.table["wins"]) == [0, 0]


def test_counts_and_status_tell_how_much_stands_behind_a_rank():
    votes = votes_of(("a", "b", "left", 200), ("b", "a", "tie", 110), ("c", "a", "left", 10), ("c", "c", "left", 5))
    table = statistics.fit_bradley_terry(votes, bootstrap=30).table.set_index("system")
    assert table["votes"].to_dict() == {"a": 320, "b": 310, "c": 10}
    assert table["wins"].to_dict() == {"a": 200, "b": 0, "c": 10} and table["ties"].to_dict() == {
        "a": 110,
        "b": 110,
        "c": 0,
    }
    assert table["status"].to_dict() == {"a": "listed", "b": "listed", "c": "hidden"}
    assert statistics.fit_bradley_terry(votes.head(299), bootstrap=0).table["status"].eq("preliminary").all()
    assert (
        statistics.fit_bradley_terry(votes, bootstrap=0, minimum=10).table.set_index("system")["status"]["c"]
        == "preliminary"
    )


def test_the_order_is_by_lower_bound():
    votes = pd.concat([simulated_votes(TRUTH, count=400), votes_of(("new", "ash", "left", 3))])
    table = statistics.fit_bradley_terry(votes, bootstrap=60).table
    assert table["low"].astype(float).is_monotonic_decreasing
    assert table.loc[table["strength"].idxmax(), "system"] == "new" and table["system"].iloc[0] == "ash"


def test_a_newcomer_does_not_blur_the_others():
    votes = simulated_votes(TRUTH, count=1500)
    alone, joined = (
        statistics.fit_bradley_terry(table, bootstrap=60).table.set_index("system")
        for table in (votes, pd.concat([votes, votes_of(("new", "ash", "left", 3))]))
    )
    widths = [
        (table.loc[list(TRUTH), "high"] - table.loc[list(TRUTH), "low"]).astype(float).mean()
        for table in (alone, joined)
    ]
    assert widths[1] < 1.3 * widths[0] and joined.loc[list(TRUTH), "strength"].sum() == pytest.approx(0, abs=1e-9)


def test_systems_never_compared_are_told_apart_and_centred_apart():
    votes = pd.concat(
        [
            votes_of(("a", "b", "left", 30), ("b", "a", "left", 10)),
            votes_of(("c", "d", "left", 20), ("d", "c", "right", 20)),
        ]
    )
    ranking = statistics.fit_bradley_terry(votes, bootstrap=30)
    assert "a, b; c, d" in ranking.note and "within a group only" in ranking.note
    assert ranking.table.groupby("component")["strength"].sum().abs().max() < 1e-9
    assert ranking.table.groupby("component")["system"].agg(set).tolist() == [{"a", "b"}, {"c", "d"}]


def test_one_system_against_itself_still_measures_the_bias():
    ranking = statistics.fit_bradley_terry(votes_of(("a", "a", "left", 150), ("a", "a", "right", 50)), bootstrap=50)
    (row,) = ranking.table.itertuples()
    assert (row.system, row.strength, row.low, row.votes, row.status) == ("a", 0.0, None, 0, "hidden")
    assert "Only one system, a" in ranking.note
    assert ranking.position_bias.mean == pytest.approx(math.log(3), abs=0.05) and ranking.position_bias.low > 0


def test_a_bias_that_hides_in_a_system_is_not_claimed():
    ranking = statistics.fit_bradley_terry(
        votes_of(("new", "old", "left", 60), ("new", "old", "right", 20)), bootstrap=20
    )
    assert ranking.position_bias.mean is None and "never swapped" in ranking.position_bias.reason
    found = strengths_of(ranking)
    assert found["new"] - found["old"] == pytest.approx(math.log(3), abs=0.1)


def test_sides_that_are_not_favoured_are_said_not_to_be():
    votes = votes_of(("a", "b", "left", 40), ("a", "b", "right", 40), ("b", "a", "left", 40), ("b", "a", "right", 40))
    ranking = statistics.fit_bradley_terry(votes)
    assert ranking.position_bias.low < 0 < ranking.position_bias.high


def test_a_single_rater_gives_strengths_without_intervals():
    ranking = statistics.fit_bradley_terry(simulated_votes(TRUTH, count=200, raters=1))
    assert all(low is None for low in ranking.table["low"]) and "only 1 rater" in ranking.note
    assert ranking.position_bias.low is None and "only 1 rater" in ranking.position_bias.reason
    assert ranking.table["strength"].is_monotonic_decreasing


def test_raters_who_vote_alike_widen_the_intervals():
    votes = simulated_votes({"a": 0.3, "b": -0.3}, count=600, raters=600, items=600)
    independent = statistics.fit_bradley_terry(votes.assign(rater=range(600), item=range(600)), bootstrap=80).table
    wins = (votes["left"] == "a") == (votes["outcome"] == "left")
    blocks = wins.rank(method="first").astype(int).sub(1) // 100  # six raters, each of nearly one mind
    clustered = statistics.fit_bradley_terry(votes.assign(rater=blocks, item=range(600)), bootstrap=80).table
    widths = [float(table["high"].iloc[0] - table["low"].iloc[0]) for table in (independent, clustered)]
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda votes: votes.head(0), "no-votes"),
        (lambda votes: votes.assign(outcome="A"), "outcome"),
        (lambda votes: votes.drop(columns="rater"), "columns"),
    ],
)
def test_broken_votes_are_refused(change, code):
    with pytest.raises(EmotionOmniError) as refused:
        statistics.fit_bradley_terry(change(votes_of(("a", "b", "left", 3))))
    assert refused.value.code == code


# --- words, voice and labels ---------------------------------------------------------------------------------------


def mode_ratings(right):
    """``right``: how many of ten raters are right in each mode on every one of eight items, give or take one."""
    rows = [
        (mode, item, rater, int(rater < count + item % 3 - 1))
        for mode, count in right.items()
        for item in range(8)
        for rater in range(10)
    ]
    return pd.DataFrame(rows, columns=["mode", "item", "rater", "correct"])


def test_voice_lift_is_what_hearing_adds_to_reading():
    found = statistics.voice_lift(mode_ratings({"words": 3, "voice": 5, "both": 8}))
    shift = (3 * -1 + 2 * 1) / 80  # items 0 to 7 modulo 3, less one: three times -1, two times +1
    assert [part.mean for part in (found.words, found.voice, found.both)] == pytest.approx(
        [0.3 + shift, 0.5 + shift, 0.8 + shift]
    )
    assert found.lift.mean == pytest.approx(0.5) and statistics.verdict(found.lift) == "better"
    assert found.lift.raters == 10 and found.words.n == 80


def test_a_voice_that_adds_nothing_lifts_nothing():
    rows = mode_ratings({"words": 5, "both": 5})
    others_right = (rows["rater"] + (rows["mode"] == "both") * 5) % 10
    found = statistics.voice_lift(rows.assign(rater=others_right))
    assert found.lift.mean == pytest.approx(0) and statistics.verdict(found.lift) == "not shown"
    assert found.voice.mean is None and "no ratings" in found.voice.reason


def test_items_with_one_script_count_as_one():
    rows = mode_ratings({"words": 3, "voice": 5, "both": 8})
    assert statistics.voice_lift(rows.assign(group=rows["item"] // 2)).lift.items == 4


@pytest.mark.parametrize(
    "change, code", [({"mode": "video"}, "mode"), ({"correct": 2}, "correct"), ({"correct": "yes"}, "not-numbers")]
)
def test_broken_mode_ratings_are_refused(change, code):
    with pytest.raises(EmotionOmniError) as refused:
        statistics.voice_lift(mode_ratings({"words": 3, "both": 5}).assign(**change))
    assert refused.value.code == code


def test_confusion_and_recall_by_hand():
    rows = pd.DataFrame(
        {
            "rated": ["sad", "sad", "sad", "sad", "happy", "happy"],
            "heard": ["sad", "sad", "sad", "happy", "happy", "calm"],
        }
    )
    table = statistics.confusion(rows, ["happy", "sad", "calm"])
    assert table.loc["sad"].to_dict() == {"happy": 1, "sad": 3, "calm": 0}
    assert table.to_numpy().tolist() == [[1, 0, 1], [1, 3, 0], [0, 0, 0]]
    assert statistics.unweighted_average_recall(table) == pytest.approx((1 / 2 + 3 / 4) / 2)  # nobody gave "calm"


def test_recall_of_nothing_is_none_and_unknown_labels_are_refused():
    empty = statistics.confusion(pd.DataFrame({"rated": [], "heard": []}), ["happy", "sad"])
    assert empty.to_numpy().sum() == 0 and statistics.unweighted_average_recall(empty) is None
    with pytest.raises(EmotionOmniError, match="'grumpy' in 'heard'. Use one of: happy, sad"):
        statistics.confusion(pd.DataFrame({"rated": ["sad"], "heard": ["grumpy"]}), ["happy", "sad"])
