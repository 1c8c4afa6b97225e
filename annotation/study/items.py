"""Items of a study: equalized clips, texts, and the content that a rater never sees.

What a rater must not know (which engine spoke, what a model heard, the expected answer) stays in the item's
content on the server.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from annotation.study.clips import Clips
from annotation.study.rules import Study
from emotion_omni.types import Audio

Item = dict[str, Any]


def make_item(sounds: Mapping[str, Audio], clips: Clips, texts: Mapping[str, str] | None = None, **more: Any) -> Item:
    """One item. ``sounds`` and ``texts`` by role.

    ``more``: family (no rater gets two items of one), expected (makes it a gold item), contributor, guess, systems,
    provenance as ``about``, and ``source``: files, hashes of their bytes and the row of the researcher's table.
    """
    content = {"clips": {role: clips.add(sound) for role, sound in sounds.items()}, "texts": dict(texts or {})}
    content |= {name: more[name] for name in ("guess", "systems", "about", "planned", "source") if more.get(name)}
    item = {name: more.get(name) for name in ("family", "expected", "contributor")}
    return item | {"role": "gold" if more.get("expected") else "rate", "content": content}


def presented(item: Item, sounds: Mapping[str, Audio], clips: Clips, rules: Study) -> list[Item]:
    """The item in each mode of the study; of one family, so that no rater gets two of them."""
    if rules.template == "words-voice":
        return in_modes(item, sounds["speech"], clips)
    if not rules.modes:
        return [item]
    family = item["family"] or uuid.uuid4().hex
    return [item | {"family": family, "content": item["content"] | {"mode": mode}} for mode in rules.modes]


def in_modes(item: Item, sound: Audio, clips: Clips) -> list[Item]:
    """An item of *words vs voice* in its modes: transcript only, voice with its words masked, both.

    They are one family, so that no rater gets two of them.
    """
    family = item["family"] or uuid.uuid4().hex
    speech = item["content"]["clips"]["speech"]
    clip_of = {"words": speech, "voice": clips.add_masked(sound), "both": speech}
    return [
        item | {"family": family, "content": item["content"] | {"mode": mode, "clips": {"speech": clip}}}
        for mode, clip in clip_of.items()
    ]


def new_row(item: Item) -> Item:
    """The item as the store holds it: with an id, and a family of its own where it has none."""
    name = "i" + uuid.uuid4().hex[:16]
    return item | {
        "id": name,
        "family": item.get("family") or name,
        "expected": item.get("expected"),
        "contributor": item.get("contributor"),
    }
