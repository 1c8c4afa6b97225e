"""The name of an engine that is a cascade → its public name and its settings. Imports no torch."""

from __future__ import annotations

from emotion_omni.cascade import old_hub, presets
from emotion_omni.cascade.config import CascadeConfig

KINDS = ("embedded", "embedded-small", "hub", "cascade", "llm")


def resolve(kind: str, source: str) -> tuple[str, CascadeConfig]:
    """``kind`` and ``source`` are those of an :class:`~emotion_omni.engine.EngineName`.

    Raises :class:`EmotionOmniError` (codes ``config``, ``checkpoint``).
    """
    if kind == "cascade":
        return presets.find(source)
    if kind == "embedded" and source:
        return presets.embedded_with(source)
    if kind == "llm":
        return presets.llm(source)
    if kind == "hub" and not source:
        return "hub", old_hub.find()
    name = f"{kind}:{source}" if source else kind
    return name, presets.preset(name)
