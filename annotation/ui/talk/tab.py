"""The Talk tab: speak, see what was heard and how, correct it, hear the answer.

Handlers first (no layout), then the layout, then the wiring. A conversation lives in the visitor's session only:
nothing is stored, and its sound files are deleted with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import gradio as gr

from annotation.studio import Studio
from annotation.ui import model_report
from annotation.ui.engine_pool import EnginePool, menu
from annotation.ui.talk import api, contribute, page_update, player
from annotation.ui.talk.answer_queue import CAPACITY, AnswerQueue
from annotation.ui.talk.conversation import LONGEST_TRANSCRIPT, REMEMBERED_TURNS, ChatTurn, Conversation, save_sound
from annotation.ui.talk.page_update import NOTHING_HEARD, PageUpdate
from emotion_omni import audio, emotion
from emotion_omni.engine import STAND_INS, offered_voices, rated_as
from emotion_omni.types import EmotionOmniError, Turn, VoiceSettings

log = logging.getLogger(__name__)

EXAMPLES = Path(__file__).parents[3] / "assets" / "examples"
WELCOME = "Say something, in any tone. I listen to the words and to the voice, and answer both."
BROKEN = (
    "Something went wrong while answering; the log of this app says what. Your recording is kept: please send it again."
)
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


# --- handlers ---------------------------------------------------------------------------------------------------


class Handlers:
    """The behaviour of the tab. Each handler returns or yields the values of ``PageUpdate.values``."""

    def __init__(self, engines: EnginePool, queue: AnswerQueue) -> None:
        self.engines, self.queue = engines, queue

    def respond(
        self, path: str | None, name: str, seed: float | None, conversation: Conversation, *voice: Any
    ) -> Iterator[list[Any]]:
        """Answer a new recording, step by step. A recording that cannot be used stays in its component.

        ``voice``: the arguments of :class:`VoiceSettings`, as its components hold them.
        """
        if not path:
            yield _refused("There is no recording yet. Press the microphone and speak.", conversation)
            return
        try:
            query = audio.decode(path)
        except EmotionOmniError as error:
            yield _refused(str(error), conversation)
            return
        turn = ChatTurn(query, save_sound(query), upload=path)
        spoken_to = Turn(query, voice=voice_settings(*voice))
        yield from self._answer(turn, spoken_to, name, seed, conversation.turns, conversation)

    def again(
        self,
        label: str | None,
        transcript: str | None,
        name: str,
        seed: float | None,
        conversation: Conversation,
        *voice: Any,
    ) -> Iterator[list[Any]]:
        """Answer the last recording again, with the visitor's corrections. The new turn replaces the old one."""
        if not conversation.turns:
            yield _refused("There is nothing to answer again yet. Record something first.", conversation)
            return
        *before, last = conversation.turns
        query = replace(_corrected(last, label, transcript), voice=voice_settings(*voice))
        turn = replace(
            last,
            heard=None,
            planned="",
            reply="",
            sounds=[],
            reply_file="",
            timings={},
            corrected=query.emotion is not None,
        )
        yield from self._answer(turn, query, name, seed, before, conversation)

    def forget(self, conversation: Conversation) -> list[Any]:
        """Delete the conversation and start a new one."""
        conversation.forget()
        fresh = Conversation()
        return page_update.emptied(fresh).values(fresh)

    def stopped(self, conversation: Conversation) -> list[Any]:
        """After a stop: what was said so far stays in the conversation."""
        return PageUpdate(voice=player.message("stop", conversation.identity), status="").values(conversation)

    def _answer(
        self,
        turn: ChatTurn,
        query: Turn,
        name: str,
        seed: float | None,
        before: list[ChatTurn],
        conversation: Conversation,
    ) -> Iterator[list[Any]]:
        """Run the engine on ``query`` and show each event.

        ``before``: the turns that the engine remembers. ``conversation`` stays the state until something is heard,
        and again if the answer fails.
        """
        turn.engine, turn.seed = name, int(seed or 0)
        shown = Conversation(before[-REMEMBERED_TURNS:] + [turn])
        yield page_update.started(shown, self.engines.is_ready(name)).values(conversation)
        try:
            engine = self.engines.get_at_once(name)  # outside the queue: a download must not block other visitors
            turn.engine = rated_as(name, engine)
            if turn.engine == STAND_INS.get(name):
                yield page_update.standing_in(shown).values(conversation)
            earlier = Conversation(before)
            query = replace(query, earlier=earlier.exchanges(), speaker=earlier.speaker())
            with self.queue.slot(), _closed_at_exit(engine.respond(query, seed=turn.seed)) as events:
                for event in events:
                    turn.add(event)
                    yield page_update.after(event, turn, shown).values(shown)
        except EmotionOmniError as error:
            yield page_update.failed(str(error), shown, conversation).values(conversation)
        except Exception:  # any other fault: the page must not keep saying that it is listening
            log.exception("The %s engine failed.", name)
            yield page_update.failed(BROKEN, shown, conversation).values(conversation)


