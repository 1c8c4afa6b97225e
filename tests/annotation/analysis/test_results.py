"""The figures of a study from its rows: which ratings count, whose side won, and what raters were shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from study_rows import flagged, item, rating, results

from annotation.analysis.intervals import verdict
from annotation.analysis.item_table import item_table
from annotation.ui.result_pictures import pictures


@pytest.mark.parametrize(
    ("answer", "flip", "shown", "outcome"),
    [
        ("a", 1, ("one", "two"), "left"),
        ("b", 1, ("one", "two"), "right"),
        ("a", -1, ("two", "one"), "right"),
        ("b", -1, ("two", "one"), "left"),
        ("tie", -1, ("two", "one"), "tie"),
    ],
)
def test_a_vote_names_the_side_of_the_page_that_won(answer, flip, shown, outcome):
    found = results(
        "compare",
        [item("i", systems={"a": "one", "b": "two"})],
        [rating("ann", "i", {"preference": answer}, flip=flip)],
    ).votes()
    assert list(found[["left", "right", "outcome"]].itertuples(index=False, name=None)) == [(*shown, outcome)]


def test_the_preferred_system_leads_the_ranking_though_sides_are_swapped():
    items = [item(f"i{n}", systems={"a": "one", "b": "two"}) for n in range(8)]
    ratings = [
        rating(rater, one["id"], {"preference": "a"}, flip=1 - 2 * (n % 2))
        for n, one in enumerate(items)
        for rater in ("ann", "bob", "cleo")
    ]
    ranking = results("compare", items, ratings).ranking(bootstrap=20)
    assert list(ranking.table["system"]) == ["one", "two"] and ranking.table["strength"].iloc[0] > 0.5
    assert ranking.position_bias.mean == pytest.approx(0, abs=1e-6)


def test_a_flagged_rater_counts_only_where_all_raters_are_asked_for():
    ratings = [rating(rater, "i", {"empathy": value}) for rater, value in (("ann", 4), ("bob", 1))]
    found = results("empathy", [item("i")], ratings, (flagged("bob"),))
    assert found.verdicts["bob"].outcome == "flagged" and found.verdicts["ann"].outcome == "could-not-check"
    assert list(found.values("empathy")["value"]) == [4]
    assert list(found.values("empathy", kept_only=False)["value"]) == [4, 1]
    assert found.means()["empathy"]["mean"].item() == 4.0


def test_the_latest_decision_of_a_researcher_overrides_the_criteria():
    again = {"subject": "rater", "rater": "bob", "value": "kept", "reason": "explained it"}
    found = results("empathy", [item("i")], [rating("bob", "i", {"empathy": 3})], (flagged("bob"), again))
    assert (found.verdicts["bob"].outcome, found.verdicts["bob"].reasons) == ("kept", ("researcher: explained it",))


def test_a_repeat_within_one_point_is_the_same_answer():
    items = [item(name) for name in "abc"]
    first = [rating("ann", name, {"empathy": 3}) for name in "abc"]
    again = [rating("ann", name, {"empathy": value}, "repeat") for name, value in zip("abc", (3, 4, 5), strict=True)]
    evidence = results("empathy", items, first + again).evidence("ann")
    assert (evidence.retest_pairs, evidence.retest_same) == (3, pytest.approx(2 / 3))


def test_agreement_with_others_on_categories_is_corrected_for_chance():
    items = [item(name) for name in "abcd"]
    ratings = [rating(rater, one["id"], {"primary": "sad"}) for one in items for rater in ("bob", "cleo")]
    ratings += [rating("ann", name, {"primary": "sad" if name in "ab" else "happy"}) for name in "abcd"]
    found = results("emotion-recognition", items, ratings)
    assert found.evidence("ann").agreement_with_others == pytest.approx(2 / 4 - 1 / 10)  # of ten possible answers


def test_agreement_with_others_on_points_is_a_correlation():
    items = [item(name) for name in "abcd"]
    ratings = [rating(rater, name, {"empathy": n + 1}) for n, name in enumerate("abcd") for rater in ("bob", "cleo")]
    ratings += [rating("ann", name, {"empathy": 4 - n}) for n, name in enumerate("abcd")]
    assert results("empathy", items, ratings).evidence("ann").agreement_with_others == pytest.approx(-1)


def test_confusion_leaves_out_ratings_that_saw_the_guess():
    items = [item("i", guess={"label": "sad", "probability": 0.6})]
    ratings = [
        rating("ann", "i", {"primary": "sad"}, guess=True),
        rating("bob", "i", {"primary": "angry"}),
        rating("cleo", "i", {"primary": "other"}),
    ]
    found = results("emotion-recognition", items, ratings).confusion()
    assert found.to_numpy().sum() == 1 and found.loc["angry", "sad"] == 1


def test_anchoring_is_the_difference_between_shown_and_hidden_guesses():
    items = [item(f"i{n}", guess={"label": "sad", "probability": 0.6}) for n in range(4)]
    ratings = [
        rating(rater, one["id"], {"primary": "sad" if shown or n == 0 else "calm"}, guess=shown)
        for n, one in enumerate(items)
        for rater, shown in (("ann", True), ("bob", False), ("cleo", True), ("dan", False))
    ]
    found = results("emotion-recognition", items, ratings).anchoring()
    assert (found.shown.mean, found.hidden.mean, found.gap.mean) == (1.0, 0.25, 0.75)
    assert found.gap.low is None and "too few ratings" in found.gap.reason


def anchored(pull: float, raters: int = 12, count: int = 30):
    """Guesses shown on 70 % of ratings, to which raters then agree more often by ``pull``."""
    generator = np.random.default_rng(0)
    items = [item(f"i{n:02d}", guess={"label": "sad", "probability": 0.6}) for n in range(count)]
    ratings = []
    for number in range(raters):
        for one in items:
            shown = bool(generator.random() < 0.7)
            agrees = generator.random() < 0.4 + pull * shown
            answer = {"primary": "sad" if agrees else "calm"}
            ratings.append(rating(f"r{number:02d}", one["id"], answer, guess=shown))
    return results("emotion-recognition", items, ratings)


def test_anchoring_has_a_clustered_interval():
    pulled, free = anchored(0.3).anchoring(), anchored(0.0).anchoring()
    assert pulled.gap.low > 0.15 and pulled.gap.high < 0.45 and verdict(pulled.gap) == "better"
    assert free.gap.low < 0 < free.gap.high and 0.3 < free.hidden.low < 0.4 < free.hidden.high < 0.55


def test_anchoring_is_a_number_and_a_sentence():
    assert "pulls raters towards it" in pictures(anchored(0.3), False)
    shown = pictures(anchored(0.0), False)
    assert (
        "Anchoring: " in shown and "points (95 % interval" in shown and "a pull towards the guess is not shown" in shown
    )


def test_figures_of_one_question_are_rows_of_the_whole_table():
    found = anchored(0.2)
    whole = found.table[(found.table["scale"] == "primary") & (found.table["kind"] == "rate")].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.values("primary", False).astype(object), whole.astype(object), check_like=True)


def test_voice_lift_uses_the_stated_emotion_of_the_family():
    items = [
        item(f"{mode}{n}", mode=mode, about={"emotion": "grief" if n % 2 else "happy"}) | {"family": f"f{n}"}
        for mode in ("words", "voice", "both")
        for n in range(6)
    ]
    ratings = [
        rating(rater, one["id"], {"primary": "sad" if one["content"]["mode"] == "both" and n % 2 else "calm"})
        for n, one in enumerate(items)
        for rater in ("ann", "bob")
    ]
    found = results("words-voice", items, ratings).voice_lift()
    assert (found.words.mean, found.both.mean, found.lift.mean) == (0.0, 0.5, 0.5)
    assert found.lift.items == 6


def test_divided_items_come_first_in_the_adjudication_queue():
    items = [item("clear", texts={"speech": "All agree."}), item("divided", texts={"speech": "Who knows?"})]
    ratings = [rating(rater, "clear", {"primary": "sad"}) for rater in ("ann", "bob")]
    ratings += [rating(rater, "divided", {"primary": value}) for rater, value in (("ann", "sad"), ("bob", "calm"))]
    decision = {"subject": "item", "item": "divided", "value": "calm", "reason": "listened again"}
    queue = item_table(results("emotion-recognition", items, ratings, (decision,)))
    assert list(queue["item"]) == ["divided", "clear"] and list(queue["about"]) == ["Who knows?", "All agree."]
    assert list(queue["decided"]) == ["calm", ""] and queue["answers"].iloc[1] == "sad × 2"


# --- evidence about raters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "skips", "outcome"), [("trap", 1, "flagged"), ("gold", 3, "flagged"), ("gold", 2, "could-not-check")]
)
def test_a_skipped_check_is_one_that_was_not_passed(kind: str, skips: int, outcome: str) -> None:
    found = results("empathy", [item("i0")], [rating("Ann", "i0", {"empathy": 3})])
    found = dataclasses.replace(found, skipped_checks=[{"rater": "Ann", "kind": kind}] * skips)
    assert found.verdicts["Ann"].outcome == outcome


def test_another_raters_skips_do_not_count() -> None:
    found = results("empathy", [item("i0")], [rating("Ann", "i0", {"empathy": 3})])
    found = dataclasses.replace(found, skipped_checks=[{"rater": "Bob", "kind": "trap"}])
    assert found.evidence("Ann").traps_seen == 0


@pytest.mark.parametrize(("after", "flagged"), [(16.1, True), (17.0, False)])
def test_a_rater_who_answers_the_moment_a_clip_can_be_over_is_too_fast(after: float, flagged: bool) -> None:
    clips = {"query": {"seconds": 12.0}, "reply": {"seconds": 8.0}}  # 16 s at 1.25 times the speed
    given = rating("Ann", "i0", {"empathy": 3}, at=100.0 + after, handed=100.0, seconds=9.9)
    found = results("empathy", [item("i0", clips=clips)], [given])
    assert ("too-fast" in found.verdicts["Ann"].reasons) == flagged
