"""The variance of crossed ratings against hand calculations, analysis of variance and known components."""

from __future__ import annotations

import numpy as np
import pytest

from annotation.analysis.crossed import CrossedDesign


def complete(raters: int, items: int) -> CrossedDesign:
    return CrossedDesign(np.tile(np.arange(raters), items), np.repeat(np.arange(items), raters))


def test_the_variance_equals_the_hand_calculation():
    found = complete(2, 2).estimate(np.array([1.0, 3.0, 2.0, 6.0]))
    # Deviations -2, 0, -1, 3: mean squares of raters 9, items 4, error 1; the mean's variance is (9 + 4 - 1) / 4.
    assert (found.value, found.variance) == (3.0, pytest.approx(3.0))


def test_with_equal_loads_the_variance_is_that_of_the_analysis_of_variance():
    design, values = complete(9, 14), np.random.default_rng(0).normal(size=126) + np.tile(np.arange(9), 14)
    cells = values.reshape(14, 9)
    of_raters = 14 * np.square(cells.mean(axis=0) - cells.mean()).sum() / 8
    of_items = 9 * np.square(cells.mean(axis=1) - cells.mean()).sum() / 13
    residual = cells - cells.mean(axis=0) - cells.mean(axis=1)[:, None] + cells.mean()
    of_error = np.square(residual).sum() / (8 * 13)
    assert design.estimate(values).variance == pytest.approx((of_raters + of_items - of_error) / 126)
    assert design.effective == pytest.approx((9, 14))


def unequal(generator: np.random.Generator) -> CrossedDesign:
    chosen = [generator.choice(7, 3, replace=False, p=np.arange(1, 8) / 28) for _ in range(20)]
    return CrossedDesign(np.concatenate(chosen), np.repeat(np.arange(20), 3))


@pytest.mark.parametrize("sds", [(1.0, 0.0, 0.5), (0.3, 0.8, 0.5), (0.0, 1.0, 1.0)])
def test_with_unequal_loads_the_variance_is_unbiased(sds):
    generator = np.random.default_rng(1)
    design, studies = unequal(generator), 20_000
    values = sds[0] * generator.normal(size=(studies, 7))[:, design.raters]
    values += sds[1] * generator.normal(size=(studies, 20))[:, design.items]
    values += sds[2] * generator.normal(size=values.shape)
    found = design.estimate(values)
    assert found.variance.mean() == pytest.approx(found.value.var(), rel=0.05)
    assert 6.9 > design.effective[0] > 4


def test_one_very_busy_rater_lowers_the_degrees_of_freedom():
    raters = np.concatenate([np.zeros(40, int), np.repeat(np.arange(1, 9), 5)])
    busy, even = CrossedDesign(raters, np.arange(80) % 40), CrossedDesign(np.arange(80) % 9, np.arange(80) % 40)
    values = np.random.default_rng(2).normal(size=80)
    effects = np.random.default_rng(3).normal(size=9) * 3
    freedom = [design.estimate(values + effects[design.raters]).freedom for design in (busy, even)]
    assert freedom[0] < 4 and freedom[1] == pytest.approx(8, abs=1) and busy.effective[0] < 4


def test_studies_are_estimated_together_as_one_by_one():
    generator = np.random.default_rng(4)
    design, values = unequal(generator), generator.normal(size=(5, 60))
    together = design.estimate(values)
    alone = [design.estimate(row) for row in values]
    assert together.variance == pytest.approx([one.variance for one in alone])
    assert together.freedom == pytest.approx([one.freedom for one in alone])


def test_raters_who_rate_once_are_no_obstacle():
    found = CrossedDesign(np.arange(30), np.arange(30) % 10).estimate(np.random.default_rng(5).normal(size=30))
    assert np.isfinite([found.variance, found.freedom]).all() and found.variance > 0
