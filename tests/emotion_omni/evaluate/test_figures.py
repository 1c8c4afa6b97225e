"""Means, intervals over clusters, and differences beyond noise."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_omni.evaluate.figures import Figure, Sample, by_figure, difference, loses, resampled, summary


def samples(values, per_cluster=1, **more):
    return [Sample("f", f"item {n}", v, f"cluster {n // per_cluster}", **more) for n, v in enumerate(values)]


def test_the_mean_over_groups_is_that_of_recall():
    rows = [Sample("f", str(n), v, group=g) for n, (v, g) in enumerate([(1, "a"), (1, "a"), (1, "a"), (0, "b")])]
    assert summary(rows)["value"] == 0.5


def test_weights_make_a_word_error_rate():
    rows = [Sample("f", "one", 1 / 2, weight=2), Sample("f", "two", 0, weight=8)]
    assert summary(rows)["value"] == 0.1 and "low" not in summary(rows)  # too few clusters to speak of noise


def test_intervals_are_wider_where_items_of_a_cluster_are_alike():
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.random(20) > 0.5, 10).astype(float)
    clustered, naive = summary(samples(alike, 10)), summary(samples(alike))
    assert clustered["high"] - clustered["low"] > 2 * (naive["high"] - naive["low"])
    assert clustered["clusters"] == 20 and naive["clusters"] == 200


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    found = [summary(samples((rng.random(40) < 0.3).astype(float))) for _ in range(120)]
    held = np.mean([one["low"] <= 0.3 <= one["high"] for one in found])
    assert 0.88 <= held <= 0.99


def test_clusters_are_drawn_within_their_stratum():
    counts = resampled(np.array(["a"] * 3 + ["b"] * 2))
    assert (counts[:, :3].sum(1) == 3).all() and (counts[:, 3:].sum(1) == 2).all()


def test_a_difference_is_of_common_items_and_paired():
    rng = np.random.default_rng(2)
    hard = rng.random(60)
    parent = samples(hard)
    child = samples(hard - 0.02)  # worse by a little everywhere: pairing sees it
    found = difference(child + [Sample("f", "only mine", 99.0)], parent)
    assert found["value"] == pytest.approx(-0.02, abs=1e-3) and found["items"] == 60 and found["beyond_noise"]
    assert difference([Sample("f", "a", 1.0)], [Sample("f", "b", 1.0)]) is None


def test_groups_and_clusters_keep_their_places_whatever_the_order():
    rows = [Sample("f", f"{g}{n}", float(n % 2), f"c{n}", group=g) for n in range(6) for g in "ab"]
    found = difference(rows, rows[::-1])
    assert found["value"] == found["low"] == found["high"] == 0 and not found["beyond_noise"]


def test_noise_is_no_loss_and_a_margin_forgives():
    rng = np.random.default_rng(3)
    one, other = rng.random(40), rng.random(40)
    figure = Figure("f", "f", guarded=True)
    assert not loses(figure, difference(samples(one), samples(other)))
    worse = difference(samples(one - 0.05), samples(one))
    assert loses(figure, worse) and not loses(Figure("f", "f", margin=0.1), worse)
    assert not loses(Figure("f", "f", "lower"), worse) and not loses(Figure("f", "f", "neither"), worse)
    assert not loses(figure, None)


def test_samples_by_figure():
    assert list(by_figure([Sample("a", "1", 0.0), Sample("b", "1", 0.0), Sample("a", "2", 0.0)])) == ["a", "b"]
