"""Rankings recover the strengths, ties and bias that votes were simulated from."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from annotation.analysis.intervals import verdict
from annotation.analysis.ranking import rank
from emotion_omni.types import EmotionOmniError


def simulated_votes(strengths, bias=0.0, tie=0.8, count=4000, seed=0, raters=30, items=40):
    """Votes sampled from the model, sides at random, outcomes with its three weights."""
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
    """(left, right, outcome, count), spread over five raters and seven items."""
    rows = [row[:3] for row in counted for _ in range(row[3])]
    table = pd.DataFrame(rows, columns=["left", "right", "outcome"])
    return table.assign(rater=np.arange(len(table)) % 5, item=np.arange(len(table)) % 7)


def strengths_of(ranking):
    return ranking.table.set_index("system")["strength"].to_dict()


TRUTH = {"ash": 0.9, "birch": 0.3, "cedar": -0.2, "dogwood": -1.0}


def test_known_strengths_ties_and_bias_are_recovered():
    ranking = rank(simulated_votes(TRUTH, bias=0.5, tie=0.8), bootstrap=200)
    assert list(ranking.table["system"]) == list(TRUTH)
    for row in ranking.table.itertuples():
        assert row.strength == pytest.approx(TRUTH[row.system], abs=0.12)
        assert row.low < TRUTH[row.system] < row.high and row.low < row.strength < row.high
    assert ranking.tie == pytest.approx(0.8, abs=0.08)
    bias = ranking.position_bias
    assert bias.mean == pytest.approx(0.5, abs=0.1) and bias.low < 0.5 < bias.high and bias.low > 0
    assert verdict(bias) == "better" and set(ranking.table["status"]) == {"listed"} and not ranking.note


def test_a_bias_does_not_leak_into_strengths_even_when_sides_are_uneven():
    votes = simulated_votes(TRUTH, bias=1.0, count=8000)
    rare = (votes["right"] == "ash") & (np.arange(len(votes)) % 8 != 0)
    found = strengths_of(rank(votes[~rare], bootstrap=0))
    assert found == pytest.approx(TRUTH, abs=0.15)
    assert found["ash"] - found["dogwood"] == pytest.approx(1.9, abs=0.15)


def test_swapping_the_sides_changes_only_the_sign_of_the_bias():
    votes = simulated_votes(TRUTH, bias=0.5, count=1500)
    turned = votes["outcome"].map({"left": "right", "right": "left", "tie": "tie"})
    mirrored = votes.assign(left=votes["right"], right=votes["left"], outcome=turned)
    there, back = (rank(table, bootstrap=40) for table in (votes, mirrored))
    assert strengths_of(there) == pytest.approx(strengths_of(back), abs=1e-4)
    assert there.tie == pytest.approx(back.tie, abs=1e-4)
    assert there.table["low"].astype(float).to_numpy() == pytest.approx(
        back.table["low"].astype(float).to_numpy(), abs=1e-3
    )
    one, other = there.position_bias, back.position_bias
    assert one.mean > 0.2
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=1e-3)
    assert verdict(other) == "worse"


def test_without_ties_the_difference_is_the_log_of_wins_over_losses():
    votes = votes_of(("a", "b", "left", 60), ("a", "b", "right", 30), ("b", "a", "right", 60), ("b", "a", "left", 30))
    ranking = rank(votes, bootstrap=0, prior=1e-6)
    found = strengths_of(ranking)
    assert found["a"] - found["b"] == pytest.approx(math.log(2), abs=1e-4) and found["a"] + found["b"] == pytest.approx(
        0, abs=1e-9
    )
    assert ranking.position_bias.mean == pytest.approx(0, abs=1e-4) and ranking.tie == 0.0


def test_the_fit_reproduces_the_observed_shares():
    one_way = (("a", "b", "left", 50), ("a", "b", "tie", 30), ("a", "b", "right", 20))
    votes = votes_of(*one_way, ("b", "a", "right", 50), ("b", "a", "tie", 30), ("b", "a", "left", 20))
    ranking = rank(votes, bootstrap=0, prior=1e-6)
    found = strengths_of(ranking)
    assert found["a"] - found["b"] == pytest.approx(math.log(0.5 / 0.2), abs=1e-2)
    assert ranking.tie == pytest.approx(0.3 / math.sqrt(0.5 * 0.2), abs=1e-2)


def test_an_unbeaten_system_is_first_with_a_finite_strength():
    votes = votes_of(("a", "b", "left", 20), ("b", "a", "right", 20), ("b", "c", "left", 20), ("c", "b", "left", 20))
    ranking = rank(votes, bootstrap=50)
    first = ranking.table.iloc[0]
    assert first["system"] == "a" and 1 < first["strength"] < 8
    assert first["low"] is not None and first["high"] is None and "no upper bound" in first["reason"]
    rest = ranking.table.iloc[1:]  # a cannot move the zero: it is the mean of those that won and lost
    assert rest["strength"].sum() == pytest.approx(0, abs=1e-9)


def pair(wins, losses, ties=0):
    """Votes on a and b, every other one with sides swapped, spread over 20 raters and 30 items."""
    rows = [("a", "b", "left")] * wins + [("a", "b", "right")] * losses + [("a", "b", "tie")] * ties
    table = pd.DataFrame(rows, columns=["left", "right", "outcome"])
    table = table.assign(rater=np.arange(len(table)) % 20, item=np.arange(len(table)) % 30)
    turned = table.assign(
        left="b", right="a", outcome=table["outcome"].map({"left": "right", "right": "left", "tie": "tie"})
    )
    return pd.concat([table[::2], turned[1::2]])


def bounds_of(ranking):
    return ranking.table.set_index("system")[["low", "high"]].to_dict("index")


def test_sixty_of_sixty_has_no_upper_bound():
    ranking = rank(pair(60, 0))
    found = bounds_of(ranking)
    assert found["a"]["high"] is None and found["b"]["low"] is None
    # 20 independent raters of one mind: the probability of a win is at least 0.025^(1/20); a is half the difference.
    share = 0.025 ** (1 / 20)
    assert found["a"]["low"] == pytest.approx(math.log(share / (1 - share)) / 2, abs=0.01)
    assert found["b"]["high"] == pytest.approx(-found["a"]["low"], abs=1e-3)
    assert "no upper bound" in ranking.table["reason"].iloc[0] and ranking.table["system"].iloc[0] == "a"
    assert ranking.position_bias.low is None and "one-sided" in ranking.position_bias.reason


def test_fifty_nine_of_sixty_has_an_upper_bound_far_above_the_estimate_or_none():
    ranking = rank(pair(59, 1))
    best, found = strengths_of(ranking)["a"], bounds_of(ranking)["a"]
    assert found["low"] < best and (found["high"] is None or found["high"] > best + 1)
    assert (found["high"] is None) == bool(ranking.table["reason"].iloc[0])


def test_many_losses_leave_the_bootstrap_interval():
    found = bounds_of(rank(pair(40, 20)))["a"]
    assert 0 < found["low"] < math.log(2) / 2 < found["high"] < 1


def test_without_decided_votes_there_is_nothing_to_bound():
    for ties in (1, 60):
        ranking = rank(pair(0, 0, ties))
        assert all(low is None for low in ranking.table["low"]) and all(high is None for high in ranking.table["high"])


def test_separated_groups_each_keep_their_own_bounds():
    other = pair(30, 30).replace({"a": "c", "b": "d"})
    found = bounds_of(rank(pd.concat([pair(60, 0), other])))
    assert found["a"]["high"] is None and found["b"]["low"] is None
    assert found["c"]["low"] < 0 < found["c"]["high"] < 1


def test_a_side_that_always_won_leaves_strengths_open():
    ranking = rank(votes_of(("a", "b", "left", 20), ("b", "a", "left", 20)))
    assert all(low is None for low in ranking.table["low"])
    assert ranking.position_bias.high is None and "no upper bound" in ranking.position_bias.note


def test_an_open_side_can_still_be_better():
    bias = rank(votes_of(*[("a", "b", "left", 70), ("b", "a", "left", 70)]).assign(rater=range(140), item=range(140)))
    assert bias.position_bias.high is None and verdict(bias.position_bias) == "better"


def test_only_ties_make_all_systems_equal():
    ranking = rank(votes_of(("a", "b", "tie", 20), ("b", "a", "tie", 20)), bootstrap=50)
    assert list(ranking.table["strength"]) == pytest.approx([0, 0], abs=1e-6)
    assert 10 < ranking.tie < 1e4 and list(ranking.table["ties"]) == [40, 40] and list(ranking.table["wins"]) == [0, 0]


def test_counts_and_status_show_the_number_of_votes_behind_a_rank():
    votes = votes_of(("a", "b", "left", 200), ("b", "a", "tie", 110), ("c", "a", "left", 10), ("c", "c", "left", 5))
    table = rank(votes, bootstrap=30).table.set_index("system")
    assert table["votes"].to_dict() == {"a": 320, "b": 310, "c": 10}
    assert table["wins"].to_dict() == {"a": 200, "b": 0, "c": 10} and table["ties"].to_dict() == {
        "a": 110,
        "b": 110,
        "c": 0,
    }
    assert table["status"].to_dict() == {"a": "listed", "b": "listed", "c": "hidden"}
    assert rank(votes.head(299), bootstrap=0).table["status"].eq("preliminary").all()
    assert rank(votes, bootstrap=0, minimum=10).table.set_index("system")["status"]["c"] == "preliminary"


def test_the_order_is_by_lower_bound():
    votes = pd.concat([simulated_votes(TRUTH, count=400), votes_of(("new", "ash", "left", 3))])
    table = rank(votes, bootstrap=60).table
    assert table["low"].astype(float).iloc[:-1].is_monotonic_decreasing
    assert table.loc[table["strength"].idxmax(), "system"] == "new" == table["system"].iloc[-1]  # too few votes


def test_a_new_system_does_not_widen_the_other_intervals():
    votes = simulated_votes(TRUTH, count=1500)
    alone, joined = (
        rank(table, bootstrap=60).table.set_index("system")
        for table in (votes, pd.concat([votes, votes_of(("new", "ash", "left", 3))]))
    )
    widths = [
        (table.loc[list(TRUTH), "high"] - table.loc[list(TRUTH), "low"]).astype(float).mean()
        for table in (alone, joined)
    ]
    assert widths[1] < 1.3 * widths[0] and joined.loc[list(TRUTH), "strength"].sum() == pytest.approx(0, abs=1e-9)


def test_systems_never_compared_are_reported_and_centered_separately():
    votes = pd.concat(
        [
            votes_of(("a", "b", "left", 30), ("b", "a", "left", 10)),
            votes_of(("c", "d", "left", 20), ("d", "c", "right", 20)),
        ]
    )
    ranking = rank(votes, bootstrap=30)
    assert "a, b; c, d" in ranking.note and "within a group only" in ranking.note
    assert ranking.table.groupby("component")["strength"].sum().abs().max() < 1e-9
    assert ranking.table.groupby("component")["system"].agg(set).tolist() == [{"a", "b"}, {"c", "d"}]


def test_one_system_against_itself_still_measures_the_bias():
    ranking = rank(votes_of(("a", "a", "left", 150), ("a", "a", "right", 50)), bootstrap=50)
    (row,) = ranking.table.itertuples()
    assert (row.system, row.strength, row.low, row.votes, row.status) == ("a", 0.0, None, 0, "hidden")
    assert "Only one system, a" in ranking.note
    assert ranking.position_bias.mean == pytest.approx(math.log(3), abs=0.05) and ranking.position_bias.low > 0


def test_a_bias_that_cannot_be_separated_from_a_system_is_not_reported():
    ranking = rank(votes_of(("new", "old", "left", 60), ("new", "old", "right", 20)), bootstrap=20)
    assert ranking.position_bias.mean is None and "never swapped" in ranking.position_bias.reason
    found = strengths_of(ranking)
    assert found["new"] - found["old"] == pytest.approx(math.log(3), abs=0.1)


def test_without_position_bias_the_interval_contains_zero():
    votes = votes_of(("a", "b", "left", 40), ("a", "b", "right", 40), ("b", "a", "left", 40), ("b", "a", "right", 40))
    ranking = rank(votes)
    assert ranking.position_bias.low < 0 < ranking.position_bias.high


def test_a_single_rater_gives_strengths_without_intervals():
    ranking = rank(simulated_votes(TRUTH, count=200, raters=1))
    assert all(low is None for low in ranking.table["low"]) and "only 1 rater" in ranking.note
    assert ranking.position_bias.low is None and "only 1 rater" in ranking.position_bias.reason
    assert ranking.table["strength"].is_monotonic_decreasing


def test_raters_who_vote_alike_widen_the_intervals():
    votes = simulated_votes({"a": 0.3, "b": -0.3}, count=600, raters=600, items=600)
    independent = rank(votes.assign(rater=range(600), item=range(600)), bootstrap=80).table
    wins = (votes["left"] == "a") == (votes["outcome"] == "left")
    blocks = wins.rank(method="first").astype(int).sub(1) // 100  # six raters, each of nearly one mind
    clustered = rank(votes.assign(rater=blocks, item=range(600)), bootstrap=80).table
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
def test_invalid_votes_are_refused(change, code):
    with pytest.raises(EmotionOmniError) as refused:
        rank(change(votes_of(("a", "b", "left", 3))))
    assert refused.value.code == code
