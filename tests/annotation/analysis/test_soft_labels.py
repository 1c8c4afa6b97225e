"""Soft labels are the posterior mean of a Dirichlet prior."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rating_tables import long

from annotation.analysis.soft_labels import soft_labels


@given(
    st.lists(st.lists(st.sampled_from([None, "sad", "calm", "angry"]), min_size=4, max_size=4), min_size=1, max_size=5)
)
def test_soft_labels_are_smoothed_shares_of_the_votes(rows):
    categories, ratings = ["angry", "calm", "happy", "sad"], long(rows)
    found = soft_labels(ratings, categories)
    assert list(found.columns) == categories and set(found.index) == set(ratings["item"])
    assert list(found.sum(axis=1)) == pytest.approx([1] * len(found)) and (found.to_numpy() > 0).all()
    for item, row in found.iterrows():
        votes = ratings.loc[ratings["item"] == item, "value"].value_counts().reindex(categories, fill_value=0)
        assert list(row) == pytest.approx(list((votes + 0.5) / (votes.sum() + 2)))
