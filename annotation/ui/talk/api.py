"""The endpoint ``/talk``: one turn for programs, through gradio_client or plain HTTP."""

from __future__ import annotations

from typing import Any

import gradio as gr

from annotation.realtime.conversation import LONGEST_TRANSCRIPT, REMEMBERED_TURNS, ChatTurn
from annotation.realtime.session import Service
from annotation.ui.talk.sound_files import save_sound
from emotion_omni import audio, emotion, json_lines
from emotion_omni.types import EmotionOmniError, Exchange, Turn


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
        try:
            if fault := json_lines.fault_in([name, seed, tone, words, history]):
                raise EmotionOmniError(f"The request cannot be used: {fault}", "bad-request")
            recording = audio.decode(path or "")
            query = Turn(
                recording,
                _exchanges(history or [])[-REMEMBERED_TURNS:],
                words[:LONGEST_TRANSCRIPT] if words else None,
                tone or None,
            )
            turn = ChatTurn(recording)
            self._answer(query, turn, name, int(seed or 0))
        except EmotionOmniError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return _as_json(turn), save_sound(turn.speech) if turn.speech else ""

    def _answer(self, query: Turn, turn: ChatTurn, name: str, seed: int) -> None:
        engine = self.service.engines.get(name)
        with self.service.queue.slot():
            for event in engine.respond(query, seed=seed):
                turn.add(event)


def _exchanges(history: list) -> tuple[Exchange, ...]:
    try:
        return tuple(
            Exchange(str(one["transcript"]), emotion.find(one["heard"]).name, str(one["reply"])) for one in history
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise EmotionOmniError('history must be a list of {"transcript", "heard", "reply"}.', "history") from error


def _as_json(turn: ChatTurn) -> dict[str, Any]:
    heard = turn.heard
    assert heard is not None  # the first event of every engine
    felt = heard.emotion
    return {
        "transcript": heard.transcript,
        "heard": {
            "label": felt.label,
            "probabilities": dict(felt.probabilities),
            "valence": felt.valence,
            "arousal": felt.arousal,
        },
        "reply": {"text": turn.reply.strip(), "emotion": turn.planned},
        "timings": turn.timings,
    }


def build(service: Service) -> None:
    """Add the endpoint to the current ``gr.Blocks``. Its components are invisible: they declare the parameters."""
    with gr.Column(visible=False):
        inputs = [
            gr.Audio(type="filepath", label="audio"),
            gr.Textbox(service.default_engine, label="engine"),
            gr.Number(0, label="seed"),
            gr.Textbox(label="emotion"),
            gr.Textbox(label="transcript"),
            gr.JSON(label="history"),
        ]
        outputs = [gr.JSON(label="result"), gr.Audio(type="filepath", label="reply")]
        handler = TalkApi(service).talk
        gr.Button().click(handler, inputs, outputs, api_name="talk", concurrency_id="inference")
