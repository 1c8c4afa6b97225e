"""The studio as one object: its store, sounds, people, raters' sessions, backup and webhooks.

Screens, routes and commands all work on it. Everything is kept under ``EMOTION_OMNI_HOME`` (default
``./studio-data``); ``STUDIO_DATABASE`` names another database.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from annotation.analysis.results import Results
from annotation.people.people import People
from annotation.people.signing_key import pseudonym
from annotation.rating.limits import Limits
from annotation.rating.session import Sessions
from annotation.store.store import Store
from annotation.study import lifecycle
from annotation.study.clips import Clips
from annotation.study.rules import Study
from annotation.sync import restoring
from annotation.sync.mirror import Mirror
from annotation.sync.webhooks import Webhooks
from emotion_omni.home import home_folder
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Studio:
    home: Path
    store: Store
    clips: Clips
    people: People
    sessions: Sessions
    mirror: Mirror | None = None
    webhooks: Webhooks | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def open(cls, home: Path | None = None, url: str | None = None, connected: bool = False) -> Studio:
        """``connected``: restore from the backup, keep it current, and send webhooks, where they are configured."""
        home = home or home_folder()
        mirror = Mirror.from_environment(home) if connected else None
        if connected:
            restoring.tidy(home)
        if mirror:
            log.info("Restored %d events from the backup.", mirror.restore())
        store = Store(home, url or os.environ.get("STUDIO_DATABASE") or None)
        people = People(home, store)
        webhooks = Webhooks.from_environment() if connected else None
        if mirror:
            mirror.start()
        if webhooks:
            webhooks.start()
        return cls(home, store, Clips(home / "audio"), people, Sessions(people.key), mirror, webhooks)

    def close(self) -> None:
        """Send the last webhooks, finish the last writes, push the last backup."""
        if self.webhooks:
            self.webhooks.stop()
        self.store.close()
        if self.mirror:
            self.mirror.stop()

    def results(self, study: str) -> Results:
        with self.store.read() as view:
            return Results.read(view, study, self.people.key)

    # -- withdrawals and deletions

    def withdraw(self, rater: str, study: str | None = None) -> int:
        """Erase what a rater gave in one study, or everything and the rater too → the number of events erased."""
        if study is not None:
            with self.store.read() as view:
                if view.study(study) is None:
                    raise EmotionOmniError("There is no such study. What was in it is erased already.", "not-found")
                if view.enrolment(study, rater) is None:
                    return 0
        self.sessions.forget(rater)
        erased = self.store.withdraw_rater(rater, study)
        if study is None:
            self.people.logins.forget(rater)
        self._clean_up()
        return erased

    def withdraw_voice(self, code: str) -> int:
        """Erase a voice contributed on the Talk tab, by its code, and its ratings → the number of events erased."""
        with self.store.read() as view:
            items = view.contributed(code) if code else []
        if not items:
            raise EmotionOmniError("Nothing is stored under this code. It may have been deleted already.", "not-found")
        erased = self.store.withdraw_contributor(code, [item["id"] for item in items])
        self._clean_up()
        return erased

    def withdraw_by_code(self, code: str) -> int:
        """Erase a rater by the withdrawal code, or a voice by the code of its contribution."""
        rater = self.people.rater_of_code(code)
        return self.withdraw(rater) if rater else self.withdraw_voice(code)

    def delete_study(self, study: str) -> None:
        """Erase a study with all that was given in it, and the guests who rated in no other."""
        for guest in lifecycle.delete(self.store, self.clips, study):
            self.sessions.forget(guest)
            self.people.logins.forget(guest)
        if self.mirror:
            self.mirror.flush()

    def _clean_up(self) -> None:
        """Delete sounds without an item, and bring the backup up to date."""
        lifecycle.delete_unused_clips(self.store, self.clips)
        if self.mirror:
            self.mirror.flush()

    # -- webhooks

    def announce_rating(self, submit: str) -> None:
        """Tell the other server about a new rating, and about the end of the study if it was the last one needed."""
        if self.webhooks is None:
            return
        with self.store.read() as view:
            rating = view.rating(submit)
            study = view.study(rating["study"]) if rating else None
            if rating is None or study is None:  # withdrawn or deleted in the meantime
                return
            counts = view.counts(study["id"])
        name = pseudonym(self.people.key, study["id"], rating["rater"])
        self.webhooks.send("rating.created", rating | {"rater": name, "submit": submit})
        needed = counts["items"] * Study.read(study["settings"]).ratings_per_item
        if rating["kind"] == "rate" and counts["done"] == needed:
            facts = {"study": study["id"], "ratings": needed, "raters": counts["raters"]}
            self.webhooks.send("study.completed", facts)

    def announce_finished(self, study: str, rater: str) -> None:
        """After a rater has finished: tell the other server about a flagged rater, and about many flagged raters."""
        if self.webhooks is None:
            return
        results = self.results(study)
        verdict = results.verdicts.get(rater)
        if verdict and verdict.outcome == "flagged":
            about = {"study": study, "rater": results.pseudonym(rater), "reasons": list(verdict.reasons)}
            self.webhooks.send("rater.flagged", about)
        if message := results.alarm():
            outcomes = [verdict.outcome for verdict in results.verdicts.values()]
            checked = len(outcomes) - outcomes.count("could-not-check")
            facts = {"study": study, "flagged": outcomes.count("flagged"), "checked": checked, "message": message}
            self.webhooks.send("exclusions.jumped", facts)
