"""Items by how far their raters differ."""

from __future__ import annotations

import math

import pytest
from rating_tables import N, long

from annotation.analysis.disagreement import disagreement
from annotation.analysis.ratings import LEVELS


def test_disagreement_of_words_is_normalized_entropy_sorted_by_size():
    ratings = long([["sad", "sad", "sad", "calm"], ["sad", "calm", "sad", N], ["sad", "angry", "calm", N]])
    found = disagreement(ratings, "nominal")
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(3)
    assert list(found["item"]) == ["i001", "i002", "i000"], "one rating cannot disagree"
    assert list(found["disagreement"]) == pytest.approx([1, entropy, 0]) and list(found["n"]) == [3, 3, 3]
    halves = long([["sad"], ["sad"], ["calm"], ["calm"]])
    assert disagreement(halves, "nominal")["disagreement"].item() == pytest.approx(1)
    of_four = disagreement(halves, "nominal", ["sad", "calm", "angry", "happy"])
    assert of_four["disagreement"].item() == pytest.approx(0.5), "four raters could have chosen four"


def test_disagreement_of_numbers_is_the_deviation_over_its_largest_value():
    found = disagreement(long([[1, 2, 3], [5, 2, 4]]), "ordinal")
    assert list(found["item"]) == ["i000", "i002", "i001"] and list(found["disagreement"]) == pytest.approx(
        [1, 0.25, 0]
    )
    on_a_longer_scale = disagreement(long([[1, 2, 3], [5, 2, 4]]), "interval", range(1, 10))
    assert list(on_a_longer_scale["disagreement"]) == pytest.approx([0.5, 0.125, 0])


def test_disagreement_of_ordered_words_is_that_of_their_ranks():
    words = long([["bad", "fair"], ["good", "fair"]])
    assert list(disagreement(words, "ordinal", ["bad", "fair", "good"])["disagreement"]) == pytest.approx([1, 0])


@pytest.mark.parametrize("kind", LEVELS)
def test_no_disagreement_is_zero_and_an_empty_queue_is_empty(kind):
    assert list(disagreement(long([[2, 2], [2, 2]]), kind)["disagreement"]) == [0, 0]
    assert list(disagreement(long([[]]), kind).columns) == ["item", "disagreement", "n"]
    assert disagreement(long([[]]), kind).empty
