"""Single values of a row: from an item's content, and in the form in which they are written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from annotation.store.tables import Row
from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

Content = Mapping[str, Any]


def rounded(value: Any) -> float | None:
    """To six places, so that the last bit of a library's logarithm changes no byte. ``None`` if not a finite number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(float(value), 6)


def text_or_none(value: Any) -> str | None:
    """A text, or ``None`` where pandas has put NaN."""
    return value if isinstance(value, str) else None


def iso_time(seconds: float) -> str:
    """Unix time → UTC in ISO 8601, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def about_json(content: Content) -> str:
    """Provenance as JSON text: its keys differ between items, which table columns cannot."""
    return json.dumps(content.get("about") or {}, ensure_ascii=False, sort_keys=True)


def audio_sha256(content: Content, role: str | None) -> str | None:
    clip = content.get("clips", {}).get(role)
    return clip["sha"] if clip else None


def audio_path(content: Content, role: str | None) -> str | None:
    """The file of the role's sound in the export."""
    sha = audio_sha256(content, role)
    return f"audio/{sha}.flac" if sha else None


def source_file(content: Content, role: str) -> Row:
    """The researcher's own file of a role: its name, and the SHA-256 of its bytes."""
    source = content.get("source") or {}
    return {name: (source.get(name) or {}).get(role) for name in ("file", "sha256")}


def source_value(content: Content, name: str) -> str | None:
    """A value of the researcher's own table, as text: its columns may hold anything."""
    value = ((content.get("source") or {}).get("row") or {}).get(name)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def generated_by(content: Content, role: str | None) -> Row:
    """System, seed and timings of one answer; all ``None`` for a text that a rater wrote (role ``None``)."""
    if role is None:
        return {"system": None, "seed": None, "timings": None}
    part = _about_role(content, role)
    seed, timings = str(part.get("seed", "")), part.get("timings")
    return {
        "system": content.get("systems", {}).get(role),
        "seed": int(seed) if re.fullmatch(r"-?\d{1,18}", seed) else None,
        "timings": json.dumps(timings, sort_keys=True) if timings else None,
    }


def planned_emotion(content: Content, role: str) -> str | None:
    """The emotion an answer was planned to be spoken with, where the engine said so."""
    return _emotion_name(_about_role(content, role).get("planned") or content.get("planned"))


def query_emotion(content: Content) -> tuple[str | None, str | None]:
    """The emotion of the query and its source: "stated" with the recording, or "heard" by a model; not by raters."""
    about = content.get("about") or {}
    if stated := _emotion_name(about.get("emotion")):
        return stated, "stated"
    guess = (content.get("guess") or {}).get("label") or _most_probable(content)
    label = _emotion_name(guess)
    return label, "heard" if label else None


def situation(content: Content) -> Row:
    """What an answer answers, as the responder is told it: words, tone, kind of news and earlier turns.

    The tone is what the engine answered to, where it says so ("sad or calm" where it was unsure); the stated emotion
    goes before it. ``event`` is empty where the item does not have it.
    """
    about = content.get("about") or {}
    parts = (about, _about_role(content, "a"), _about_role(content, "b"))
    tone, source = query_emotion(content)
    told = next((part["tone"] for part in parts if part.get("tone")), None)
    if source != "stated" and _is_tone(told):
        tone, source = told, "heard"
    event = next((part["event"] for part in parts if part.get("event") in emotion.NEWS), None)
    history = next((part["history"] for part in parts if part.get("history")), None) or []
    return {
        "transcript": " ".join(str(content.get("texts", {}).get("query", "")).split()),
        "emotion": tone,
        "stated_or_heard": source,
        "event": event,
        "history": [{"role": one["role"], "text": one["text"], "emotion": one.get("emotion")} for one in history],
    }


def _is_tone(value: Any) -> bool:
    return isinstance(value, str) and all(emotion.is_known(name) for name in value.split(" or "))


def delivery(content: Content, role: str | None) -> str | None:
    """How an answer was to be spoken (emotion, voice, intensity, rate) as JSON text, where the engine said so."""
    if role is None:
        return None
    given = _about_role(content, role).get("delivery")
    if not isinstance(given, Mapping):
        return None
    return json.dumps(dict(given) | {"emotion": planned_emotion(content, role)}, sort_keys=True)


def _most_probable(content: Content) -> str | None:
    """The label that the first answering engine heard with the highest probability."""
    parts = (content.get("about") or {}, _about_role(content, "a"), _about_role(content, "b"))
    heard = [part["heard"] for part in parts if isinstance(part.get("heard"), Mapping)]
    return max(heard[0], key=heard[0].__getitem__) if heard and heard[0] else None


def _about_role(content: Content, role: str) -> Content:
    """Provenance of one answer: in a comparison each of the two has its own."""
    about = content.get("about") or {}
    part = about.get(role, {}) if role in ("a", "b") else about
    return part if isinstance(part, Mapping) else {}


def _emotion_name(name: Any) -> str | None:
    try:
        return emotion.find(name).name
    except EmotionOmniError:
        return None
