"""For tests of sessions: short ways to a rater at work, and what was recorded."""

from __future__ import annotations

from typing import Any

import pytest
import raters
from raters import Clock, Rater

from annotation.rating.leases import expire_assignment
from annotation.studio import Studio
from emotion_omni.types import EmotionOmniError

NO_EXTRAS = {"traps_per_block": 0, "gold_per_block": 0, "repeats_per_block": 0}
PLAIN = NO_EXTRAS | {"training_right": 0}


def refused(code: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        call(*arguments)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


def at_task(studio: Studio, clock: Clock, study: str = "s1", **more: Any) -> tuple[Rater, dict[str, Any]]:
    """A rater with the first item of the task in hand."""
    rater = Rater(studio, study, clock, **more)
    return rater, rater.to_task()


def known(studio: Studio, clock: Clock, number: int = 0) -> Rater:
    """A rater under a fixed name, for whom chance always falls the same."""
    return Rater(studio, "s1", clock, raters.new_rater(studio, rater=f"rater-{number}"))


def ratings(studio: Studio, study: str = "s1", **more: Any) -> list[dict[str, Any]]:
    with studio.store.read() as view:
        return view.ratings(study, **more)


def items(studio: Studio, study: str = "s1") -> list[dict[str, Any]]:
    with studio.store.read() as view:
        return view.items(study, "rate")


def lapsed(studio: Studio, clock: Clock, wanted: int, **more: Any) -> tuple[Rater, dict[str, Any]]:
    """A rater whose lease ran out, as others found when they asked."""
    raters.study(studio, ratings_per_item=wanted, **(PLAIN | {"items": 1} | more))
    rater, screen = at_task(studio, clock)
    clock.on(15 * 60 + 1)
    studio.store.write(
        lambda transaction: [expire_assignment(transaction, name) for name in transaction.expired(clock.now)]
    )
    return rater, screen


def recorded(studio: Studio, name: str) -> list[dict[str, Any]]:
    """Events of this name in the log."""
    return [event for event in studio.store.log.read() if event["event"] == name]
