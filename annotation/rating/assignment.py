"""Who rates what next: the shape of a block, the choice among items, the side of an answer.

A block holds its share of ordinary items and, at random places that are neither first nor last, traps, gold
items and hidden repeats. An ordinary item goes to k different raters (``ratings_per_item`` of the study's
rules): those with the fewest claims come first. Everything random is drawn from a generator seeded by study,
rater and place, so a restart changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from annotation.rating.catalog import Catalogs
from annotation.rating.enrolment import Enrolment, known_item
from annotation.rating.guest_share import GuestShare
from annotation.rating.leases import HandedItem, Leases
from annotation.rating.waiting_line import WaitingLine
from annotation.store.tables import Row
from annotation.study.rules import Study

REPEAT_AFTER = 2  # ordinary items between a clip and its hidden repeat, at least, where the block is long enough
GUESS_SCALE = "guess_right"  # asks about the model's guess: only where it is asked is a guess shown


class Assigner:
    """Chooses a rater's next item and hands it out under a lease."""

    def __init__(self, catalogs: Catalogs, leases: Leases, line: WaitingLine) -> None:
        self._catalogs, self._leases, self._line = catalogs, leases, line
        self._guests = GuestShare()

    def assign(self, enrolment: Enrolment, kind: str) -> HandedItem | None:
        """An item of this kind for the task. None: an ordinary one is not free, or a repeat has been passed over."""
        generator = seeded(enrolment.study_id, enrolment.rater, enrolment.block, enrolment.slot, kind)
        self._leases.expire(enrolment.transaction)
        match kind:
            case "rate":
                return self._ordinary(enrolment, generator)
            case "repeat":
                return self._repeat(enrolment, generator)
        return self._hidden_check(enrolment, kind, generator)

    def assign_check(self, enrolment: Enrolment, kind: str) -> HandedItem:
        """The next item of the sound check or the training, in their fixed order."""
        checks = self._catalogs.get(enrolment.transaction, enrolment.study_id).checks[kind]
        return self._leases.hand_out(enrolment, kind, checks[enrolment.slot % len(checks)])

    def items_left(self, enrolment: Enrolment) -> bool:
        """Whether the rater could be given another ordinary item now."""
        self._leases.expire(enrolment.transaction)
        return bool(self._free_items(enrolment, limit=1))

    def must_wait(self, enrolment: Enrolment) -> bool:
        """Whether a rater for whom nothing is free should wait, because something will be, and is still needed."""
        if enrolment.has_enough:
            return False
        rules, study, rater = enrolment.rules, enrolment.study_id, enrolment.rater
        if self._is_share_used_up(enrolment) and self._candidates(enrolment, 1):
            return True  # until another guest from the same place is done
        has_least = enrolment.transaction.count_ratings(study, rater) >= rules.least_per_rater
        if has_least or not enrolment.transaction.is_unfinished(study, rater, rules.ratings_per_item):
            return False
        self._line.join(study, rater)
        return True

    def _ordinary(self, enrolment: Enrolment, generator: random.Random) -> HandedItem | None:
        rules = enrolment.rules
        found = self._free_items(enrolment)
        if not found:
            return None
        item = choose_item(found, generator, rules.order == "disagreement")
        flip = choose_flip(item, generator) if "a" in item["content"].get("clips", {}) else 1
        guess = _asks_about_guess(rules) and "guess" in item["content"] and not hides_guess(rules, generator)
        handed = self._leases.hand_out(enrolment, "rate", item, flip, int(guess))
        self._line.leave(enrolment.study_id, enrolment.rater)
        self._guests.add(enrolment, handed.assignment["id"])
        return handed

    def _free_items(self, enrolment: Enrolment, limit: int = 24) -> list[Row]:
        """Items that the rater may have now."""
        if enrolment.has_enough or self._is_share_used_up(enrolment):
            return []
        return self._candidates(enrolment, limit)

    def _candidates(self, enrolment: Enrolment, limit: int) -> list[Row]:
        """Who let the lease of an item run out gets it again only where nobody has been waiting for longer."""
        rules, study, rater = enrolment.rules, enrolment.study_id, enrolment.rater
        by_disagreement = rules.order == "disagreement"
        again = not self._line.is_behind(study, rater)
        return enrolment.transaction.candidates(study, rater, rules.ratings_per_item, by_disagreement, limit, again)

    def _is_share_used_up(self, enrolment: Enrolment) -> bool:
        catalog = self._catalogs.get(enrolment.transaction, enrolment.study_id)
        return self._guests.is_used_up(enrolment, catalog.items * enrolment.rules.ratings_per_item - catalog.done)

    def _repeat(self, enrolment: Enrolment, generator: random.Random) -> HandedItem | None:
        transaction = enrolment.transaction
        history = transaction.assignments(enrolment.study_id, enrolment.rater)
        candidates = repeat_candidates(history, enrolment.block)
        if not candidates:
            enrolment.move(slot=enrolment.slot + 1)
            return None
        first = generator.choice(candidates)
        item = known_item(transaction, first["item"])
        return self._leases.hand_out(enrolment, "repeat", item, first["flip"], first["guess"])

    def _hidden_check(self, enrolment: Enrolment, kind: str, generator: random.Random) -> HandedItem:
        """A trap or a gold item. It comes with a guess where ordinary items do, or its absence would tell."""
        history = enrolment.transaction.assignments(enrolment.study_id, enrolment.rater)
        seen = [row["item"] for row in history if row["kind"] == kind]
        catalog = self._catalogs.get(enrolment.transaction, enrolment.study_id)
        item = least_seen(catalog.checks[kind], seen, generator)
        rules = enrolment.rules
        guess = _asks_about_guess(rules) and bool(catalog.guesses) and not hides_guess(rules, generator)
        return self._leases.hand_out(enrolment, kind, item, guess=int(guess))


