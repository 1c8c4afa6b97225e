"""Turns of the Talk tab that their speakers give to research."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress

from annotation.store.store import Store
from annotation.study.clips import Clips
from annotation.study.lifecycle import add_items, create, set_state
from annotation.study.producing import Answer, items_of
from annotation.study.rules import Study
from emotion_omni.types import Audio, EmotionOmniError

LIVE = "live-turns"  # id of the study that holds turns given to no study in particular


def save_turn(
    store: Store, clips: Clips, query: Audio, answer: Answer, corrections: Mapping[str, str], study: str = ""
) -> str:
    """A turn that its speaker gives to research → the code with which the speaker can take it back.

    Without a ``study`` it goes to "Live turns", which stays paused until a researcher opens it.
    """
    if answer.speech is None:
        raise EmotionOmniError("This turn has no spoken reply yet. Wait until it is finished.", "missing")
    code = uuid.uuid4().hex
    with store.read() as view:
        row = view.study(study or LIVE)
    if row is None and study:
        raise EmotionOmniError("There is no such study.", "not-found")
    rules = Study.read(row["settings"]) if row else Study.read({"title": "Live turns", "template": "empathy"})
    items = items_of("live turn", query, [answer], rules, clips)
    if not items:
        raise EmotionOmniError(
            f"“{rules.title}” compares two answers; a single turn cannot be added to it.", "bad-template"
        )
    for item in items:
        item["contributor"] = code
        item["content"]["about"] = item["content"]["about"] | {"corrections": dict(corrections)}
    if row is None:
        with suppress(EmotionOmniError):  # two turns at once: the second finds the study made
            create(store, clips, rules, [], study=LIVE)
            set_state(store, LIVE, "paused")
    add_items(store, study or LIVE, items)
    return code
