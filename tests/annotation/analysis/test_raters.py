"""Raters against known truths, verdicts with three outcomes, and the alarm."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from rating_tables import long

from annotation.analysis.raters import Evidence, ExclusionCriteria, Verdict, exclusion_alarm, judge, retest, severity


def repeated(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["item", "rater", "value", "repeat"])


def test_retest_compares_each_repeat_with_its_first_rating():
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
    found = retest(ratings).set_index("rater")
    assert list(found.loc["ann"]) == [2, 0.5, 1.0]
    assert (
        found.loc["bob", "pairs"] == 0
        and found.loc["bob", "same"] is None
        and found.loc["bob", "mean_difference"] is None
    )


def test_retest_of_words_has_no_difference():
    found = retest(
        repeated([("a", "ann", "sad", 0), ("a", "ann", "sad", 1), ("b", "ann", "calm", 0), ("b", "ann", "sad", 1)])
    )
    assert list(found.iloc[0]) == ["ann", 2, 0.5, None]


def test_severity_recovers_known_effects_when_raters_saw_different_items():
    """The lenient rater is given the bad items: a plain mean takes them for the strictest."""
    random = np.random.default_rng(5)
    quality_of, lenience = np.linspace(0, 10, 200), {"strict": -1.0, "fair": 0.0, "lenient": 1.0}
    seen = {"strict": range(60, 200), "fair": range(200), "lenient": range(90)}
    rows = [(f"i{i}", who, quality_of[i] + lenience[who] + random.normal(0, 0.3)) for who in seen for i in seen[who]]
    ratings = pd.DataFrame(rows, columns=["item", "rater", "value"])
    means, found = ratings.groupby("rater")["value"].mean(), severity(ratings).set_index("rater")
    assert means["lenient"] < means["strict"]
    for who, effect in lenience.items():
        assert abs(found.loc[who, "effect"] - effect) < 3.5 * found.loc[who, "standard_error"] < 0.3
        assert found.loc[who, "ratings"] == len(seen[who])
    assert sum(found["effect"]) == pytest.approx(0)


def test_severity_errors_equal_the_textbook_formula_for_a_balanced_design():
    """Balanced two-way layout (Scheffé 1959): variance of an effect is s^2 (R - 1) / (R I)."""
    value = np.random.default_rng(6).normal(size=(4, 25))
    found = severity(long(value.tolist()))
    left = value - value.mean(0) - value.mean(1, keepdims=True) + value.mean()
    error = math.sqrt((left**2).sum() / (3 * 24) * 3 / (4 * 25))
    assert list(found["effect"]) == pytest.approx(list(value.mean(1) - value.mean()))
    assert list(found["standard_error"]) == pytest.approx([error] * 4)
    t = 1.9935  # 97.5 % quantile of Student's t with 3 * 24 degrees of freedom
    assert list(found["half_width"]) == pytest.approx([t * error] * 4, rel=1e-4)


def test_severity_does_not_compare_raters_without_shared_items():
    some, others = long([[1, 2, 3], [2, 3, 5]]), long([[9, 9, 8], [4, 4, 4]])
    others = others.assign(rater=others["rater"].str.replace("r", "s"), item=list("xyzxyz"))
    alone = pd.DataFrame({"item": ["q"], "rater": ["z"], "value": [3]})
    found = severity(pd.concat([some, others, alone])).set_index("rater")
    assert found.loc["r0", "part"] == found.loc["r1", "part"] != found.loc["s0", "part"] == found.loc["s1", "part"]
    assert found.loc["r0", "effect"] + found.loc["r1", "effect"] == pytest.approx(0) and found.loc[
        "r1", "effect"
    ] == pytest.approx(2 / 3)
    assert found.loc["z", "effect"] is None and found.loc["z", "standard_error"] is None
    assert list(severity(long([[1], [2]]))["standard_error"]) == [None, None], (
        "two ratings leave nothing to judge the error by"
    )
    assert severity(long([[]])).empty


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


def test_a_rater_who_could_not_be_checked_is_neither_kept_nor_flagged():
    assert judge(Evidence("ann")) == Verdict("ann", "could-not-check", ("no-traps-seen", "no-gold-seen"))
    unchecked = dataclasses.replace(GOOD, traps_right=0, traps_seen=0, gold_right=0, gold_seen=2)
    assert judge(unchecked) == Verdict("ann", "could-not-check", ("no-traps-seen", "few-gold-seen"))
    assert judge(dataclasses.replace(unchecked, constant=True)) == Verdict("ann", "flagged", ("constant",))


def test_every_failure_is_named_and_the_criteria_can_be_changed():
    bad = Evidence("bob", 40, 0, 4, 0, 5, 5, 0.1, 0.1, True, -0.5)
    assert judge(bad).reasons == ("traps", "gold", "retest", "too-fast", "constant", "outlier")
    assert judge(dataclasses.replace(GOOD, traps_right=2), ExclusionCriteria(trap_share=0.5)).outcome == "kept"


@pytest.mark.parametrize(
    "wrong", [{"retest_same": math.nan}, {"median_seconds": math.inf}, {"traps_right": 5}, {"gold_right": -1}]
)
def test_impossible_evidence_is_refused(wrong):
    with pytest.raises(ValueError):
        dataclasses.replace(GOOD, **wrong)


def verdicts(kept: int, flagged: int, unchecked: int = 0) -> list[Verdict]:
    outcomes = (
        [("kept", ())] * kept
        + [("flagged", ("traps",))] * flagged
        + [("could-not-check", ("no-traps-seen",))] * unchecked
    )
    return [Verdict(f"r{i}", outcome, reasons) for i, (outcome, reasons) in enumerate(outcomes)]


def test_the_alarm_is_raised_when_a_check_starts_to_fail_everyone():
    alarm = exclusion_alarm(verdicts(40, 2), verdicts(20, 22))
    assert alarm.startswith("22 of 42 raters are flagged, up from 2 of 42.") and "'traps'" in alarm
    assert exclusion_alarm(verdicts(19, 1), verdicts(12, 8)) is not None, "p = 0.0098 that so many fail by luck"
    assert exclusion_alarm([], verdicts(0, 3)).startswith("All 3 raters")
    assert exclusion_alarm([], verdicts(0, 4, unchecked=9)).startswith("All 4 raters"), "the unchecked must not hide it"


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
    assert exclusion_alarm(verdicts(*before), verdicts(*now)) is None
