"""Better, worse or not shown; and the ratings still needed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from annotation.analysis.blind_verdict import blind_verdict, verdict_of


def votes(share: float, raters: int = 8, items: int = 20, seed: int = 0) -> pd.DataFrame:
    """The child wins this share; it stands left in half of the votes."""
    rng = np.random.default_rng(seed)
    rows = []
    for rater in range(raters):
        for item in range(items):
            won, is_left = rng.random() < share, rng.random() < 0.5
            sides = ("child", "parent") if is_left else ("parent", "child")
            outcome = "left" if won == is_left else "right"
            rows.append((sides[0], sides[1], outcome, f"r{rater}", f"i{item}"))
    return pd.DataFrame(rows, columns=["left", "right", "outcome", "rater", "item"])


def test_a_clear_difference_is_shown_and_named():
    assert blind_verdict(votes(0.8), "child").verdict == "better"
    assert blind_verdict(votes(0.2), "child").verdict == "worse"
    found = blind_verdict(votes(0.8), "child")
    assert found.still_needed == 0 and found.in_words().startswith("better: the child wins")


def test_an_even_result_is_not_shown_and_tells_what_is_needed():
    found = blind_verdict(votes(0.55, raters=4, items=8), "child")
    assert found.verdict == "not shown" and found.still_needed and found.still_needed > 0
    assert f"about {found.still_needed} more ratings" in found.in_words()


def test_ties_count_half_and_few_ratings_have_no_interval():
    tied = votes(0.5, raters=2, items=3).assign(outcome="tie")
    found = blind_verdict(tied, "child")
    assert found.win_rate.mean == 0.5 and found.verdict == "not shown" and found.still_needed == 18


def test_equal_ones_are_called_different_in_about_one_of_twenty():
    claimed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        rows = [(f"i{i}", f"r{r}", float(rng.random() < 0.5)) for i in range(20) for r in range(6)]
        claimed += verdict_of(pd.DataFrame(rows, columns=["item", "rater", "value"])).verdict != "not shown"
    assert claimed <= 11
