"""Agreement against published worked examples."""

from __future__ import annotations

import ast
import dataclasses
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rating_tables import FOUR_OBSERVERS, N, from_counts, long

from annotation.analysis import agreement
from annotation.analysis.agreement import agreement_table, fleiss_kappa, gwet_ac, krippendorff_alpha
from annotation.analysis.ratings import LEVELS

COEFFICIENTS = {
    "alpha nominal": lambda ratings, **how: krippendorff_alpha(ratings, "nominal", **how),
    "alpha ordinal": lambda ratings, **how: krippendorff_alpha(ratings, "ordinal", **how),
    "alpha interval": lambda ratings, **how: krippendorff_alpha(ratings, "interval", **how),
    "fleiss": fleiss_kappa,
    "AC1": lambda ratings, **how: gwet_ac(ratings, range(1, 6), "nominal", **how),
    "AC2 ordinal": lambda ratings, **how: gwet_ac(ratings, range(1, 6), "ordinal", **how),
    "AC2 quadratic": lambda ratings, **how: gwet_ac(ratings, range(1, 6), "interval", **how),
}


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


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_krippendorffs_own_with_missing_data(level, published):
    found = krippendorff_alpha(FOUR_OBSERVERS, level)
    assert found.value == pytest.approx(published, abs=5e-4)
    assert (found.raters, found.items, found.pairable, found.reason) == (4, 12, 40, "")
    assert -1 <= found.low < found.value < found.high <= 1


def test_alpha_is_krippendorffs_own_for_two_observers():
    """Krippendorff (2011), examples A (binary, 0.095) and B (nominal, 0.692)."""
    binary = long([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]])
    nominal = long([list("aabbdcccedda"), list("babbbccceddd")])
    assert krippendorff_alpha(binary, "nominal", bootstrap=0).value == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(nominal, "nominal", bootstrap=0).value == pytest.approx(0.692, abs=5e-4)


def test_fleiss_kappa_is_the_well_known_example():
    found = fleiss_kappa(FOURTEEN_RATERS)
    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert found.low < found.value < found.high
    assert (found.raters, found.items, found.pairable) == (14, 10, 140)


def test_ac1_and_quadratic_ac2_are_gwets_own_with_missing_data():
    """Gwet's R package on the four observers: AC1 0.77544, AC2 with quadratic weights 0.914."""
    assert gwet_ac(FOUR_OBSERVERS, range(1, 6), "nominal").value == pytest.approx(0.77544, abs=5e-6)
    assert gwet_ac(FOUR_OBSERVERS, range(1, 6), "interval").value == pytest.approx(0.914, abs=5e-4)


def test_two_raters_and_three_categories_are_as_gwet_publishes_them():
    """Gwet (2014), two abstractors of ectopic pregnancies (cont3x3abstractors): AC1 0.8493305, alpha 0.7972585."""
    table = {("E", "E"): 13, ("A", "A"): 20, ("A", "N"): 7, ("N", "A"): 4, ("N", "N"): 56}
    pairs = [pair for pair, n in table.items() for _ in range(n)]
    ratings = long([[a for a, _ in pairs], [b for _, b in pairs]])
    assert gwet_ac(ratings, ["E", "A", "N"], "nominal").value == pytest.approx(0.8493305, abs=5e-8)
    assert krippendorff_alpha(ratings, "nominal").value == pytest.approx(0.7972585, abs=5e-8)


