"""The engines of this page: each is loaded once, on first use, and shared by all visitors."""

from __future__ import annotations

import threading
from collections.abc import Callable

from emotion_omni import engine
from emotion_omni.types import EmotionOmniError


class EnginePool:
    """Engines by name; one whose name was promoted to another version is loaded anew for the next turn.

    Only the engines that the menu offers can be loaded, and ``also``: a name may contain a folder or a hub id, and
    visitors must choose neither.
    """

    def __init__(self, load: Callable[[str], engine.Engine] = engine.load, also: str = "") -> None:
        self._load, self._also = load, also
        self._locks: dict[str, threading.Lock] = {}  # one per engine: a long download does not block the others
        self._ready: dict[str, tuple[str, engine.Engine]] = {}  # with its version

    def get(self, name: str) -> engine.Engine:
        """Raises :class:`EmotionOmniError` (``unknown-engine``) for an engine that is not offered."""
        self.check(name)
        with self._locks.setdefault(name, threading.Lock()):
            version = engine.version(name)
            if name not in self._ready or self._ready[name][0] != version:
                self._ready[name] = version, self._load(name)
            return self._ready[name][1]

    def check(self, name: str) -> None:
        """Raises :class:`EmotionOmniError` (``unknown-engine``) for an engine that is not offered."""
        if name != self._also and name not in self._ready and name not in engine.offered():
            raise EmotionOmniError(
                f"The engine {name!r} is not offered here. Choose one of: {', '.join(engine.offered())}.",
                "unknown-engine",
            )

    def is_ready(self, name: str) -> bool:
        return name in self._ready and self._ready[name][0] == engine.version(name)


def menu(default_engine: str) -> list[str]:
    """The engines to choose from; the default comes first."""
    return list(dict.fromkeys([default_engine, *engine.offered()]))
