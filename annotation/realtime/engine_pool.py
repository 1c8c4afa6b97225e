"""The engines of this page: each is loaded once, on first use, and shared by all visitors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from emotion_omni import engine
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


class EnginePool:
    """Engines by name; one whose name was promoted to another version is loaded anew for the next turn.

    Only the engines that the menu offers can be loaded, and ``also``: a name may contain a folder or a hub id, and
    visitors must choose neither.
    """

    def __init__(self, load: Callable[[str], engine.Engine] = engine.load, also: str = "") -> None:
        self._load, self._also = load, also
        self._locks: dict[str, threading.Lock] = {}  # one per engine: a long download does not block the others
        self._ready: dict[str, tuple[str, engine.Engine]] = {}  # with its version
        self._begun: set[str] = set()  # engines that are loaded in the background

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

    def get_at_once(self, name: str) -> engine.Engine:
        """As :meth:`get`, but while large weights are fetched and prepared for the first time a smaller engine answers.

        The engine that is returned tells its own name, which is what a rating has to store.
        """
        stand_in = "" if self.is_ready(name) else engine.stand_in(name)
        if not stand_in:
            return self.get(name)
        if name not in self._begun:
            self._begun.add(name)
            threading.Thread(target=self._prepare, args=(name, stand_in), daemon=True, name=f"load {name}").start()
        with self._locks.setdefault(stand_in, threading.Lock()):
            if stand_in not in self._ready:
                self._ready[stand_in] = engine.version(stand_in), self._load(stand_in)
            return self._ready[stand_in][1]

    def _prepare(self, name: str, stand_in: str) -> None:
        """Load ``name`` for the turns to come. A failure is logged, and tried again with the next turn."""
        try:
            self.get(name)
            if stand_in not in engine.offered():
                self._ready.pop(stand_in, None)
        except EmotionOmniError as error:
            log.warning("The engine %s could not be loaded, %s goes on answering: %s", name, stand_in, error)
        finally:
            self._begun.discard(name)

    def is_ready(self, name: str) -> bool:
        return name in self._ready and self._ready[name][0] == engine.version(name)


def menu(default_engine: str) -> list[str]:
    """The engines to choose from; the default comes first."""
    return list(dict.fromkeys([default_engine, *engine.offered()]))