def _refused(message: str, conversation: Conversation) -> list[Any]:
    return PageUpdate(status=page_update.alert(message)).values(conversation)


def _corrected(last: ChatTurn, label: str | None, transcript: str | None) -> Turn:
    """The query of ``last`` with what the visitor changed: only a changed value counts as a correction."""
    transcript = transcript and transcript[:LONGEST_TRANSCRIPT]
    if last.heard is None:
        return Turn(last.query, transcript=transcript, emotion=label)
    same_label = label == last.heard.emotion.label and not last.corrected
    # compared with the model's own words: a transcript that was corrected before stays corrected
    same_transcript = (transcript or "").strip() == (last.recognized or last.heard).transcript
    return Turn(last.query, transcript=None if same_transcript else transcript, emotion=None if same_label else label)


def voice_settings(name: str | None = "", intensity: float | None = 1.0, rate: float | None = 1.0) -> VoiceSettings:
    """Of the components' values, any of which may be empty."""
    return VoiceSettings(name or "", 1.0 if intensity is None else float(intensity), float(rate or 1.0))


@contextmanager
def _closed_at_exit(events: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Close the engine's iterator also when the visitor presses Stop or closes the page: this stops the work."""
    try:
        yield events
    finally:
        if close := getattr(events, "close", None):
            close()


# --- layout -----------------------------------------------------------------------------------------------------


@dataclass
class Components:
    """What the wiring connects."""

    chat: gr.Chatbot
    voice: gr.HTML
    heard: gr.HTML
    emotion: gr.Dropdown
    transcript: gr.Textbox
    plan: gr.HTML
    timings: gr.HTML
    status: gr.HTML
    query: gr.Audio
    again: gr.Button
    send: gr.Button
    stop: gr.Button
    fresh: gr.Button
    engine: gr.Dropdown
    seed: gr.Number
    voice_name: gr.Dropdown
    intensity: gr.Slider
    rate: gr.Slider
    examples: list[tuple[gr.Button, Path]]

    def outputs(self) -> list[gr.components.Component]:
        """In the order of :class:`PageUpdate`."""
        return [getattr(self, field.name) for field in fields(PageUpdate)]


def build(engines: EnginePool, default_engine: str, studio: Studio) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    queue = AnswerQueue()
    conversation = gr.State(Conversation(), time_to_live=3600, delete_callback=lambda gone: gone.forget())
    with gr.Row(elem_classes="talk"):
        with gr.Column(scale=3, min_width=320):
            speaking = _draw_conversation()
        with gr.Column(scale=2, min_width=300):
            hearing = _draw_heard()
            hearing |= _draw_settings(default_engine)
            contribute.build(studio, conversation)
            gr.Markdown(
                "Unless you give a turn to research, nothing you say is stored: recordings go with the conversation.",
                elem_classes="privacy",
            )
    parts = Components(**speaking, **hearing)
    _wire(Handlers(engines, queue), parts, conversation, default_engine)
    api.build(engines, queue, default_engine)


def _draw_conversation() -> dict[str, Any]:
    chat = gr.Chatbot(
        label="Conversation",
        show_label=False,
        height=420,
        render_markdown=False,
        placeholder=WELCOME,
        buttons=["copy"],
        feedback_options=None,
        elem_id="chat",
    )
    status = gr.HTML("", elem_id="status", container=False)
    voice = player.build()
    query = gr.Audio(
        sources=["microphone", "upload"],
        type="filepath",
        label="Speak, or drop a recording here",
        editable=False,
        elem_id="query",
    )
    with gr.Row(elem_classes="controls"):
        send = gr.Button("Answer", variant="primary", elem_id="send", min_width=90)
        stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=90)
        fresh = gr.Button("New", elem_id="fresh", min_width=90)
    gr.HTML('<span class="examples-title">No microphone? Try a synthetic voice:</span>', container=False)
    with gr.Row(elem_classes="examples"):
        files = sorted(EXAMPLES.glob("*.wav"))
        examples = [(gr.Button(_title(file), size="sm", min_width=70), file) for file in files]
    return {
        "chat": chat,
        "status": status,
        "voice": voice,
        "query": query,
        "send": send,
        "stop": stop,
        "fresh": fresh,
        "examples": examples,
    }


