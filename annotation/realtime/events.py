"""The server's events of the OpenAI Realtime protocol, as plain objects. README.md lists those we know.

What the protocol has no word for is called ``emotion_omni.…``: how something was said, in which voice it is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotation.realtime.conversation import ChatTurn, new_id
from emotion_omni.types import Emotion, EmotionOmniError, Heard, Plan

Json = dict[str, Any]


def error(failure: EmotionOmniError, cause: object = None) -> Json:
    """``cause``: the ``event_id`` of the client's event."""
    kind = "server_error" if failure.code == "server" else "invalid_request_error"
    told = {"type": kind, "code": failure.code, "message": str(failure), "param": None}
    return {"type": "error", "error": told | {"event_id": cause if isinstance(cause, str) else None}}


def heard(turn: ChatTurn) -> Iterator[Json]:
    """What was said, and how."""
    assert turn.heard is not None and turn.recognized is not None
    place = {"item_id": turn.identity, "content_index": 0}
    yield {
        "type": "conversation.item.input_audio_transcription.completed",
        **place,
        "transcript": turn.heard.transcript,
    }
    yield {
        "type": "emotion_omni.heard",
        **place,
        **felt(turn.heard.emotion),
        "transcript": turn.heard.transcript,
        "trajectory": _trajectory(turn.heard),
        "turning_point": turn.heard.turning_point,
        "corrected": turn.corrected,
        "own": felt(turn.recognized.emotion) | {"transcript": turn.recognized.transcript},
        "known_turns": turn.known_turns,
    }


def felt(emotion: Emotion) -> Json:
    return {
        "label": emotion.label,
        "probabilities": {label: round(p, 4) for label, p in emotion.probabilities.items()},
        "valence": round(emotion.valence, 3),
        "arousal": round(emotion.arousal, 3),
        "sure": emotion.is_sure,
        "candidates": list(emotion.candidates),
    }


def _trajectory(heard: Heard) -> list[Json]:
    return [
        {"seconds": round(at, 3), "probabilities": {label: round(p, 3) for label, p in emotion.probabilities.items()}}
        for at, emotion in heard.trajectory
    ]


def plan(planned: Plan, turn: ChatTurn, response: str) -> Json:
    return {
        "type": "emotion_omni.plan",
        "item_id": turn.identity,
        "response_id": response,
        "emotion": planned.emotion,
        "news": planned.news,
        "tone": planned.tone,
        "unsure_between": list(planned.unsure_between),
        "conflict": planned.conflict,
    }


def user_item(turn: ChatTurn) -> Json:
    content = [{"type": "input_audio" if turn.query else "input_text", "transcript": None}]
    return {"id": turn.identity, "object": "realtime.item", "type": "message", "role": "user", "content": content}


class ResponseEvents:
    """Those of one reply, which is one message with one part: speech with its words, or text."""

    def __init__(self, speaks: bool) -> None:
        self.identity, self.item = new_id("resp"), new_id("item")
        self._kind = "output_audio" if speaks else "output_text"
        self._words = "response.output_audio_transcript" if speaks else "response.output_text"
        self._place = {"response_id": self.identity, "item_id": self.item, "output_index": 0, "content_index": 0}
        self.text = ""

    def created(self) -> Iterator[Json]:
        yield {"type": "response.created", "response": self._response("in_progress")}
        item = self._message("in_progress")
        yield {"type": "response.output_item.added", **self._output(), "item": item}
        yield {"type": "conversation.item.added", "item": item}
        part = {"type": self._kind, "transcript" if self._kind == "output_audio" else "text": ""}
        yield {"type": "response.content_part.added", **self._place, "part": part}

    def words(self, piece: str) -> Json:
        self.text += piece
        return {"type": f"{self._words}.delta", **self._place, "delta": piece}

    def sound(self, pcm: str) -> Json:
        return {"type": "response.output_audio.delta", **self._place, "delta": pcm}

    def done(self, status: str, failure: EmotionOmniError | None = None, timings: Any = None) -> Iterator[Json]:
        """``status``: completed, cancelled or failed."""
        if self._kind == "output_audio":
            yield {"type": "response.output_audio.done", **self._place}
            yield {"type": f"{self._words}.done", **self._place, "transcript": self.text}
        else:
            yield {"type": f"{self._words}.done", **self._place, "text": self.text}
        item = self._message("completed" if status == "completed" else "incomplete")
        yield {"type": "response.content_part.done", **self._place, "part": item["content"][0]}
        yield {"type": "response.output_item.done", **self._output(), "item": item}
        yield {"type": "conversation.item.done", "item": item}
        details = None
        if failure is not None:
            details = {"type": "failed", "error": {"code": failure.code, "message": str(failure)}}
        response = self._response(status) | {"status_details": details, "output": [item]}
        yield {"type": "response.done", "response": response, "emotion_omni": {"timings": dict(timings or {})}}

    def _output(self) -> Json:
        return {"response_id": self.identity, "output_index": 0}

    def _response(self, status: str) -> Json:
        return {"id": self.identity, "object": "realtime.response", "status": status, "output": []}

    def _message(self, status: str) -> Json:
        words = {"transcript" if self._kind == "output_audio" else "text": self.text}
        content = [{"type": self._kind, **words}]
        return {
            "id": self.item,
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }
