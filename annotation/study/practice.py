"""The built-in practice study of each tab, made of our own recordings."""

from __future__ import annotations

from collections.abc import Mapping

from annotation.store.store import Store
from annotation.study import checks
from annotation.study.clips import Clips
from annotation.study.items import Item, make_item
from annotation.study.lifecycle import create
from annotation.study.rules import Study
from annotation.study.templates import Template
from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

PRACTICE = {"emotion": "emotion-recognition", "empathy": "empathy", "compare": "compare"}  # tab: template


def practice_study(store: Store, clips: Clips, tab: str) -> str:
    """The practice study of a tab → its id. Made on the first call; open to all, without a limit of raters."""
    if tab not in PRACTICE:
        raise EmotionOmniError(f"There is no tab {str(tab)[:20]!r}.", "not-found")
    study = f"practice-{tab}"
    with store.read() as view:
        if view.study(study):
            return study
    short = {"block_size": 5, "break_seconds": 0, "training_right": 0}
    rules = Study.read({"title": "Practice", "template": PRACTICE[tab], "ratings_per_item": 1000} | short)
    try:
        return create(store, clips, rules, _practice_items(rules.form, clips), study=study)
    except EmotionOmniError as error:
        if error.code != "taken":  # another request has just made it
            raise
        return study


def _practice_items(template: Template, clips: Clips) -> list[Item]:
    if template.tab == "emotion":
        return [
            make_item({"speech": checks.spoken(name)}, clips, {"speech": checks.LINES[name].text})
            for name in emotion.NAMES
            if name in checks.LINES
        ]
    pairs = [
        {"query": "asks-dog", "a": "kind-dog", "b": "cold-dog"},
        {"query": "asks-exam", "a": "cold-exam", "b": "kind-exam"},
        {"query": "asks-job", "a": "kind-job", "b": "cold-job"},
    ]
    if template.name == "compare":
        return [_practice_item(pair, clips) for pair in pairs]
    return [_practice_item({"query": pair["query"], "reply": pair[side]}, clips) for pair in pairs for side in "ab"]


def _practice_item(lines: Mapping[str, str], clips: Clips) -> Item:
    texts = {role: checks.LINES[name].text for role, name in lines.items()}
    return make_item({role: checks.spoken(name) for role, name in lines.items()}, clips, texts)