def test_ordinal_ac2_is_its_formula_by_hand():
    """Two raters, three steps; ordinal weights 1, 2/3, 0 as Gwet (2014) tabulates them."""
    ratings = long([[1, 2, 3, 1], [1, 3, 3, 3]])
    agreed = (1 + 2 / 3 + 1 + 0) / 4
    shares = np.array([3, 1, 4]) / 8
    by_chance = (3 + 4 * 2 / 3) / (3 * 2) * (shares * (1 - shares)).sum()
    assert gwet_ac(ratings, [1, 2, 3], "ordinal").value == pytest.approx((agreed - by_chance) / (1 - by_chance))


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
    assert krippendorff_alpha(FOUR_OBSERVERS, "ordinal").value == pytest.approx(1 - observed / expected)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_raters_who_always_disagree_are_below_chance(name):
    ratings = long([[1, 5] * 10, [5, 1] * 10])
    found = COEFFICIENTS[name](ratings)
    assert found.value < 0 and found.low <= found.value <= found.high


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_random_raters_agree_at_chance_level(name):
    random = np.random.default_rng(1)
    found = COEFFICIENTS[name](long(random.integers(1, 6, (4, 300)).tolist()))
    assert abs(found.value) < 0.06 and found.low - 0.02 < 0 < found.high + 0.02


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_full_agreement_on_different_values_is_one(name):
    assert COEFFICIENTS[name](long([[1, 2, 3, 4, 5, 1]] * 3)).value == pytest.approx(1)


@pytest.mark.parametrize("name", ["alpha nominal", "alpha ordinal", "alpha interval", "fleiss"])
@pytest.mark.parametrize("value", [3, 0.1])
def test_alpha_and_kappa_are_undefined_with_a_reason_if_all_ratings_are_the_same(name, value):
    found = COEFFICIENTS[name](long([[value] * 12] * 3))
    assert found.value is found.low is found.high is None
    assert found.reason.startswith("not defined because every rating is the same value")
    assert (found.raters, found.items, found.pairable) == (3, 12, 36)


def test_ac1_is_one_with_a_warning_and_no_interval_if_all_ratings_are_the_same():
    found = gwet_ac(long([["calm"] * 12] * 3), ["calm", "angry"], "nominal")
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
    assert krippendorff_alpha(ratings, "nominal").value < 0
    assert gwet_ac(ratings, ["yes", "no"], "nominal").value > 0.9


def test_an_interval_is_missing_with_a_reason_rather_than_wrong():
    few = krippendorff_alpha(long([[1, 2, 3], [1, 2, 2]]), "nominal")
    assert few.value is not None and few.low is few.high is None and "3 items are too few" in few.reason
    rare = krippendorff_alpha(long([[1] * 20, [2] + [1] * 19]), "nominal")  # one in three resamples holds ones only
    assert rare.value is not None and rare.low is None and "of the resamples" in rare.reason
    asked_for_none = krippendorff_alpha(FOUR_OBSERVERS, "nominal", bootstrap=0)
    assert asked_for_none.low is asked_for_none.high is None and asked_for_none.reason == ""


def test_the_interval_narrows_with_more_items_and_is_the_same_for_the_same_seed():
    random = np.random.default_rng(2)
    truth = random.integers(1, 6, 800)
    rows = [np.where(random.random(800) < 0.7, truth, random.integers(1, 6, 800)).tolist() for _ in range(3)]
    many, few = (krippendorff_alpha(long([row[:n] for row in rows]), "nominal") for n in (800, 50))
    assert many.high - many.low < (few.high - few.low) / 2
    assert few == krippendorff_alpha(long([row[:50] for row in rows]), "nominal")
    assert few.low != krippendorff_alpha(long([row[:50] for row in rows]), "nominal", seed=1).low


def test_the_interval_is_the_central_95_percent_of_resampled_items():
    ratings = long(np.random.default_rng(7).integers(1, 4, (2, 40)).tolist())
    found = fleiss_kappa(ratings, bootstrap=400, seed=3)
    by_item = dict(iter(ratings.groupby("item")))
    counts = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=400)
    values = []
    for count in counts:
        chosen = [
            rows["value"].to_numpy() for rows, times in zip(by_item.values(), count, strict=True) for _ in range(times)
        ]
        shares = np.array([np.mean([(row == value).mean() for row in chosen]) for value in (1, 2, 3)])
        agreed, chance = np.mean([row[0] == row[1] for row in chosen]), (shares**2).sum()
        values.append((agreed - chance) / (1 - chance))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


