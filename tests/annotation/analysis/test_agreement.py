"""Agreement against published worked examples, raters against known truths, verdicts with three outcomes."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.analysis import agreement as quality
from annotation.analysis.agreement import Evidence, Rules, Verdict, judge
from emotion_omni.types import EmotionOmniError

LEVELS = ("nominal", "ordinal", "interval")
COEFFICIENTS = {
    "alpha nominal": lambda ratings, **how: quality.krippendorff(ratings, "nominal", **how),
    "alpha ordinal": lambda ratings, **how: quality.krippendorff(ratings, "ordinal", **how),
    "alpha interval": lambda ratings, **how: quality.krippendorff(ratings, "interval", **how),
    "fleiss": quality.fleiss,
    "AC1": lambda ratings, **how: quality.gwet(ratings, range(1, 6), "nominal", **how),
    "AC2 ordinal": lambda ratings, **how: quality.gwet(ratings, range(1, 6), "ordinal", **how),
    "AC2 quadratic": lambda ratings, **how: quality.gwet(ratings, range(1, 6), "interval", **how),
}


def long(rows: list[list]) -> pd.DataFrame:
    """One list a rater, ``None`` where not rated → the long table."""
    return pd.DataFrame(
        [
            (f"i{i:03d}", f"r{r}", value)
            for r, row in enumerate(rows)
            for i, value in enumerate(row)
            if value is not None
        ],
        columns=["item", "rater", "value"],
    )


def from_counts(rows: list[list[int]]) -> pd.DataFrame:
    """One list an item: how many raters chose each category, from 1 → the long table."""
    values = [[k + 1 for k, n in enumerate(row) for _ in range(n)] for row in rows]
    rows_long = [(f"i{i}", f"r{r}", value) for i, row in enumerate(values) for r, value in enumerate(row)]
    return pd.DataFrame(rows_long, columns=["item", "rater", "value"])


N = None
# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C: 4 observers, 12 units.
# Gwet (2014), "Handbook of inter-rater reliability", uses the same table (cac.raw4raters of his R package).
FOUR_OBSERVERS = long(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)
# The worked example of Fleiss' kappa that Wikipedia and most packages use: 14 raters, 10 subjects, 5 categories.
FOURTEEN_RATERS = from_counts(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


# --- published worked examples ---


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_krippendorffs_own_with_missing_data(level, published):
    found = quality.krippendorff(FOUR_OBSERVERS, level)
    assert found.value == pytest.approx(published, abs=5e-4)
    assert (found.raters, found.items, found.pairable, found.reason) == (4, 12, 40, "")
    assert -1 <= found.low < found.value < found.high <= 1


def test_alpha_is_krippendorffs_own_for_two_observers():
    """Krippendorff (2011), examples A (binary, 0.095) and B (nominal, 0.692)."""
    binary = long([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]])
    nominal = long([list("aabbdcccedda"), list("babbbccceddd")])
    assert quality.krippendorff(binary, "nominal", bootstrap=0).value == pytest.approx(0.095, abs=5e-4)
    assert quality.krippendorff(nominal, "nominal", bootstrap=0).value == pytest.approx(0.692, abs=5e-4)


def test_fleiss_kappa_is_the_well_known_example():
    found = quality.fleiss(FOURTEEN_RATERS)
    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert found.low < found.value < found.high
    assert (found.raters, found.items, found.pairable) == (14, 10, 140)


def test_ac1_and_quadratic_ac2_are_gwets_own_with_missing_data():
    """Gwet's R package on the four observers: AC1 0.77544, AC2 with quadratic weights 0.914."""
    assert quality.gwet(FOUR_OBSERVERS, range(1, 6), "nominal").value == pytest.approx(0.77544, abs=5e-6)
    assert quality.gwet(FOUR_OBSERVERS, range(1, 6), "interval").value == pytest.approx(0.914, abs=5e-4)