def _draw_heard() -> dict[str, Any]:
    gr.Markdown("### What I heard")
    heard = gr.HTML(NOTHING_HEARD, elem_id="heard", container=False)
    plan = gr.HTML("", elem_id="plan", container=False)
    with gr.Group():
        label = gr.Dropdown(
            list(emotion.NAMES),
            value=None,
            label="Tone",
            info="Wrong? Choose the right one.",
            interactive=False,
            elem_id="tone",
        )
        transcript = gr.Textbox(
            label="Words",
            info="Misheard? Correct them.",
            lines=2,
            max_length=LONGEST_TRANSCRIPT,
            interactive=False,
            elem_id="words",
        )
        again = gr.Button("Answer again", interactive=False, elem_id="again")
    return {"heard": heard, "plan": plan, "emotion": label, "transcript": transcript, "again": again}


def _draw_settings(default_engine: str) -> dict[str, Any]:
    spoken = _draw_voice()
    with gr.Accordion("Settings", open=False):
        engine = gr.Dropdown(
            menu(default_engine),
            value=default_engine,
            label="Engine",
            elem_id="engine",
            info="fake answers without a model; it is for testing the page.",
        )
        report = gr.HTML(model_report.link(default_engine), elem_id="model-report", container=False)
        engine.change(model_report.link, engine, report, queue=False, **HIDDEN)
        seed = gr.Number(
            0,
            label="Seed",
            precision=0,
            minimum=0,
            maximum=2**31 - 1,
            elem_id="seed",
            info="Another number, another answer; the same number, the same answer.",
        )
    with gr.Accordion("Timings", open=False):
        timings = gr.HTML('<div class="empty">After the first answer.</div>', elem_id="timings", container=False)
    return spoken | {"engine": engine, "seed": seed, "timings": timings}


def _draw_voice() -> dict[str, Any]:
    with gr.Accordion("Voice of the reply", open=False):
        name = gr.Dropdown(
            offered_voices(),
            value="",
            label="Voice",
            allow_custom_value=True,
            elem_id="voice-name",
            info="Or type the name of another Kokoro voice, such as bf_emma.",
        )
        intensity = gr.Slider(
            0, 2, 1, step=0.1, label="Expressiveness", elem_id="intensity", info="0 is neutral, 1 is as designed."
        )
        rate = gr.Slider(0.5, 2, 1, step=0.05, label="Speed", elem_id="rate")
    return {"voice_name": name, "intensity": intensity, "rate": rate}


def _title(file: Path) -> str:
    return file.stem.split("-")[-1].replace("_", " ").capitalize()


# --- wiring -----------------------------------------------------------------------------------------------------


def _wire(handlers: Handlers, parts: Components, conversation: gr.State, default_engine: str) -> None:
    outputs = [*parts.outputs(), conversation]
    running = _wire_answers(handlers, parts, conversation, outputs)
    interrupting: dict[str, Any] = {
        "inputs": conversation,
        "outputs": outputs,
        "cancels": running,
        "queue": False,
        "js": _with_silence(),
        **HIDDEN,
    }
    parts.stop.click(handlers.stopped, **interrupting)
    parts.query.start_recording(handlers.stopped, **interrupting)  # barge-in
    parts.fresh.click(handlers.forget, **interrupting)
    parts.chat.clear(handlers.forget, **interrupting)
    # offers a checkpoint that was trained or downloaded after the page was opened
    parts.engine.focus(lambda: gr.update(choices=menu(default_engine)), None, parts.engine, queue=False, **HIDDEN)


def _wire_answers(handlers: Handlers, parts: Components, conversation: gr.State, outputs: list) -> list:
    """→ the events that run an engine; Stop cancels them."""
    answering: dict[str, Any] = {
        "outputs": outputs,
        "concurrency_id": "inference",
        "concurrency_limit": CAPACITY + 1,
        **HIDDEN,
    }
    settings = [parts.engine, parts.seed, conversation, parts.voice_name, parts.intensity, parts.rate]
    asked, corrected = [parts.query, *settings], [parts.emotion, parts.transcript, *settings]
    running = [
        parts.query.stop_recording(handlers.respond, asked, **answering),
        parts.query.upload(handlers.respond, asked, **answering),
        parts.send.click(handlers.respond, asked, js=_once("send"), **answering),
        parts.again.click(handlers.again, corrected, **answering),
        parts.transcript.submit(handlers.again, corrected, **answering),
    ]
    for button, file in parts.examples:
        chosen = button.click(lambda file=str(file): file, None, parts.query, queue=False, **HIDDEN)
        running.append(chosen.then(handlers.respond, asked, **answering))
    return running


def _with_silence() -> str:
    """Stop the sound in the browser first, then pass the inputs on to the server."""
    return "(...inputs) => { if (window.emotionOmniSilence) window.emotionOmniSilence(); return inputs; }"


def _once(element: str) -> str:
    """Disable a button for a second, so that a double click asks once."""
    return (
        f"(...inputs) => {{ const button = document.getElementById('{element}'); button.style.pointerEvents = 'none'; "
        "setTimeout(() => { button.style.pointerEvents = ''; }, 1000); return inputs; }"
    )
