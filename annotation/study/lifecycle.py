"""A study's life in the store: create it, add items, open, pause or close it, delete it with its clips."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from annotation.people.signing_key import require_lasting_key
from annotation.store.store import Store
from annotation.store.transaction import Transaction
from annotation.study import checks
from annotation.study.clips import Clips
from annotation.study.items import Item, new_row
from annotation.study.lock_tags import PRACTICE, is_locking, lock, lock_study, tags_to_lock
from annotation.study.rules import STATES, Study
from emotion_omni import json_lines
from emotion_omni.types import EmotionOmniError


def create(
    store: Store, clips: Clips, rules: Study, items: Sequence[Item], by: str | None = None, study: str = ""
) -> str:
    """A new study with its items and the checks of its template → its id."""
    study = study or "s" + uuid.uuid4().hex[:12]
    if not study.startswith((PRACTICE, "live-turns")):  # what the studio makes by itself keeps no rater's name
        require_lasting_key()
    if fault := json_lines.fault_in(rules.settings()):
        raise EmotionOmniError(f"The settings of the study cannot be stored: {fault}", "bad-setting")
    with_checks = [*items, *checks.items(rules.form, clips, items)]
    rows = [new_row(item) for item in with_checks]
    tags = tags_to_lock(store, clips, rows) if is_locking(study, rules.settings()) else set()

    def add(transaction: Transaction) -> str:
        if transaction.study(study):
            raise EmotionOmniError(f"There is a study {study!r} already.", "taken")
        transaction.record("study.created", study=study, settings=rules.settings(), state="open", by=by)
        lock(transaction, tags)
        transaction.record("items.added", study=study, items=rows)
        return study

    return store.write(add)


def add_items(store: Store, study: str, items: Sequence[Item]) -> int:
    """More items for a study → their number. A contributor's item is an event of its own: it can be erased alone."""
    rows = [new_row(item) for item in items]
    tags = tags_to_lock(store, Clips(store.home / "audio"), rows)

    def add(transaction: Transaction) -> int:
        found = transaction.study(study)
        if found is None:
            raise EmotionOmniError("There is no such study.", "not-found")
        if is_locking(study, found["settings"]):
            lock(transaction, tags)
        shared = [row for row in rows if not row["contributor"]]
        for group in [shared, *([row] for row in rows if row["contributor"])]:
            if group:
                transaction.record("items.added", study=study, items=group)
        return len(rows)

    return store.write(add)


def set_state(store: Store, study: str, state: str) -> None:
    if state not in STATES:
        raise EmotionOmniError(f"{state!r} is not a state. Choose one of {', '.join(STATES)}.", "bad-setting")
    if state == "open" and not study.startswith(PRACTICE):
        require_lasting_key()
    store.write(lambda transaction: transaction.record("study.changed", study=study, state=state))


def delete(store: Store, clips: Clips, study: str) -> list[str]:
    """Erase the study, its items, ratings and sounds, and the guests who rated in no other → those guests.

    The tags that lock items of an evaluation study out of training stay.
    """
    lock_study(store, clips, study)
    guests = store.delete_study(study)
    delete_unused_clips(store, clips)
    return guests


def delete_unused_clips(store: Store, clips: Clips) -> int:
    """Delete the sounds that no item has had for a day, such as those of a study whose making was cut short."""
    with store.read() as view:
        return clips.keep_only(view.clips_in_use())
