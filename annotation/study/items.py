"""Items of a study: equalized clips, texts, and the content that a rater never sees.

What a rater must not know (which engine spoke, what a model heard, the expected answer) stays in the item's
content on the server.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from annotation.study.clips import Clips
from emotion_omni.types import Audio

Item = dict[str, Any]


def make_item(sounds: Mapping[str, Audio], clips: Clips, texts: Mapping[str, str] | None = None, **more: Any) -> Item:
    """One item. ``more``: family, expected (makes it gold), contributor, guess, systems, and provenance as ``about``."""
    content = {"clips": {role: clips.add(sound) for role, sound in sounds.items()}, "texts": dict(texts or {})}
    content |= {name: more[name] for name in ("guess", "systems", "about", "planned") if more.get(name)}
    made = {name: more.get(name) for name in ("family", "expected", "contributor")}
    return made | {"role": "gold" if more.get("expected") else "rate", "content": content}


def in_modes(made: Item, sound: Audio, clips: Clips) -> list[Item]:
    """An item of *words vs voice* three times: transcript only, voice with its words masked, both. One family: no rater gets two."""
    family = made["family"] or uuid.uuid4().hex
    found = []
    for mode in ("words", "voice", "both"):
        clip = clips.add_masked(sound) if mode == "voice" else made["content"]["clips"]["speech"]
        content = made["content"] | {"mode": mode, "clips": {"speech": clip}}
        found.append(made | {"family": family, "content": content})
    return found


def new_row(made: Item) -> Item:
    name = "i" + uuid.uuid4().hex[:16]
    return made | {
        "id": name,
        "family": made.get("family") or name,
        "expected": made.get("expected"),
        "contributor": made.get("contributor"),
    }
