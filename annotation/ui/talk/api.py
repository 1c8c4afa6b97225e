"""The endpoints ``/talk``, ``/hear``, ``/reply`` and ``/speak`` for programs, through gradio_client or plain HTTP.

Their docstrings and types are what ``view_api`` shows. They wait in the same queue as the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from annotation.realtime.conversation import LONGEST_TRANSCRIPT, REMEMBERED_TURNS, ChatTurn
from annotation.realtime.response import closed_at_exit
from annotation.realtime.session import Service
from annotation.ui.talk.sound_files import save_sound
from emotion_omni import audio, emotion, json_lines
from emotion_omni.engine import SpeaksText
from emotion_omni.types import Delivery, EmotionOmniError, Exchange, Turn


class TalkApi:
    def __init__(self, service: Service) -> None:
        self.service = service

    def talk(
        self,
        path: str,
        name: str = "embedded",
        seed: float = 0,
        tone: str | None = None,
        words: str | None = None,
        history: list | None = None,
    ) -> tuple[dict, str]:
        """One turn for programs: recording → ({transcript, heard, reply, timings}, reply as a WAV file).

        `history`: earlier turns as [{"transcript", "heard", "reply"}, …], oldest first.
        """
        with _explained([name, seed, tone, words, history]):
            recording = audio.decode(path or "")
            query = Turn(
                recording,
                _exchanges(history or [])[-REMEMBERED_TURNS:],
                words[:LONGEST_TRANSCRIPT] if words else None,
                tone or None,
            )
            turn = ChatTurn(recording)
            self._answer(query, turn, name, int(seed or 0))
        return _as_json(turn), save_sound(turn.speech) if turn.speech else ""

    def hear(self, path: str, name: str = "embedded") -> dict:
        """What was said in a recording, and how → {transcript, label, probabilities, valence, arousal, sure}."""
        with _explained([name]):
            turn = ChatTurn(audio.decode(path or ""))
            self._answer(Turn(turn.query, speak=False), turn, name, 0, hear_only=True)
        return _heard(turn)

    def reply(self, words: str, tone: str = "neutral", name: str = "embedded", seed: float = 0) -> dict:
        """What is answered to words said in a tone, in writing → {text, emotion}."""
        with _explained([words, tone, name, seed]):
            if not (words or "").strip():
                raise EmotionOmniError("Give the words to answer.", "missing")
            label = emotion.find(tone or "neutral").name
            turn = ChatTurn(None)
            query = Turn(None, transcript=words[:LONGEST_TRANSCRIPT], emotion=label, speak=False)
            self._answer(query, turn, name, int(seed or 0))
        return {"text": turn.reply.strip(), "emotion": turn.planned}

    def speak(
        self, words: str, tone: str = "neutral", voice: str = "", intensity: float = 1, rate: float = 1, name: str = ""
    ) -> str:
        """Words spoken in a tone → a WAV file."""
        with _explained([words, tone, voice, intensity, rate, name]):
            if not (words or "").strip():
                raise EmotionOmniError("Give the words to speak.", "missing")
            if len(words) > LONGEST_TRANSCRIPT:
                raise EmotionOmniError(f"At most {LONGEST_TRANSCRIPT} letters are spoken at once.", "too-large")
            engine = self.service.engines.get(name or self.service.default_engine)
            if not isinstance(engine, SpeaksText):
                raise EmotionOmniError(f"The engine {engine.name!r} does not speak given words.", "unknown-engine")
            delivery = Delivery(emotion.find(tone or "neutral").name, float(intensity), voice or "", float(rate or 1))
            with self.service.queue.slot():
                return save_sound(audio.join(list(engine.speak(words, delivery))))

    def _answer(self, query: Turn, turn: ChatTurn, name: str, seed: int, hear_only: bool = False) -> None:
        engine = self.service.engines.get(name)
        with self.service.queue.slot(), closed_at_exit(engine.respond(query, seed=seed)) as events:
            for event in events:
                turn.add(event)
                if hear_only:
                    return


@contextmanager
def _explained(given: list[Any]) -> Iterator[None]:
    """A fault in what was given, or in answering it, in words for people. ``given``: values that are not files."""
    try:
        if fault := json_lines.fault_in(given):
            raise EmotionOmniError(f"The request cannot be used: {fault}", "bad-request")
        yield
    except EmotionOmniError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _exchanges(history: list) -> tuple[Exchange, ...]:
    try:
        return tuple(
            Exchange(str(one["transcript"]), emotion.find(one["heard"]).name, str(one["reply"])) for one in history
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise EmotionOmniError('history must be a list of {"transcript", "heard", "reply"}.', "history") from error


def _as_json(turn: ChatTurn) -> dict[str, Any]:
    heard = _heard(turn)
    return {
        "transcript": heard.pop("transcript"),
        "heard": heard,
        "reply": {"text": turn.reply.strip(), "emotion": turn.planned},
        "timings": turn.timings,
    }


def _heard(turn: ChatTurn) -> dict[str, Any]:
    heard = turn.heard
    assert heard is not None  # the first event of every engine
    felt = heard.emotion
    return {
        "transcript": heard.transcript,
        "label": felt.label,
        "probabilities": dict(felt.probabilities),
        "valence": felt.valence,
        "arousal": felt.arousal,
        "sure": felt.is_sure,
    }


def build(service: Service) -> None:
    """Add the endpoints to the current ``gr.Blocks``. Their components are invisible: they declare the parameters."""
    api, shared = TalkApi(service), {"concurrency_id": "inference"}
    with gr.Column(visible=False):
        recording, engine = gr.Audio(type="filepath", label="audio"), gr.Textbox(service.default_engine, label="engine")
        seed, tone, words = gr.Number(0, label="seed"), gr.Textbox(label="emotion"), gr.Textbox(label="transcript")
        history, result = gr.JSON(label="history"), gr.JSON(label="result")
        sound, voice = gr.Audio(type="filepath", label="reply"), gr.Textbox(label="voice")
        intensity, rate = gr.Number(1, label="intensity"), gr.Number(1, label="rate")
        asked = [recording, engine, seed, tone, words, history]
        gr.Button().click(api.talk, asked, [result, sound], api_name="talk", **shared)
        gr.Button().click(api.hear, [recording, engine], result, api_name="hear", **shared)
        gr.Button().click(api.reply, [words, tone, engine, seed], result, api_name="reply", **shared)
        gr.Button().click(api.speak, [words, tone, voice, intensity, rate, engine], sound, api_name="speak", **shared)
