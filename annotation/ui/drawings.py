"""Keeps what the Results tab shows, so that each state of a study is drawn once, whoever asks."""

from __future__ import annotations

import threading

from annotation.studio import Studio
from annotation.ui.drawing import Drawn, draw
from annotation.ui.drawing_process import DrawingProcess

KEPT_DRAWINGS = 8  # of about 1 MB each
LARGE = 1_000  # ratings; fewer are drawn in a fraction of a second, sooner than a process starts


class Drawings:
    """What was drawn, by study, number of the last event and whether flagged raters are left out.

    Large studies are drawn in a process of their own. Only the latest drawings are kept.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.process = DrawingProcess(studio.store.url, studio.people.key)
        self._kept: dict[tuple[str, int, bool], Drawn] = {}
        self._one_at_a_time = threading.Lock()

    def prepare(self) -> None:
        """Start the process ahead of its first request, where a study is large."""
        with self.studio.store.read() as view:
            large = any(view.has_ratings(row["id"], LARGE) for row in view.studies())
        if large and self._one_at_a_time.acquire(blocking=False):  # else it is at work
            try:
                self.process.start()
            finally:
                self._one_at_a_time.release()

    def get(self, study: str, kept_only: bool) -> Drawn:
        """Raises :class:`EmotionOmniError` (codes ``not-found``, ``drawing``)."""
        with self._one_at_a_time:
            with self.studio.store.read() as view:
                kept = self._kept.get((study, view.applied(), kept_only))
                if kept:
                    return kept
                large = view.has_ratings(study, LARGE)
                drawn = None if large else draw(view, study, kept_only, self.studio.people.key)
            drawn = drawn or self.process.draw(study, kept_only)
            latest = list(self._kept.items())[1 - KEPT_DRAWINGS :]
            self._kept = dict([*latest, ((study, drawn.sequence, kept_only), drawn)])
            return drawn