def test_two_raters_and_three_categories_are_as_gwet_publishes_them():
    """Gwet (2014), two abstractors of ectopic pregnancies (cont3x3abstractors): AC1 0.8493305, alpha 0.7972585."""
    table = {("E", "E"): 13, ("A", "A"): 20, ("A", "N"): 7, ("N", "A"): 4, ("N", "N"): 56}
    pairs = [pair for pair, n in table.items() for _ in range(n)]
    ratings = long([[a for a, _ in pairs], [b for _, b in pairs]])
    assert quality.gwet(ratings, ["E", "A", "N"], "nominal").value == pytest.approx(0.8493305, abs=5e-8)
    assert quality.krippendorff(ratings, "nominal").value == pytest.approx(0.7972585, abs=5e-8)


def test_ordinal_ac2_is_its_formula_by_hand():
    """Two raters, three steps; ordinal weights 1, 2/3, 0 as Gwet (2014) tabulates them."""
    ratings = long([[1, 2, 3, 1], [1, 3, 3, 3]])
    agreed = (1 + 2 / 3 + 1 + 0) / 4
    shares = np.array([3, 1, 4]) / 8
    by_chance = (3 + 4 * 2 / 3) / (3 * 2) * (shares * (1 - shares)).sum()
    assert quality.gwet(ratings, [1, 2, 3], "ordinal").value == pytest.approx((agreed - by_chance) / (1 - by_chance))


def test_ordinal_alpha_is_the_published_metric_written_out():
    values, ratings = range(1, 6), FOUR_OBSERVERS.groupby("item").filter(lambda rows: len(rows) > 1)
    n = {value: int((ratings["value"] == value).sum()) for value in values}

    def far(c, k):
        low, high = sorted((c, k))
        return (sum(n[g] for g in range(low, high + 1)) - (n[c] + n[k]) / 2) ** 2

    observed = 0.0
    for _, rows in ratings.groupby("item"):
        of_item = list(rows["value"])
        observed += sum(far(a, b) for a in of_item for b in of_item) / (len(of_item) - 1)
    expected = sum(n[c] * n[k] * far(c, k) for c in values for k in values) / (len(ratings) - 1)
    assert quality.krippendorff(FOUR_OBSERVERS, "ordinal").value == pytest.approx(1 - observed / expected)


# --- honesty ---


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_raters_who_always_disagree_are_below_chance(name):
    ratings = long([[1, 5] * 10, [5, 1] * 10])
    found = COEFFICIENTS[name](ratings)
    assert found.value < 0 and found.low <= found.value <= found.high


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_raters_who_answer_at_random_agree_by_chance_only(name):
    random = np.random.default_rng(1)
    found = COEFFICIENTS[name](long(random.integers(1, 6, (4, 300)).tolist()))
    assert abs(found.value) < 0.06 and found.low - 0.02 < 0 < found.high + 0.02


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_raters_who_agree_on_different_values_reach_one(name):
    assert COEFFICIENTS[name](long([[1, 2, 3, 4, 5, 1]] * 3)).value == pytest.approx(1)


@pytest.mark.parametrize("name", ["alpha nominal", "alpha ordinal", "alpha interval", "fleiss"])
@pytest.mark.parametrize("value", [3, 0.1])
def test_ratings_all_alike_leave_alpha_and_kappa_undefined_with_a_reason(name, value):
    found = COEFFICIENTS[name](long([[value] * 12] * 3))
    assert found.value is found.low is found.high is None
    assert found.reason.startswith("not defined because every rating is the same value")
    assert (found.raters, found.items, found.pairable) == (3, 12, 36)


def test_ratings_all_alike_give_ac1_its_one_with_a_warning_and_no_interval():
    found = quality.gwet(long([["calm"] * 12] * 3), ["calm", "angry"], "nominal")
    assert found.value == 1 and found.low is found.high is None
    assert "every rating is the same value" in found.reason


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize(
    "ratings", [long([[]]), long([[1, 2, 3]]), long([[1, N], [N, 2]])], ids=["none", "one rater", "no overlap"]
)
def test_without_an_item_rated_twice_nothing_is_defined(name, ratings):
    found = COEFFICIENTS[name](ratings)
    assert found.value is found.low is found.high is None and found.pairable == 0
    assert found.reason == "not defined because no item has two ratings"


