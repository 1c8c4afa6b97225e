"""Who waits for an item of a study that others hold, in the order in which they came. In memory only."""

from __future__ import annotations

from collections.abc import Callable

WAIT_SECONDS = 15  # between two looks of a page that waits
GONE_SECONDS = 4 * WAIT_SECONDS  # without a look, after which nobody is there
MOST_WAITING = 1_000  # in one study; more are not kept in order


class WaitingLine:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._looked: dict[str, dict[str, float]] = {}  # study → rater → their last look, first come first

    def join(self, study: str, rater: str) -> None:
        """A rater waits, or still waits: the place in the line stays."""
        line = self._present(study)
        if rater in line or len(line) < MOST_WAITING:
            line[rater] = self._now()
            self._looked[study] = line

    def leave(self, study: str, rater: str) -> None:
        self._looked.get(study, {}).pop(rater, None)

    def is_behind(self, study: str, rater: str) -> bool:
        """Whether somebody else has been waiting for longer."""
        first = next(iter(self._present(study)), rater)
        return first != rater

    def _present(self, study: str) -> dict[str, float]:
        """The line without those who have gone."""
        line = self._looked.get(study, {})
        here = {rater: last for rater, last in line.items() if self._now() - last < GONE_SECONDS}
        if here:
            self._looked[study] = here
        else:
            self._looked.pop(study, None)
        return here