def test_the_interval_contains_the_truth_about_as_often_as_it_says():
    """Two raters who each report a fair coin with 10 % error: alpha is (1 - 2 · 0.1)^2 = 0.64."""
    random, held = np.random.default_rng(3), 0
    for _ in range(100):
        truth = random.random(150) < 0.5
        rows = [(truth ^ (random.random(150) < 0.1)).astype(int).tolist() for _ in range(2)]
        found = krippendorff_alpha(long(rows), "nominal", bootstrap=200)
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
        lambda frame, names: krippendorff_alpha(frame, "nominal", 0).value,
        lambda frame, names: fleiss_kappa(frame, 0).value,
        lambda frame, names: gwet_ac(frame, names, "nominal", 0).value,
    ):
        assert measure(long(rows), range(1, 6)) == pytest.approx(
            measure(long(named), [f"c{k}" for k in range(5, 0, -1)])
        )


def test_only_ordinal_alpha_ignores_how_far_apart_the_steps_are():
    stretched = FOUR_OBSERVERS.assign(value=FOUR_OBSERVERS["value"] ** 3)
    moved = FOUR_OBSERVERS.assign(value=0.1 * FOUR_OBSERVERS["value"] - 7)
    same = {level: krippendorff_alpha(FOUR_OBSERVERS, level, 0).value for level in LEVELS}
    assert krippendorff_alpha(stretched, "ordinal", 0).value == pytest.approx(same["ordinal"])
    assert krippendorff_alpha(stretched, "interval", 0).value != pytest.approx(same["interval"], abs=0.01)
    assert krippendorff_alpha(moved, "interval", 0).value == pytest.approx(same["interval"])


def test_two_thousand_items_by_five_raters_take_under_two_seconds_each():
    random = np.random.default_rng(4)
    ratings = long(random.integers(1, 6, (5, 2000)).tolist())
    for name, measure in COEFFICIENTS.items():
        start = time.perf_counter()
        assert measure(ratings).low is not None
        assert time.perf_counter() - start < 2, name


def test_the_table_holds_what_applies_to_the_scale():
    names = {level: [row.name for row in agreement_table(FOUR_OBSERVERS, level, range(1, 6), 0)] for level in LEVELS}
    assert names["nominal"] == ["Krippendorff's alpha (nominal)", "Gwet's AC1", "Fleiss' kappa"]
    assert names["ordinal"] == ["Krippendorff's alpha (ordinal)", "Gwet's AC2 (ordinal weights)", "Fleiss' kappa"]
    assert names["interval"] == ["Krippendorff's alpha (interval)", "Gwet's AC2 (quadratic weights)"]
    assert [row.name for row in agreement_table(FOUR_OBSERVERS, "interval", (), 0)] == [
        "Krippendorff's alpha (interval)"
    ]


def test_words_on_an_ordered_scale_count_by_their_rank_not_by_the_alphabet():
    words = ["bad", "poor", "fair", "good", "excellent"]
    spoken = FOUR_OBSERVERS.assign(value=[words[value - 1] for value in FOUR_OBSERVERS["value"]])
    for level in LEVELS:
        assert agreement_table(spoken, level, words) == agreement_table(FOUR_OBSERVERS, level, range(1, 6))


def test_numbers_written_as_text_are_numbers():
    written = FOUR_OBSERVERS.assign(value=FOUR_OBSERVERS["value"].astype(str))
    assert agreement_table(written, "ordinal", range(1, 6)) == agreement_table(FOUR_OBSERVERS, "ordinal", range(1, 6))


def test_a_missing_value_equals_a_missing_row():
    with_gaps = pd.concat([FOUR_OBSERVERS, pd.DataFrame({"item": ["i000"], "rater": ["r2"], "value": [math.nan]})])
    assert krippendorff_alpha(with_gaps, "interval") == krippendorff_alpha(FOUR_OBSERVERS, "interval")


def test_the_statistics_use_no_other_implementation_and_no_storage():
    for path in Path(agreement.__file__).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names
        assert foreign <= {"numpy", "pandas", "scipy", "annotation", "emotion_omni"}, path.name
        ours = {name for name in names if name.startswith("annotation.")}
        if path.name not in ("results.py", "reports.py"):  # which read the store
            assert all(name.startswith("annotation.analysis") for name in ours), path.name