def test_ac1_stays_high_on_skewed_classes_where_alpha_collapses():
    """The paradox Gwet (2008) starts from: 118 of 125 items agreed on, nearly all in one class."""
    ratings = long([["yes"] * 118 + ["yes"] * 5 + ["no"] * 2, ["yes"] * 118 + ["no"] * 5 + ["yes"] * 2])
    assert quality.krippendorff(ratings, "nominal").value < 0
    assert quality.gwet(ratings, ["yes", "no"], "nominal").value > 0.9


def test_an_interval_is_missing_with_a_reason_rather_than_wrong():
    few = quality.krippendorff(long([[1, 2, 3], [1, 2, 2]]), "nominal")
    assert few.value is not None and few.low is few.high is None and "3 items are too few" in few.reason
    rare = quality.krippendorff(long([[1] * 20, [2] + [1] * 19]), "nominal")  # one in three resamples holds ones only
    assert rare.value is not None and rare.low is None and "of the resamples" in rare.reason
    asked_for_none = quality.krippendorff(FOUR_OBSERVERS, "nominal", bootstrap=0)
    assert asked_for_none.low is asked_for_none.high is None and asked_for_none.reason == ""


def test_the_interval_narrows_with_more_items_and_is_the_same_for_the_same_seed():
    random = np.random.default_rng(2)
    truth = random.integers(1, 6, 800)
    rows = [np.where(random.random(800) < 0.7, truth, random.integers(1, 6, 800)).tolist() for _ in range(3)]
    many, few = (quality.krippendorff(long([row[:n] for row in rows]), "nominal") for n in (800, 50))
    assert many.high - many.low < (few.high - few.low) / 2
    assert few == quality.krippendorff(long([row[:50] for row in rows]), "nominal")
    assert few.low != quality.krippendorff(long([row[:50] for row in rows]), "nominal", seed=1).low


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Two raters who each report a fair coin with 10 % error: alpha is (1 - 2 · 0.1)^2 = 0.64."""
    random, held = np.random.default_rng(3), 0
    for _ in range(100):
        truth = random.random(150) < 0.5
        rows = [(truth ^ (random.random(150) < 0.1)).astype(int).tolist() for _ in range(2)]
        found = quality.krippendorff(long(rows), "nominal", bootstrap=200)
        held += found.low <= 0.64 <= found.high
    assert 86 <= held <= 100


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([None, 1, 2, 3, 4, 5]), min_size=6, max_size=6), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from(sorted(COEFFICIENTS)),
)
def test_neither_the_order_of_rows_nor_the_names_of_raters_matter(rows, random, name):
    ratings = long(rows)
    order = list(range(len(ratings)))
    random.shuffle(order)
    names = [f"r{r}" for r in range(len(rows))]
    renamed = dict(zip(names, random.sample(names, len(names)), strict=True))
    other = ratings.iloc[order].assign(rater=lambda frame: frame["rater"].map(renamed))
    one, two = (COEFFICIENTS[name](frame, bootstrap=50) for frame in (ratings, other))
    assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(two))
    assert one.value is None or (math.isfinite(one.value) and one.value <= 1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([None, 1, 2, 3, 4, 5]), min_size=6, max_size=6), min_size=2, max_size=4),
    st.permutations([1, 2, 3, 4, 5]),
)
def test_the_names_of_nominal_categories_do_not_matter(rows, other):
    named = [[None if value is None else f"c{other[value - 1]}" for value in row] for row in rows]
    for measure in (
        lambda frame, names: quality.krippendorff(frame, "nominal", 0).value,
        lambda frame, names: quality.fleiss(frame, 0).value,
        lambda frame, names: quality.gwet(frame, names, "nominal", 0).value,
    ):
        assert measure(long(rows), range(1, 6)) == pytest.approx(
            measure(long(named), [f"c{k}" for k in range(5, 0, -1)])
        )


def test_only_ordinal_alpha_ignores_how_far_apart_the_steps_are():
    stretched = FOUR_OBSERVERS.assign(value=FOUR_OBSERVERS["value"] ** 3)
    moved = FOUR_OBSERVERS.assign(value=0.1 * FOUR_OBSERVERS["value"] - 7)
    same = {level: quality.krippendorff(FOUR_OBSERVERS, level, 0).value for level in LEVELS}
    assert quality.krippendorff(stretched, "ordinal", 0).value == pytest.approx(same["ordinal"])
    assert quality.krippendorff(stretched, "interval", 0).value != pytest.approx(same["interval"], abs=0.01)
    assert quality.krippendorff(moved, "interval", 0).value == pytest.approx(same["interval"])


def test_two_thousand_items_by_five_raters_take_under_two_seconds_each():
    random = np.random.default_rng(4)
    ratings = long(random.integers(1, 6, (5, 2000)).tolist())
    for name, measure in COEFFICIENTS.items():
        start = time.perf_counter()
        assert measure(ratings).low is not None
        assert time.perf_counter() - start < 2, name


# --- the table ---


def test_the_table_holds_what_applies_to_the_scale():
    names = {
        level: [row.name for row in quality.agreement_table(FOUR_OBSERVERS, level, range(1, 6), 0)] for level in LEVELS
    }
    assert names["nominal"] == ["Krippendorff's alpha (nominal)", "Gwet's AC1", "Fleiss' kappa"]
    assert names["ordinal"] == ["Krippendorff's alpha (ordinal)", "Gwet's AC2 (ordinal weights)", "Fleiss' kappa"]
    assert names["interval"] == ["Krippendorff's alpha (interval)", "Gwet's AC2 (quadratic weights)"]
    assert [row.name for row in quality.agreement_table(FOUR_OBSERVERS, "interval", (), 0)] == [
        "Krippendorff's alpha (interval)"
    ]


def test_words_on_an_ordered_scale_count_by_their_place_not_by_the_alphabet():
    words = ["bad", "poor", "fair", "good", "excellent"]
    spoken = FOUR_OBSERVERS.assign(value=[words[value - 1] for value in FOUR_OBSERVERS["value"]])
    for level in LEVELS:
        assert quality.agreement_table(spoken, level, words) == quality.agreement_table(
            FOUR_OBSERVERS, level, range(1, 6)
        )


def test_numbers_written_as_text_are_numbers():
    written = FOUR_OBSERVERS.assign(value=FOUR_OBSERVERS["value"].astype(str))
    assert quality.agreement_table(written, "ordinal", range(1, 6)) == quality.agreement_table(
        FOUR_OBSERVERS, "ordinal", range(1, 6)
    )


@pytest.mark.parametrize(
    ("act", "code", "says"),
    [
        (lambda: quality.krippendorff(FOUR_OBSERVERS, "ratio"), "unknown-level", "nominal, ordinal, interval"),
        (lambda: quality.krippendorff(FOUR_OBSERVERS.drop(columns="rater"), "nominal"), "columns", "'rater'"),
        (lambda: quality.krippendorff(FOUR_OBSERVERS.assign(item=None), "nominal"), "columns", "no item"),
        (lambda: quality.krippendorff(long([["sad"], ["calm"]]), "ordinal"), "not-a-number", "'sad'"),
        (lambda: quality.krippendorff(long([[math.inf], [1]]), "interval"), "not-a-number", "inf"),
        (lambda: quality.gwet(FOUR_OBSERVERS, range(1, 5), "nominal"), "unknown-category", "Use one of: 1, 2, 3, 4"),
        (lambda: quality.gwet(FOUR_OBSERVERS, [1, 2, 2], "nominal"), "categories", "twice"),
        (lambda: quality.fleiss(pd.concat([FOUR_OBSERVERS] * 2)), "rated-twice", "retest"),
        (lambda: quality.emotion_posterior(FOUR_OBSERVERS, range(1, 6), 0), "prior", "positive"),
        (lambda: quality.disagreement(FOUR_OBSERVERS, "interval", [1, 2, 3]), "unknown-category", "not on the scale"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_to_do(act, code, says):
    with pytest.raises(EmotionOmniError, match=says) as refusal:
        act()
    assert refusal.value.code == code


def test_a_missing_value_is_as_good_as_no_row():
    with_gaps = pd.concat([FOUR_OBSERVERS, pd.DataFrame({"item": ["i000"], "rater": ["r2"], "value": [math.nan]})])
    assert quality.krippendorff(with_gaps, "interval") == quality.krippendorff(FOUR_OBSERVERS, "interval")


# --- each rater ---


def repeated(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["item", "rater", "value", "repeat"])


def test_retest_compares_each_repeat_with_its_first():
    ratings = repeated(
        [
            ("a", "ann", 1, 0),
            ("a", "ann", 1, 1),
            ("b", "ann", 4, 0),
            ("b", "ann", 2, 1),
            ("c", "ann", 5, 0),
            ("a", "bob", 3, 0),
        ]
        + [("d", "ann", 2, 1)]  # a repeat without its first tells nothing
    )
    found = quality.retest(ratings).set_index("rater")
    assert list(found.loc["ann"]) == [2, 0.5, 1.0]
    assert (
        found.loc["bob", "pairs"] == 0
        and found.loc["bob", "same"] is None
        and found.loc["bob", "mean_difference"] is None
    )


def test_retest_of_words_has_no_difference():
    found = quality.retest(
        repeated([("a", "ann", "sad", 0), ("a", "ann", "sad", 1), ("b", "ann", "calm", 0), ("b", "ann", "sad", 1)])
    )
    assert list(found.iloc[0]) == ["ann", 2, 0.5, None]


def test_severity_finds_the_known_lenience_though_raters_saw_different_items():
    """The lenient rater is given the bad items: a plain mean takes them for the strictest."""
    random = np.random.default_rng(5)
    quality_of, lenience = np.linspace(0, 10, 200), {"strict": -1.0, "fair": 0.0, "lenient": 1.0}
    seen = {"strict": range(60, 200), "fair": range(200), "lenient": range(90)}
    rows = [(f"i{i}", who, quality_of[i] + lenience[who] + random.normal(0, 0.3)) for who in seen for i in seen[who]]
    ratings = pd.DataFrame(rows, columns=["item", "rater", "value"])
    means, found = ratings.groupby("rater")["value"].mean(), quality.severity(ratings).set_index("rater")
    assert means["lenient"] < means["strict"]
    for who, effect in lenience.items():
        assert abs(found.loc[who, "effect"] - effect) < 3.5 * found.loc[who, "standard_error"] < 0.3
        assert found.loc[who, "ratings"] == len(seen[who])
    assert sum(found["effect"]) == pytest.approx(0)


def test_severity_errors_are_those_of_the_textbook_when_everyone_rates_everything():
    """Balanced two-way layout (Scheffé 1959): variance of an effect is s^2 (R - 1) / (R I)."""
    value = np.random.default_rng(6).normal(size=(4, 25))
    found = quality.severity(long(value.tolist()))
    left = value - value.mean(0) - value.mean(1, keepdims=True) + value.mean()
    error = math.sqrt((left**2).sum() / (3 * 24) * 3 / (4 * 25))
    assert list(found["effect"]) == pytest.approx(list(value.mean(1) - value.mean()))
    assert list(found["standard_error"]) == pytest.approx([error] * 4)


def test_severity_says_what_it_cannot_compare():
    some, others = long([[1, 2, 3], [2, 3, 5]]), long([[9, 9, 8], [4, 4, 4]])
    others = others.assign(rater=others["rater"].str.replace("r", "s"), item=list("xyzxyz"))
    alone = pd.DataFrame({"item": ["q"], "rater": ["z"], "value": [3]})
    found = quality.severity(pd.concat([some, others, alone])).set_index("rater")
    assert found.loc["r0", "part"] == found.loc["r1", "part"] != found.loc["s0", "part"] == found.loc["s1", "part"]
    assert found.loc["r0", "effect"] + found.loc["r1", "effect"] == pytest.approx(0) and found.loc[
        "r1", "effect"
    ] == pytest.approx(2 / 3)
    assert found.loc["z", "effect"] is None and found.loc["z", "standard_error"] is None
    assert list(quality.severity(long([[1], [2]]))["standard_error"]) == [None, None], (
        "two ratings leave nothing to judge the error by"
    )
    assert quality.severity(long([[]])).empty


# --- verdicts ---

GOOD = Evidence("ann", 40, 4, 4, 5, 5, 5, 0.8, 2.0, False, 0.6)


def test_a_rater_who_passes_every_check_is_kept():
    assert judge(GOOD) == Verdict("ann", "kept", ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traps_right": 2}, "traps"),
        ({"gold_right": 2}, "gold"),
        ({"retest_same": 0.4}, "retest"),
        ({"median_seconds": 0.2}, "too-fast"),
        ({"constant": True}, "constant"),
        ({"agreement_with_others": -0.2}, "outlier"),
    ],
)
def test_each_failing_check_flags_by_its_own_name(change, reason):
    assert judge(dataclasses.replace(GOOD, **change)) == Verdict("ann", "flagged", (reason,))


@pytest.mark.parametrize(
    "change",
    [
        {"traps_right": 3},
        {"gold_right": 3},
        {"retest_same": 0.5},
        {"median_seconds": 0.5},
        {"agreement_with_others": 0.0},
        {"retest_pairs": 3, "retest_same": 0.0},
        {"gold_right": 0, "gold_seen": 2},
        {"ratings": 19, "agreement_with_others": -1.0},
        {"retest_same": None, "median_seconds": None, "constant": None, "agreement_with_others": None},
    ],
)
def test_a_check_on_its_threshold_passes_and_one_with_too_little_evidence_is_not_made(change):
    assert judge(dataclasses.replace(GOOD, **change)).outcome == "kept"


def test_who_could_not_be_checked_is_neither_kept_nor_flagged():
    assert judge(Evidence("ann")) == Verdict("ann", "could-not-check", ("no-traps-seen", "no-gold-seen"))
    unchecked = dataclasses.replace(GOOD, traps_right=0, traps_seen=0, gold_right=0, gold_seen=2)
    assert judge(unchecked) == Verdict("ann", "could-not-check", ("no-traps-seen", "few-gold-seen"))
    assert judge(dataclasses.replace(unchecked, constant=True)) == Verdict("ann", "flagged", ("constant",))


def test_every_failure_is_named_and_the_rules_can_be_changed():
    bad = Evidence("bob", 40, 0, 4, 0, 5, 5, 0.1, 0.1, True, -0.5)
    assert judge(bad).reasons == ("traps", "gold", "retest", "too-fast", "constant", "outlier")
    assert judge(dataclasses.replace(GOOD, traps_right=2), Rules(trap_share=0.5)).outcome == "kept"


@pytest.mark.parametrize(
    "wrong", [{"retest_same": math.nan}, {"median_seconds": math.inf}, {"traps_right": 5}, {"gold_right": -1}]
)
def test_evidence_that_cannot_be_is_refused_rather_than_passed(wrong):
    with pytest.raises(ValueError):
        dataclasses.replace(GOOD, **wrong)


def verdicts(kept: int, flagged: int, unchecked: int = 0) -> list[Verdict]:
    outcomes = (
        [("kept", ())] * kept
        + [("flagged", ("traps",))] * flagged
        + [("could-not-check", ("no-traps-seen",))] * unchecked
    )
    return [Verdict(f"r{i}", outcome, reasons) for i, (outcome, reasons) in enumerate(outcomes)]


def test_the_alarm_sounds_when_a_check_starts_to_fail_everyone():
    alarm = quality.exclusion_alarm(verdicts(40, 2), verdicts(20, 22))
    assert alarm.startswith("22 of 42 raters are flagged, up from 2 of 42.") and "'traps'" in alarm
    assert quality.exclusion_alarm(verdicts(19, 1), verdicts(12, 8)) is not None, "p = 0.0098 that so many fail by luck"
    assert quality.exclusion_alarm([], verdicts(0, 3)).startswith("All 3 raters")
    assert quality.exclusion_alarm([], verdicts(0, 4, unchecked=9)).startswith("All 4 raters"), (
        "the unchecked must not hide it"
    )


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((40, 2), (40, 2)),
        ((20, 22), (40, 2)),  # fewer than before
        ((9, 1), (7, 3)),  # 20 points, but luck may do that
        ((4000, 100), (3500, 600)),  # sure, but under 20 points
        ((0, 0), (1, 9)),  # nothing to compare with
        ((5, 0), (0, 2)),  # all, but of two
        ((10, 0), (0, 0, 30)),  # nobody failed a check
        ((0, 0), (0, 0)),
    ],
)
def test_the_alarm_is_silent_without_a_large_and_certain_rise(before, now):
    assert quality.exclusion_alarm(verdicts(*before), verdicts(*now)) is None


# --- each item ---


def test_disagreement_of_words_is_entropy_and_the_worst_comes_first():
    ratings = long([["sad", "sad", "sad", "calm"], ["sad", "calm", "sad", N], ["sad", "angry", "calm", N]])
    found = quality.disagreement(ratings, "nominal")
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(3)
    assert list(found["item"]) == ["i001", "i002", "i000"], "one rating cannot disagree"
    assert list(found["disagreement"]) == pytest.approx([1, entropy, 0]) and list(found["n"]) == [3, 3, 3]
    halves = long([["sad"], ["sad"], ["calm"], ["calm"]])
    assert quality.disagreement(halves, "nominal")["disagreement"].item() == pytest.approx(1)
    of_four = quality.disagreement(halves, "nominal", ["sad", "calm", "angry", "happy"])
    assert of_four["disagreement"].item() == pytest.approx(0.5), "four raters could have chosen four"


def test_disagreement_of_numbers_is_their_spread_over_the_most_there_can_be():
    found = quality.disagreement(long([[1, 2, 3], [5, 2, 4]]), "ordinal")
    assert list(found["item"]) == ["i000", "i002", "i001"] and list(found["disagreement"]) == pytest.approx(
        [1, 0.25, 0]
    )
    on_a_longer_scale = quality.disagreement(long([[1, 2, 3], [5, 2, 4]]), "interval", range(1, 10))
    assert list(on_a_longer_scale["disagreement"]) == pytest.approx([0.5, 0.125, 0])


def test_disagreement_of_ordered_words_is_that_of_their_places():
    words = long([["bad", "fair"], ["good", "fair"]])
    assert list(quality.disagreement(words, "ordinal", ["bad", "fair", "good"])["disagreement"]) == pytest.approx(
        [1, 0]
    )


@pytest.mark.parametrize("kind", LEVELS)
def test_no_disagreement_is_zero_and_an_empty_queue_is_empty(kind):
    assert list(quality.disagreement(long([[2, 2], [2, 2]]), kind)["disagreement"]) == [0, 0]
    assert list(quality.disagreement(long([[]]), kind).columns) == ["item", "disagreement", "n"]
    assert quality.disagreement(long([[]]), kind).empty


@given(
    st.lists(st.lists(st.sampled_from([None, "sad", "calm", "angry"]), min_size=4, max_size=4), min_size=1, max_size=5)
)
def test_soft_labels_are_beliefs_that_lean_to_the_votes(rows):
    categories, ratings = ["angry", "calm", "happy", "sad"], long(rows)
    found = quality.emotion_posterior(ratings, categories)
    assert list(found.columns) == categories and set(found.index) == set(ratings["item"])
    assert list(found.sum(axis=1)) == pytest.approx([1] * len(found)) and (found.to_numpy() > 0).all()
    for item, row in found.iterrows():
        votes = ratings.loc[ratings["item"] == item, "value"].value_counts().reindex(categories, fill_value=0)
        assert list(row) == pytest.approx(list((votes + 0.5) / (votes.sum() + 2)))


def test_the_module_leans_on_no_other_implementation():
    nodes = list(ast.walk(ast.parse(inspect.getsource(quality))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in names} - {"__future__", "math", "collections", "dataclasses", "typing"}
    assert packages == {"numpy", "pandas", "scipy", "emotion_omni"}
