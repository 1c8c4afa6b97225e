"""Who rates what next: the shape of a block, the order of items, modes."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import raters
from hypothesis import given, settings
from hypothesis import strategies as st
from raters import Clock, Rater
from sessions import PLAIN, at_task, items, known, ratings

from annotation.rating import assignment
from annotation.studio import Studio
from annotation.study.rules import Study

pytest_plugins = ("databases",)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(2, 40),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 10**6),
    st.booleans(),
    st.booleans(),
)
def test_a_block_has_its_extras_but_never_first_or_last(
    size: int, traps: int, gold: int, repeats: int, seed: int, has_trap: bool, has_gold: bool
) -> None:  # noqa: E501
    rules = Study(
        "t", "empathy", block_size=size, traps_per_block=traps, gold_per_block=gold, repeats_per_block=repeats
    )
    plan = assignment.block_plan(rules, random.Random(seed), {"trap": has_trap, "gold": has_gold})
    assert plan[0] == plan[-1] == "rate"
    assert Counter(plan) == Counter(rate=size, trap=traps * has_trap, gold=gold * has_gold, repeat=repeats)
    if size > assignment.REPEAT_AFTER + 1 and repeats:
        assert plan[: plan.index("repeat")].count("rate") > assignment.REPEAT_AFTER


def test_extras_stand_anywhere_in_a_block() -> None:
    rules = Study("t", "empathy")
    plans = [assignment.block_plan(rules, random.Random(seed), {"trap": True, "gold": True}) for seed in range(300)]
    assert {plan.index("trap") for plan in plans} >= set(range(1, 12))


def test_a_block_of_one_item_has_no_extras() -> None:
    assert assignment.block_plan(
        Study("t", "empathy", block_size=1), random.Random(0), {"trap": True, "gold": True}
    ) == ["rate"]


def test_a_whole_study_holds_its_extras_in_every_block(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=20, block_size=10, training_right=0)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    kinds = raters.kinds(rater)
    assert Counter(kinds) == {"rate": 20, "trap": 2, "gold": 2, "repeat": 2}
    assert kinds[0] == kinds[12] == kinds[13] == kinds[-1] == "rate"


def test_a_hidden_repeat_shows_an_older_item_as_it_was_shown(studio: Studio, clock: Clock) -> None:
    raters.study(
        studio,
        "compare",
        items=10,
        block_size=10,
        training_right=0,
        repeats_per_block=3,
        traps_per_block=0,
        gold_per_block=0,
    )
    rater = Rater(studio, "s1", clock)
    rater.walk()
    with studio.store.read() as view:
        given = view.assignments("s1", rater.id)
    shown = [row for row in given if row["kind"] in ("rate", "repeat")]
    repeats = [(place, row) for place, row in enumerate(shown) if row["kind"] == "repeat"]
    assert len({row["item"] for _, row in repeats}) == len(repeats) == 3
    for place, row in repeats:
        first = next(at for at, other in enumerate(shown) if other["item"] == row["item"])
        assert place - first > assignment.REPEAT_AFTER
        assert (shown[first]["flip"], shown[first]["guess"]) == (row["flip"], row["guess"])


def test_items_that_divide_the_raters_come_first_where_that_is_wanted(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=6, order="disagreement", ratings_per_item=9, **PLAIN)
    for emotion in ("sad", "happy"):
        rater, screen = at_task(studio, clock)
        while screen["screen"] == "rate":
            divided = rater.looked_up(screen)["id"] in ("s1-i0002", "s1-i0004")
            rater.submit(
                rater.filled(screen, values=raters.first_values(screen) | {"primary": emotion if divided else "calm"})
            )
            screen = rater.next()
    third = Rater(studio, "s1", clock)
    assert {third.looked_up(screen)["id"] for screen in third.walk()[:2]} == {"s1-i0002", "s1-i0004"}


def in_modes(studio: Studio, families: int) -> list[dict[str, Any]]:
    made = []
    for number in range(families):
        for place, mode in enumerate(("words", "voice", "both")):
            one = raters.item(studio, "words-voice", 3 * number + place, family=f"family-{number}")
            made.append(one | {"content": one["content"] | {"mode": mode}})
    return made


def test_nobody_meets_the_same_words_in_two_modes_and_modes_are_balanced(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "words-voice", in_modes(studio, 5), ratings_per_item=5, **PLAIN)
    people = [Rater(studio, "s1", clock) for _ in range(4)]
    for rater in people:
        assert len(rater.walk()) == 5
    rows = ratings(studio)
    counts = Counter((row["rater"], row["family"]) for row in rows if row["kind"] == "rate")
    assert len(counts) == 20 and set(counts.values()) == {1}
    for number in range(5):
        per_mode = [row["done"] for row in items(studio) if row["family"] == f"family-{number}"]
        assert sum(per_mode) == 4 and max(per_mode) - min(per_mode) <= 1


def test_each_mode_shows_what_it_should(studio: Studio, clock: Clock) -> None:
    raters.study(studio, "words-voice", in_modes(studio, 9), **PLAIN)
    rater = known(studio, clock)
    shapes = {}
    while (screen := rater.until("rate", "survey"))["screen"] == "rate":
        shapes[rater.looked_up(screen)["content"]["mode"]] = (len(screen["texts"]), len(screen["clips"]))
        rater.do(screen)
    assert shapes == {"words": (1, 0), "voice": (0, 1), "both": (1, 1)}
