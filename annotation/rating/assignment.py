"""Who rates what next: the shape of a block, the choice among items, the side of an answer. Policy only.

A block holds its share of ordinary items and, at random places that are neither first nor last, traps,
gold items and hidden repeats. Everything random here is drawn from a generator seeded by study, rater and
place, so a restart changes nothing. What is chosen is claimed by ``store.py`` in one transaction.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from annotation.study.rules import Study

REPEAT_AFTER = 2  # ordinary items between a clip and its hidden repeat, at least, where the block is long enough


def generator(*place: Any) -> random.Random:
    return random.Random("\x1f".join(map(str, place)))


def block_plan(rules: Study, draw: random.Random, has: Mapping[str, bool]) -> list[str]:
    """The kinds of a block in order. ``has``: whether the study holds a trap, and a gold item."""
    ordinary = rules.block_size
    if ordinary < 2:
        return ["rate"] * ordinary
    checks = ["trap"] * (rules.traps_per_block * has["trap"]) + ["gold"] * (rules.gold_per_block * has["gold"])
    extras = [(draw.randint(1, ordinary - 1), kind) for kind in checks]
    extras += [(gap, "repeat") for gap in _repeat_gaps(rules.repeats_per_block, ordinary - 1, draw)]
    draw.shuffle(extras)
    plan: list[str] = []
    for index in range(ordinary):
        plan += [kind for gap, kind in extras if gap == index] + ["rate"]
    return plan


def _repeat_gaps(number: int, last: int, draw: random.Random) -> list[int]:
    """Before which ordinary items the repeats stand. Each needs one more item behind it than the one before."""
    first = min(REPEAT_AFTER + 1, last)
    gaps = sorted(draw.randint(first, last) for _ in range(number))
    return [max(gap, min(first + place, last)) for place, gap in enumerate(gaps)]


def choose(candidates: Sequence[Mapping[str, Any]], draw: random.Random, by_disagreement: bool) -> Mapping[str, Any]:
    """One of the neediest. Candidates come sorted; among equals chance decides, so that no two raters walk the same order."""
    if by_disagreement:
        return candidates[0]
    fewest = candidates[0]["claimed"]
    return draw.choice([item for item in candidates if item["claimed"] == fewest])


def flip(item: Mapping[str, Any], draw: random.Random) -> int:
    """+1: answers shown as stored, -1: sides changed. ``flipped`` sums those given out, so both sides stay equal to one."""
    if item["flipped"]:
        return -1 if item["flipped"] > 0 else 1
    return draw.choice((1, -1))


def unused(items: Sequence[Mapping[str, Any]], seen: Sequence[str], draw: random.Random) -> Mapping[str, Any]:
    """A trap or gold item this rater has met least."""
    fewest = min(seen.count(item["id"]) for item in items)
    return draw.choice([item for item in items if seen.count(item["id"]) == fewest])


def repeatable(history: Sequence[Mapping[str, Any]], block: int) -> list[Mapping[str, Any]]:
    """Ordinary items of this block that were answered and not repeated yet, leaving out the latest few."""
    repeated = {row["item"] for row in history if row["kind"] == "repeat"}
    rated = [row for row in history if row["kind"] == "rate" and row["state"] == "done" and row["block"] == block]
    older = rated[:-REPEAT_AFTER] or rated[:1]
    return [row for row in older if row["item"] not in repeated]


def hides_guess(rules: Study, draw: random.Random) -> bool:
    return draw.random() < rules.guess_hidden_share
