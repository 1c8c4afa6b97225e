"""A client of a realtime session without a line: what it sends is received at once, what it is told is kept."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from conftest import tone

from annotation.realtime.conversation import Conversation
from annotation.realtime.engine_pool import EnginePool
from annotation.realtime.session import Service, Session
from emotion_omni import audio
from emotion_omni.types import Audio

PATIENCE = 30.0  # seconds
HZ = 24_000


def pcm(sound: Audio) -> str:
    samples = audio.resample(sound, HZ).samples
    return base64.b64encode((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()).decode()


def recording(sound: Audio) -> dict[str, Any]:
    content = [{"type": "input_audio", "audio": pcm(sound)}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


class Client:
    def __init__(self, engine: Any, service: Service | None = None, conversation: Conversation | None = None) -> None:
        self.service = service or Service(EnginePool(lambda _: engine), "fake")
        self.told: list[dict[str, Any]] = []
        self.session = Session(self.service, self.told.append, conversation=conversation)
        self.session.begin()

    @property
    def conversation(self) -> Conversation:
        return self.session.conversation

    def send(self, kind: str, **event: Any) -> None:
        self.session.receive({"type": kind, **event})

    def say(self, sound: Audio | None = None) -> dict[str, Any]:
        """Send a recording and wait for the end of the reply → the response."""
        self.session.receive(recording(sound or tone(1.0)))
        self.send("response.create")
        return self.done()

    def done(self) -> dict[str, Any]:
        self.until(lambda: not self.session.busy)
        return self.of("response.done")[-1]["response"]

    def until(self, wanted: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not wanted():
            assert time.monotonic() < end, f"It did not come to that: {[event['type'] for event in self.told]}"
            time.sleep(0.005)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.told if event["type"] == kind]

    def fault(self) -> str:
        return self.of("error")[-1]["error"]["message"]
