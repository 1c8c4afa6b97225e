"""A client's session: its events in, the server's events out. Knows no transport: a WebSocket or a queue carries them.

The subset of the OpenAI Realtime protocol that it speaks, and our additions to it, are listed in README.md.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from annotation.realtime import events, settings
from annotation.realtime.answer_queue import AnswerQueue
from annotation.realtime.conversation import LONGEST_TRANSCRIPT, ChatTurn, Conversation, Conversations, new_id
from annotation.realtime.engine_pool import EnginePool
from annotation.realtime.input_audio import IDLE_SECONDS, MOST_SECONDS, InputAudio, decode_pcm
from annotation.realtime.response import Response
from annotation.realtime.settings import SessionSettings, TurnDetection
from emotion_omni import audio, emotion
from emotion_omni.turn_detection import loading
from emotion_omni.turn_detection.turn_detector import SpeechStarted, SpeechStopped, TurnDetector, TurnEvent
from emotion_omni.types import Audio, EmotionOmniError, Exchange, Turn

Json = dict[str, Any]


@dataclass
class Service:
    """What all sessions share."""

    engines: EnginePool
    default_engine: str
    queue: AnswerQueue = field(default_factory=AnswerQueue)
    conversations: Conversations = field(default_factory=Conversations)


class Session:
    """``send`` may be called from several threads. ``charge`` is asked before each turn, and may refuse it."""

    def __init__(
        self,
        service: Service,
        send: Callable[[Json], None],
        charge: Callable[[], None] = lambda: None,
        model: str = "",
        conversation: Conversation | None = None,
    ) -> None:
        self._service, self._out, self._charge = service, send, charge
        self._lock = threading.RLock()  # of the order of what is sent, and of the state below
        self.settings = SessionSettings(model or service.default_engine)
        self.conversation = conversation or service.conversations.start()
        self._response: Response | None = None
        self._typed: str | None = None  # a message in writing that waits for response.create
        self._uncommitted: Audio | None = None  # a recording that waits for response.create
        self._input = InputAudio(self.settings.input_hz)
        self._detector: TurnDetector | None = None
        self._spoken: str | None = None  # item of the turn that is being spoken
        self._spoken_from: float | None = None  # seconds on the clock of the input
        self._carried: Audio | None = None  # what was said before a pause that was taken for the end
        self._handlers: dict[str, Callable[[Json], None]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.truncate": self._truncate,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
            "emotion_omni.correct": self._correct,
            "emotion_omni.new": self._new,
            "emotion_omni.open": self._open,
            "emotion_omni.forget": self._forget,
        }

    # --- in and out ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._send({"type": "session.created", "session": self._shown()})
        self._tell_conversation()

    def receive(self, event: Any) -> None:
        """One event of the client. What cannot be used is answered by an error event, and the session goes on."""
        kind = event.get("type") if isinstance(event, dict) else None
        try:
            if not isinstance(kind, str) or kind not in self._handlers:
                raise EmotionOmniError(
                    f"Unknown event {str(kind)[:60]!r}. Known are: {', '.join(self._handlers)}.", "unknown-event"
                )
            self._handlers[kind](event)
        except EmotionOmniError as error:
            self._send(events.error(error, event.get("event_id") if isinstance(event, dict) else None))

    def receive_text(self, text: str) -> None:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            event = None
        self.receive(event)

    def close(self) -> None:
        """The client is gone: its reply stops. The conversation waits for it."""
        if self._response:
            self._response.cancel()

    @property
    def busy(self) -> bool:
        return self._response is not None

    @property
    def speaking(self) -> bool:
        return self._spoken is not None

    def _send(self, event: Json) -> None:
        with self._lock:
            self._out({"event_id": new_id("event"), **event})

    def _shown(self) -> Json:
        return self.settings.as_json() | {"id": self.conversation.identity}

    def _tell_conversation(self) -> None:
        shown = {"id": self.conversation.identity, "turns": len(self.conversation.exchanges())}
        self._send({"type": "emotion_omni.conversation", "conversation": shown})

    # --- settings -----------------------------------------------------------------------------------------------

    def _update(self, event: Json) -> None:
        wanted = settings.updated(self.settings, event.get("session"))
        if wanted.model != self.settings.model:
            self._service.engines.check(wanted.model)
        if wanted.input_hz != self.settings.input_hz or wanted.turn_detection != self.settings.turn_detection:
            self._input, self._detector = InputAudio(wanted.input_hz), None
            self._spoken = self._spoken_from = self._carried = None
        self.settings = wanted
        self._send({"type": "session.updated", "session": self._shown()})

    # --- sound in -----------------------------------------------------------------------------------------------

    def _append(self, event: Json) -> None:
        samples = decode_pcm(event.get("audio"))
        heard = self._input.append(samples)
        detection = self.settings.turn_detection
        if detection is None:
            if self._input.kept_seconds > MOST_SECONDS + 1:
                self._input.drop_before(self._input.seconds - MOST_SECONDS)
            return
        if self._detector is None:
            self._detector = _detector(detection)
        for found in self._detector.feed(heard):
            self._detected(found, detection)
        if not self._detector.speaking:
            self._input.drop_before(self._input.seconds - IDLE_SECONDS)

    def _detected(self, found: TurnEvent, detection: TurnDetection) -> None:
        if isinstance(found, SpeechStarted):
            self._spoken, self._spoken_from = new_id("item"), found.seconds
            if detection.interrupts and self._response:
                self._carry_on(self._response.turn)
                self._response.cancel()
            start = {"audio_start_ms": round(1000 * found.seconds), "item_id": self._spoken}
            self._send({"type": "input_audio_buffer.speech_started", **start})
        elif isinstance(found, SpeechStopped) and self._spoken:
            item, self._spoken = self._spoken, None
            self._send(
                {
                    "type": "input_audio_buffer.speech_stopped",
                    "audio_end_ms": round(1000 * found.seconds),
                    "item_id": item,
                    "emotion_omni": {"finished": found.finished},
                }
            )
            self._committed(self._take_spoken(found.seconds), item, detection.responds)

    def _carry_on(self, turn: ChatTurn) -> None:
        """Who goes on before anything was heard had only paused: both parts are one turn."""
        if turn.heard is None and turn.query is not None and turn.query.hz == self._input.hz:
            self._carried = turn.query
            self._send({"type": "conversation.item.deleted", "item_id": turn.identity})

    def _take_spoken(self, last: float | None = None) -> Audio:
        recording, carried = (
            self._input.take(self._spoken_from if self._spoken_from is not None else 0.0, last),
            self._carried,
        )
        self._carried = self._spoken_from = None
        if carried is None:
            return recording
        both = np.concatenate([carried.samples, recording.samples])[-int(MOST_SECONDS * recording.hz) :]
        return Audio(both, recording.hz)

    def _commit(self, _: Json) -> None:
        recording = self._take_spoken()
        item, self._spoken = self._spoken or new_id("item"), None
        if self._detector:
            self._detector.reset()
        if not len(recording.samples):
            raise EmotionOmniError("There is no sound to commit. Append some first.", "input_audio_buffer_commit_empty")
        self._committed(recording, item, responds=self.settings.turn_detection is not None)

    def _clear(self, _: Json) -> None:
        self._input.clear()
        self._spoken = self._spoken_from = self._carried = None
        if self._detector:
            self._detector.reset()
        self._send({"type": "input_audio_buffer.cleared"})

    def _committed(self, recording: Audio, item: str, responds: bool) -> None:
        previous = self.conversation.turns[-1].identity if self.conversation.turns else None
        self._send({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous})
        self._take(recording, item, responds)

    def _take(self, recording: Audio, item: str, responds: bool) -> None:
        turn = ChatTurn(recording, item)
        self._send({"type": "conversation.item.added", "item": events.user_item(turn)})
        if responds:
            self._answer(turn, Turn(audio.check(recording.samples, recording.hz)))
        else:
            self._uncommitted, self._typed = recording, None
            self._uncommitted_item = item

    # --- items --------------------------------------------------------------------------------------------------

    def _create_item(self, event: Json) -> None:
        """A message: of the user, to answer next; or earlier ones of both, to be remembered."""
        item = event.get("item")
        role = item.get("role") if isinstance(item, dict) else None
        content = item.get("content") if isinstance(item, dict) else None
        if role not in ("user", "assistant") or not isinstance(content, list) or not content:
            raise EmotionOmniError(
                "An item is a message with the role user or assistant and a list of content.", "bad-request"
            )
        part = content[0] if isinstance(content[0], dict) else {}
        name = str(item.get("id") or new_id("item"))[:64]
        if role == "user" and part.get("type") == "input_audio":
            self._take(Audio(decode_pcm(part.get("audio")), self.settings.input_hz), name, responds=False)
            return
        words = str(part.get("text") or part.get("transcript") or "")[:LONGEST_TRANSCRIPT]
        if role == "user":
            self._typed, self._uncommitted = words, None
        elif self._typed is not None:
            self._remember(self._typed, words, part)
        self._send({"type": "conversation.item.added", "item": item | {"id": name}})

    def _remember(self, said: str, reply: str, part: Json) -> None:
        heard = emotion.find(str(part.get("emotion_omni_heard") or "neutral")).name
        self.conversation.earlier = (*self.conversation.earlier, Exchange(said, heard, reply))[-40:]
        self._typed = None

    def _truncate(self, event: Json) -> None:
        """What was heard of a reply that was interrupted is what the conversation remembers."""
        played, item = event.get("audio_end_ms"), event.get("item_id")
        if isinstance(played, bool) or not isinstance(played, int | float) or not 0 <= played <= 1e7:
            raise EmotionOmniError("audio_end_ms is the milliseconds that were played.", "bad-request")
        turn = next((turn for turn in self.conversation.turns if turn.reply_item == item), None)
        if turn is None:
            raise EmotionOmniError("There is no such reply in this conversation.", "not-found")
        turn.truncate(played / 1000)
        told = {"item_id": item, "content_index": 0, "audio_end_ms": round(played)}
        self._send({"type": "conversation.item.truncated", **told, "emotion_omni": {"transcript": turn.reply}})

    # --- replies ------------------------------------------------------------------------------------------------

    def _create_response(self, _: Json) -> None:
        if self._uncommitted is not None:
            recording, self._uncommitted = self._uncommitted, None
            query = Turn(audio.check(recording.samples, recording.hz))
            self._answer(ChatTurn(recording, self._uncommitted_item), query)
        elif self._typed is not None:
            words, self._typed = self._typed, None
            self._answer(ChatTurn(None), Turn(None, transcript=words, emotion="neutral"))
        else:
            raise EmotionOmniError("There is nothing to answer yet. Send a recording or a message first.", "missing")

    def _cancel_response(self, _: Json) -> None:
        if self._response is None:
            raise EmotionOmniError("No reply is being made.", "response_cancel_not_active")
        self._response.cancel()

    def _correct(self, event: Json) -> None:
        """Answer the last turn again as its speaker corrects it. The new reply replaces the old one."""
        turn = self.conversation.find(str(event.get("item_id")))
        if turn is None or turn is not self.conversation.turns[-1] or turn.query is None or turn.heard is None:
            raise EmotionOmniError("Only the last turn can be corrected.", "not-found")
        label, words = event.get("emotion"), event.get("transcript")
        corrected = _corrected(turn, label and emotion.find(str(label)).name, words and str(words))
        again = ChatTurn(turn.query, turn.identity, recognized=turn.recognized, corrected=corrected.emotion is not None)
        self._answer(again, corrected, instead_of=turn)

    def _answer(self, turn: ChatTurn, query: Turn, instead_of: ChatTurn | None = None) -> None:
        self._charge()
        if self._response:
            self._response.cancel()
        turn.engine, turn.seed = self.settings.model, self.settings.seed
        conversation = self.conversation
        with self._lock:
            query = replace(
                query,
                earlier=conversation.exchanges(before=instead_of),
                speaker=conversation.speaker(before=instead_of),
                voice=self.settings.voice,
                speak=self.settings.speaks,
            )
            if instead_of:
                conversation.turns.remove(instead_of)
            conversation.add(turn)
            self._response = Response(turn, query, self._send, self._finished(conversation, instead_of))
            turn.reply_item = self._response.events.item
        self._response.start(self._service.engines, self._service.queue)

    def _finished(self, conversation: Conversation, instead_of: ChatTurn | None) -> Callable[[Response, str], None]:
        def finished(response: Response, status: str) -> None:
            with self._lock:
                turn = response.turn
                if turn in conversation.turns and (status == "failed" or turn.heard is None):
                    conversation.turns.remove(turn)  # nothing was heard, so there is nothing to remember
                    if instead_of:
                        conversation.turns.append(instead_of)
                if self._response is response:
                    self._response = None

        return finished

    # --- conversations ------------------------------------------------------------------------------------------

    def _new(self, _: Json) -> None:
        """A fresh conversation. The old one can be opened again until it is forgotten."""
        self._enter(self._service.conversations.start())

    def _open(self, event: Json) -> None:
        """Go on with a conversation, after a lost line, or after New was pressed by mistake."""
        found = self._service.conversations.get(str(event.get("conversation")))
        if found is None:
            raise EmotionOmniError("This conversation is forgotten. A new one has begun.", "not-found")
        self._enter(found)

    def _forget(self, event: Json) -> None:
        if (name := str(event.get("conversation"))) == self.conversation.identity:
            self._enter(self._service.conversations.start())
        self._service.conversations.forget(name)

    def _enter(self, conversation: Conversation) -> None:
        if self._response:
            self._response.cancel()
        self.conversation, self._uncommitted, self._typed = conversation, None, None
        self._tell_conversation()


def _corrected(last: ChatTurn, label: str | None, transcript: str | None) -> Turn:
    """The query of ``last`` with what the visitor changed: only a changed value counts as a correction."""
    assert last.heard is not None and last.query is not None
    transcript = transcript and transcript[:LONGEST_TRANSCRIPT]
    same_label = label in (None, "", last.heard.emotion.label) and not last.corrected
    # compared with the model's own words: a transcript that was corrected before stays corrected
    same_words = (transcript or "").strip() == (last.recognized or last.heard).transcript
    query = audio.check(last.query.samples, last.query.hz)
    return Turn(query, transcript=None if same_words else transcript or None, emotion=None if same_label else label)


def _detector(detection: TurnDetection) -> TurnDetector:
    if detection.kind == "semantic_vad":
        return loading.semantic_detector()
    return loading.pause_detector(detection.silence_ms / 1000, detection.threshold)
