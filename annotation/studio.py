"""The studio as one object: its store, sounds, people, raters' sessions, backup and messages.

Screens, routes and commands all work on this. Everything is kept under ``EMOTION_OMNI_HOME`` (default
``./studio-data``); ``STUDIO_DATABASE`` names another database.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotation.analysis.results import Results
from annotation.people.identity import Identity, pseudonym
from annotation.rating.session import Sessions
from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.study import lifecycle
from annotation.study.clips import Clips
from annotation.study.rules import Study
from annotation.sync import hub, webhooks
from annotation.sync.hub import Mirror
from annotation.sync.webhooks import Webhooks
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Studio:
    home: Path
    store: Store
    clips: Clips
    identity: Identity
    sessions: Sessions
    mirror: Mirror | None = None
    webhooks: Webhooks | None = None

    @classmethod
    def open(cls, home: Path | None = None, url: str | None = None, connected: bool = False) -> Studio:
        """``connected``: restore from the backup first and keep it current, and send webhooks, where they are set up."""
        home = home or Path(os.environ.get("EMOTION_OMNI_HOME", "studio-data"))
        mirror = hub.from_environment(home) if connected else None
        if mirror:
            log.info("Restored %d events from the backup.", mirror.restore())
        store = Store(home, url or os.environ.get("STUDIO_DATABASE") or None)
        identity = Identity(home, store)
        sender = webhooks.from_environment() if connected else None
        for service in (mirror, sender):
            if service:
                service.start()
        return cls(home, store, Clips(home / "audio"), identity, Sessions(identity.secret), mirror, sender)

    def close(self) -> None:
        """Finish what is under way: the last messages, the last backup."""
        if self.webhooks:
            self.webhooks.stop()
        self.store.close()
        if self.mirror:
            self.mirror.stop()

    def results(self, study: str) -> Results:
        with self.store.read() as view:
            return Results.read(view, study, self.identity.secret)

    # -- taking back

    def withdraw(self, rater: str, study: str | None = None) -> int:
        """Erase what a rater gave in one study, or all and the rater too → the number of events erased."""
        self.sessions.forget(rater)
        erased = self.store.withdraw_rater(rater, study)
        self._clean_up([])
        return erased

    def take_back(self, code: str) -> int:
        """Erase a voice that was given on the Talk tab, by its code, and all that was said of it."""
        with self.store.read() as view:
            found = view.contributed(code) if code else []
        if not found:
            raise EmotionOmniError("Nothing is stored under this code. It may have been deleted already.", "not-found")
        erased = self.store.withdraw_contributor(code, [item["id"] for item in found])
        self._clean_up(found)
        return erased

    def _clean_up(self, gone: Sequence[Row]) -> None:
        """Delete the sounds of erased items, and bring the backup up to date."""
        lifecycle.delete_unused_clips(self.store, self.clips, gone)
        if self.mirror:
            self.mirror.flush()

    # -- telling others

    def announce_rating(self, submit: str) -> None:
        """A rating was stored; perhaps it was the study's last."""
        if self.webhooks is None:
            return
        with self.store.read() as view:
            row = view.rating(submit)
            if row is None:  # withdrawn already
                return
            study, counts = view.study(row["study"]), view.counts(row["study"])
        row["rater"] = pseudonym(self.identity.secret, row["study"], row["rater"])
        self.webhooks.send("rating.created", row | {"submit": submit})
        wanted = counts["items"] * Study.read(study["settings"]).ratings_per_item
        if row["kind"] == "rate" and counts["done"] == wanted:
            self.webhooks.send(
                "study.completed", {"study": row["study"], "ratings": wanted, "raters": counts["raters"]}
            )

    def announce_finished(self, study: str, rater: str) -> None:
        """A rater has finished; perhaps with a verdict that somebody should see."""
        if self.webhooks is None:
            return
        found = self.results(study)
        verdict = found.verdicts.get(rater)
        if verdict and verdict.outcome == "flagged":
            self.webhooks.send(
                "rater.flagged", {"study": study, "rater": found.pseudonym(rater), "reasons": list(verdict.reasons)}
            )
        if message := found.alarm():
            outcomes = [one.outcome for one in found.verdicts.values()]
            checked = len(outcomes) - outcomes.count("could-not-check")
            told = {"study": study, "flagged": outcomes.count("flagged"), "checked": checked, "message": message}
            self.webhooks.send("exclusions.jumped", told)
