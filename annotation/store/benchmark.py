"""Ratings of an older study, to measure how the size of a store slows it. They bypass the log: benchmarks only."""

from __future__ import annotations

import time
from typing import Any

from annotation.store.store import Store
from annotation.store.tables import assignments, items, ratings

CHUNK = 20_000  # ratings inserted at once


def fill(store: Store, count: int, raters_each: int = 5) -> None:
    """Insert ``count`` ratings, ``raters_each`` an item, of a study "earlier"."""
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        ids = range(first // raters_each, -(-numbers.stop // raters_each))
        insert_rows(
            store,
            [_item(number, raters_each) for number in ids],
            [_assignment(number, raters_each) for number in numbers],
            [_rating(number, raters_each) for number in numbers],
        )


def insert_rows(
    store: Store,
    new_items: list[dict[str, Any]],
    new_assignments: list[dict[str, Any]],
    new_ratings: list[dict[str, Any]],
) -> None:
    with store.writer.engine.begin() as connection:
        connection.execute(items.insert(), new_items)
        connection.execute(assignments.insert(), new_assignments)
        connection.execute(ratings.insert(), new_ratings)


def _item(number: int, raters_each: int) -> dict[str, Any]:
    counters = {"claimed": raters_each, "done": raters_each, "flipped": 0, "disagreement": 0.0}
    named = {"id": f"e{number}", "family": f"e{number}", "study": "earlier", "role": "rate"}
    return named | counters | {"content": {"clips": {}}, "shuffle": 0.5}


def _shared(number: int, raters_each: int) -> dict[str, Any]:
    return {"study": "earlier", "item": f"e{number // raters_each}", "rater": f"er{number % 997}", "kind": "rate"}


def _assignment(number: int, raters_each: int) -> dict[str, Any]:
    now = time.time()
    given = {"block": 0, "slot": 0, "flip": 1, "guess": 0, "state": "done", "leased_until": now, "created": now}
    return _shared(number, raters_each) | given | {"id": f"ea{number}", "family": f"e{number // raters_each}"}


def _rating(number: int, raters_each: int) -> dict[str, Any]:
    answers = {"primary": "sad", "intensity": 3}
    given = {"answers": answers, "heard": {"0": 1.0}, "seconds": 3.0, "at": time.time()}
    return _shared(number, raters_each) | given | {"id": f"es{number}", "assignment": f"ea{number}"}