# --- policy -----------------------------------------------------------------------------------------------------


def seeded(*key: Any) -> random.Random:
    return random.Random("\x1f".join(map(str, key)))


def block_plan(rules: Study, generator: random.Random, has: Mapping[str, bool]) -> list[str]:
    """The kinds of a block in order. ``has``: whether the study holds a trap, and a gold item."""
    ordinary = rules.block_size
    if ordinary < 2:
        return ["rate"] * ordinary
    checks = ["trap"] * (rules.traps_per_block * has["trap"]) + ["gold"] * (rules.gold_per_block * has["gold"])
    extras = [(generator.randint(1, ordinary - 1), kind) for kind in checks]
    extras += [(gap, "repeat") for gap in _repeat_gaps(rules.repeats_per_block, ordinary - 1, generator)]
    generator.shuffle(extras)
    plan: list[str] = []
    for index in range(ordinary):
        plan += [kind for gap, kind in extras if gap == index] + ["rate"]
    return plan


def _repeat_gaps(number: int, last: int, generator: random.Random) -> list[int]:
    """Before which ordinary items the repeats stand. Each needs one more item before it than the one before."""
    first = min(REPEAT_AFTER + 1, last)
    gaps = sorted(generator.randint(first, last) for _ in range(number))
    return [max(gap, min(first + place, last)) for place, gap in enumerate(gaps)]


def choose_item(
    candidates: Sequence[Mapping[str, Any]], generator: random.Random, by_disagreement: bool
) -> Mapping[str, Any]:
    """One of those with the fewest claims. Candidates come sorted; among equals chance decides, so orders differ."""
    if by_disagreement:
        return candidates[0]
    fewest = candidates[0]["claimed"]
    return generator.choice([item for item in candidates if item["claimed"] == fewest])


def choose_flip(item: Mapping[str, Any], generator: random.Random) -> int:
    """+1: answers shown as stored, -1: sides changed. ``flipped`` sums those given out: they differ by at most 1."""
    if item["flipped"]:
        return -1 if item["flipped"] > 0 else 1
    return generator.choice((1, -1))


def least_seen(items: Sequence[Mapping[str, Any]], seen: Sequence[str], generator: random.Random) -> Mapping[str, Any]:
    """A trap or gold item that this rater has met least."""
    fewest = min(seen.count(item["id"]) for item in items)
    return generator.choice([item for item in items if seen.count(item["id"]) == fewest])


def repeat_candidates(history: Sequence[Mapping[str, Any]], block: int) -> list[Mapping[str, Any]]:
    """Ordinary items of this block that were answered and not repeated yet, without the latest few."""
    repeated = {row["item"] for row in history if row["kind"] == "repeat"}
    rated = [row for row in history if row["kind"] == "rate" and row["state"] == "done" and row["block"] == block]
    older = rated[:-REPEAT_AFTER] or rated[:1]
    return [row for row in older if row["item"] not in repeated]


def hides_guess(rules: Study, generator: random.Random) -> bool:
    return generator.random() < rules.guess_hidden_share


def _asks_about_guess(rules: Study) -> bool:
    return GUESS_SCALE in rules.form.scales
