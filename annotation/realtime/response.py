"""One reply while it is made: an engine runs in a thread of its own, its events go out, and it can be stopped."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from annotation.realtime import events
from annotation.realtime.answer_queue import AnswerQueue
from annotation.realtime.conversation import ChatTurn
from annotation.realtime.engine_pool import EnginePool
from annotation.realtime.input_audio import encode_pcm
from annotation.realtime.settings import OUTPUT_HZ
from emotion_omni import audio
from emotion_omni.engine import rated_as
from emotion_omni.types import Done, EmotionOmniError, Event, Heard, Plan, Speech, Text, Turn

log = logging.getLogger(__name__)

BROKEN = (
    "Something went wrong while answering; the log of this app says what. Your recording is kept: please send it again."
)
DELTA_SECONDS = 1.0  # of sound in one event: a line that is slow must not hold back a stop for long


class Response:
    """``finished`` is called once, in the response's thread, after the last event."""

    def __init__(
        self,
        turn: ChatTurn,
        query: Turn,
        send: Callable[[events.Json], None],
        finished: Callable[[Response, str], None],
    ) -> None:
        self.turn, self.query, self.events = turn, query, events.ResponseEvents(query.speak)
        self._send, self._finished, self._cancelled, self._lock = send, finished, threading.Event(), threading.Lock()
        self.over = threading.Event()

    def start(self, engines: EnginePool, queue: AnswerQueue) -> None:
        """In the context of the caller: a lent GPU is billed by it."""
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run, engines, queue), daemon=True).start()

    def cancel(self) -> None:
        """Nothing more is sent after this but the end. The engine stops at its next event."""
        with self._lock:
            if self._cancelled.is_set() or self.over.is_set():
                return
            self._cancelled.set()
            self._end("cancelled")

    def _run(self, engines: EnginePool, queue: AnswerQueue) -> None:
        try:
            with self._lock:
                self._all(self.events.created())
            name = self.turn.engine
            if not engines.is_ready(name):
                self._tell({"type": "emotion_omni.loading", "model": name})
            engine = engines.get(name)  # outside the queue: a download must not block other visitors
            self.turn.engine = rated_as(name, engine)
            with queue.slot():
                if not self._cancelled.is_set():
                    self._follow(engine.respond(self.query, seed=self.turn.seed))
        except EmotionOmniError as error:
            self._fail(error)
        except Exception:  # any other fault: the page must not keep saying that it is thinking
            log.exception("The %s engine failed.", self.turn.engine)
            self._fail(EmotionOmniError(BROKEN, "server"))

    def _follow(self, stream: Iterator[Event]) -> None:
        with closed_at_exit(stream) as found:
            for event in found:
                with self._lock:
                    if self._cancelled.is_set():
                        return
                    self.turn.add(event)
                    self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Heard():
                self._all(events.heard(self.turn))
            case Plan():
                self._send(events.plan(event, self.turn, self.events.identity))
            case Text():
                self._send(self.events.words(event.piece))
            case Speech():
                sound = audio.resample(event.audio, OUTPUT_HZ).samples
                step = int(DELTA_SECONDS * OUTPUT_HZ)
                self._all(self.events.sound(encode_pcm(sound[at : at + step])) for at in range(0, len(sound), step))
            case Done():
                self._end("completed")

    def _fail(self, error: EmotionOmniError) -> None:
        with self._lock:
            if not self._cancelled.is_set() and not self.over.is_set():
                self._end("failed", error)

    def _end(self, status: str, error: EmotionOmniError | None = None) -> None:
        self._all(self.events.done(status, error, self.turn.timings))
        self.over.set()
        self._finished(self, status)

    def _tell(self, event: events.Json) -> None:
        with self._lock:
            if not self._cancelled.is_set():
                self._send(event)

    def _all(self, found: Iterator[events.Json]) -> None:
        for event in found:
            self._send(event)


@contextmanager
def closed_at_exit(stream: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Close the engine's iterator also when the visitor interrupts or leaves: this stops the work."""
    try:
        yield stream
    finally:
        if close := getattr(stream, "close", None):
            close()
