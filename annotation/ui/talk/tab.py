"""The Talk tab: speak, see what was heard and how, correct it, hear the answer.

Handlers first (no layout), then the layout, then the wiring. A conversation lives in the visitor's
session alone: nothing is stored, and its sound files go when it ends.
"""

from __future__ import annotations

import html
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from annotation.studio import Studio
from annotation.ui.talk import charts, player
from annotation.ui.talk import contribute as donate
from emotion_omni import audio, emotion, engine
from emotion_omni.types import Audio, Done, EmotionOmniError, Exchange, Heard, Plan, Speech, Text, Turn

log = logging.getLogger(__name__)

EXAMPLES = Path(__file__).parents[3] / "assets" / "examples"
LONGEST_WORDS = 600  # the browser's own limit binds nobody
PLACES = 12  # visitors who may wait for an answer at once; the next is asked to come back
REMEMBERED_TURNS = 40  # of one conversation on the page; older ones scroll out of memory
NOTHING_HEARD = '<div class="empty">Nothing heard yet. Record a sentence, or try an example.</div>'
WELCOME = "Say something, in any tone. I listen to the words and to the voice, and answer both."


class Engines:
    """Engines by name, each loaded once, when first wanted.

    Only those that are offered, and ``also``: a name may hold a folder or a hub id, and visitors choose neither.
    """

    def __init__(self, load: Callable[[str], engine.Engine] = engine.load, also: str = "") -> None:
        self._load, self._also = load, also
        self._locks: dict[str, threading.Lock] = {}  # one each: a long download keeps nobody else waiting
        self._ready: dict[str, engine.Engine] = {}

    def get(self, name: str) -> engine.Engine:
        if name != self._also and name not in self._ready and name not in engine.offered():
            raise EmotionOmniError(
                f"The engine {name!r} is not offered here. Choose one of: {', '.join(engine.offered())}.",
                "unknown-engine",
            )
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._ready:
                self._ready[name] = self._load(name)
            return self._ready[name]

    def is_ready(self, name: str) -> bool:
        return name in self._ready


class Line:
    """One visitor is answered at a time; so many may wait; who finds it full is told so, at once."""

    def __init__(self, places: int = PLACES) -> None:
        self.places = places
        self._seats, self._served = threading.BoundedSemaphore(places), threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        if not self._seats.acquire(blocking=False):
            raise EmotionOmniError(
                f"Many people are talking to me right now ({self.places} are in line). Your recording is kept: "
                "please send it again in a minute.",
                "full",
            )
        try:
            with self._served:
                yield
        finally:
            self._seats.release()


@dataclass
class Spoken:
    """One turn on the page."""

    query: Audio
    query_file: str
    upload: str = ""  # as the browser sent it; deleted once the turn is answered
    heard: Heard | None = None
    planned: str = ""
    reply: str = ""
    sounds: list[Audio] = field(default_factory=list)
    reply_file: str = ""
    corrected: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    believed: Heard | None = None  # what the model itself heard, before any correction
    engine: str = ""
    seed: int = 0

    def exchange(self) -> Exchange:
        return Exchange(self.heard.transcript, self.heard.emotion.label, self.reply.strip(), self.planned)


@dataclass
class Conversation:
    """What one visitor has said and was answered, newest last. ``identity`` tells the player which turn it plays."""

    turns: list[Spoken] = field(default_factory=list)
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)

    def earlier(self) -> tuple[Exchange, ...]:
        return tuple(turn.exchange() for turn in self.turns if turn.heard and turn.reply)

    def forget(self) -> None:
        """Delete every sound of it."""
        for turn in self.turns:
            for file in (turn.query_file, turn.reply_file, turn.upload):
                _delete(file)
        self.turns = []


@dataclass
class View:
    """What the page shows, in the order of :func:`outputs_of`. ``None`` leaves a part as it is."""

    chat: list[dict] | None = None
    voice: str | None = None
    heard: str | None = None
    tone: Any = None
    words: Any = None
    plan: str | None = None
    timings: str | None = None
    status: str | None = None
    query: Any = None
    again: Any = None

    def values(self, conversation: Conversation) -> list[Any]:
        shown = [
            self.chat,
            self.voice,
            self.heard,
            self.tone,
            self.words,
            self.plan,
            self.timings,
            self.status,
            self.query,
            self.again,
        ]
        return [gr.skip() if value is None else value for value in shown] + [conversation]


# --- handlers ---------------------------------------------------------------------------------------------------


class Handlers:
    """The page's behaviour, free of layout: called by the events, the API and the tests alike."""

    def __init__(self, engines: Engines, line: Line) -> None:
        self.engines, self.line = engines, line

    def respond(
        self, path: str | None, name: str, seed: float | None, conversation: Conversation
    ) -> Iterator[list[Any]]:
        """A new recording → the page, step by step. A recording that cannot be used stays in its box."""
        if not path:
            yield View(status=_alert("There is no recording yet. Press the microphone and speak.")).values(conversation)
            return
        try:
            query = audio.decode(path)
        except EmotionOmniError as error:
            yield View(status=_alert(str(error))).values(conversation)
            return
        turn = Spoken(query, _keep(query), upload=path)
        yield from self._answer(turn, Turn(query), name, seed, conversation)

    def again(
        self, tone: str | None, words: str | None, name: str, seed: float | None, conversation: Conversation
    ) -> Iterator[list[Any]]:
        """The last turn once more, with what the visitor has corrected."""
        words = words and words[:LONGEST_WORDS]
        if not conversation.turns:
            yield View(status=_alert("There is nothing to answer again yet. Record something first.")).values(
                conversation
            )
            return
        last = conversation.turns[-1]
        changed_tone = tone if last.heard is None or tone != last.heard.emotion.label or last.corrected else None
        changed_words = words if last.heard is None or (words or "").strip() != last.heard.transcript else None
        query = Turn(last.query, transcript=changed_words, emotion=changed_tone)
        kept = replace(last, heard=None, reply="", sounds=[], reply_file="", corrected=changed_tone is not None)
        yield from self._answer(kept, query, name, seed, conversation, instead_of=last)

    def forget(self, conversation: Conversation) -> list[Any]:
        """A new conversation: the old one is deleted."""
        conversation.forget()
        fresh = Conversation()
        view = View(
            [],
            player.message("clear", fresh.identity),
            NOTHING_HEARD,
            gr.update(value=None, interactive=False),
            gr.update(value="", interactive=False),
            "",
            "",
            "",
            gr.update(value=None),
            gr.update(interactive=False),
        )
        return view.values(fresh)

    def stopped(self, conversation: Conversation) -> list[Any]:
        """After a stop: what was said so far stays in the conversation."""
        return View(voice=player.message("stop", conversation.identity), status="").values(conversation)

    def _answer(
        self,
        turn: Spoken,
        query: Turn,
        name: str,
        seed: float | None,
        conversation: Conversation,
        instead_of: Spoken | None = None,
    ) -> Iterator[list[Any]]:
        """Run the engine and show each event. Until something is heard, the conversation is left as it was."""
        before = [other for other in conversation.turns if other is not instead_of]
        turn.engine, turn.seed = name, int(seed or 0)
        shown = Conversation(before[-REMEMBERED_TURNS:] + [turn])
        waiting = (
            "Listening…" if self.engines.is_ready(name) else "Waking up the model. The first time this takes a moment…"
        )
        thinking = player.message("think", shown.identity)
        yield View(_chat(shown), thinking, status=_busy(waiting)).values(conversation)
        try:
            chosen = self.engines.get(
                name
            )  # before the line: who waits for a download keeps nobody from being answered
            with self.line.turn():
                earlier = Conversation(before).earlier()
                events = chosen.respond(replace(query, earlier=earlier), seed=int(seed or 0))
                with _closing(events):
                    for event in events:
                        view = self._show(event, turn, shown)
                        yield view.values(shown)
        except EmotionOmniError as error:
            yield self._failed(str(error), shown, conversation)
        except Exception:  # whatever it was, the page must not go on saying that it listens
            log.exception("The %s engine failed.", name)
            said = "Something went wrong while answering; what it was is in the log of this app. Your recording is kept: send it again."
            yield self._failed(said, shown, conversation)

    def _failed(self, message: str, shown: Conversation, conversation: Conversation) -> list[Any]:
        return View(_chat(conversation), player.message("stop", shown.identity), status=_alert(message)).values(
            conversation
        )

    def _show(self, event: Any, turn: Spoken, shown: Conversation) -> View:
        match event:
            case Heard():
                turn.heard = event
                turn.believed = turn.believed or event
                panel = charts.heard_chart(event.emotion, event.trajectory, turn.corrected)
                return View(
                    _chat(shown),
                    heard=panel,
                    tone=gr.update(value=event.emotion.label, interactive=True),
                    words=gr.update(value=event.transcript, interactive=True),
                    status=_busy("Thinking…"),
                    again=gr.update(interactive=True),
                )
            case Plan():
                turn.planned = event.emotion
                return View(plan=_plan(event.emotion))
            case Text():
                turn.reply += event.piece
                return View(_chat(shown), status="")
            case Speech():
                turn.sounds.append(event.audio)
                return View(
                    voice=player.speaking(shown.identity, [player.encoded(sound) for sound in turn.sounds], False)
                )
            case Done():
                turn.timings = dict(event.timings)
                _delete(turn.upload)
                pieces = [player.encoded(sound) for sound in turn.sounds]
                turn.reply_file = _keep(audio.join(turn.sounds)) if turn.sounds else ""
                return View(
                    _chat(shown),
                    player.speaking(shown.identity, pieces, True),
                    status="",
                    timings=charts.timings_table(turn.timings),
                    query=gr.update(value=None),
                )
        raise TypeError(f"An engine yielded {type(event).__name__}, which is no event.")

    def api(
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
            earlier = tuple(
                Exchange(str(item["transcript"]), emotion.find(item["heard"]).name, str(item["reply"]))
                for item in history or []
            )
            turn = Turn(
                audio.decode(path or ""),
                earlier[-REMEMBERED_TURNS:],
                words[:LONGEST_WORDS] if words else None,
                tone or None,
            )
            spoken = Spoken(turn.audio, "")
            chosen = self.engines.get(name)
            with self.line.turn():
                for event in chosen.respond(turn, seed=int(seed or 0)):
                    self._show(event, spoken, Conversation())
        except EmotionOmniError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise gr.Error(
                'history must be a list of {"transcript", "heard", "reply"}.', print_exception=False
            ) from error
        felt = spoken.heard.emotion
        result = {
            "transcript": spoken.heard.transcript,
            "heard": {
                "label": felt.label,
                "probabilities": dict(felt.probabilities),
                "valence": felt.valence,
                "arousal": felt.arousal,
            },
            "reply": {"text": spoken.reply.strip(), "emotion": spoken.planned},
            "timings": spoken.timings,
        }
        return result, spoken.reply_file


@contextmanager
def _closing(events: Iterator) -> Iterator[None]:
    """Abandoned half-way (Stop, a closed page), the engine must hear of it at once."""
    try:
        yield
    finally:
        with suppress(AttributeError):
            events.close()


def _keep(sound: Audio) -> str:
    """A WAV file under a name that tells nothing, in the folder that Gradio serves and cleans."""
    target = Path(get_upload_folder()) / uuid.uuid4().hex / "sound.wav"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(audio.wav_bytes(sound))
    return str(target)


def _delete(file: str) -> None:
    """Only ever inside the folder of uploads, whatever the name says."""
    if file and Path(file).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        Path(file).unlink(missing_ok=True)


def _chat(conversation: Conversation) -> list[dict]:
    messages: list[dict] = []
    for turn in conversation.turns:
        messages.append({"role": "user", "content": {"path": turn.query_file, "alt_text": "Your recording"}})
        if turn.heard:
            messages.append({"role": "user", "content": html.escape(turn.heard.transcript, quote=False)})
        if turn.reply:
            messages.append({"role": "assistant", "content": html.escape(turn.reply.strip(), quote=False)})
        if turn.reply_file:
            messages.append({"role": "assistant", "content": {"path": turn.reply_file, "alt_text": "The spoken reply"}})
    return messages


def _plan(label: str) -> str:
    colour = emotion.find(label).colour
    return f'<div class="plan"><span class="plan-dot" style="background:{colour}"></span>Answers in a <b>{label}</b> voice</div>'


def _alert(message: str) -> str:
    return f'<div class="status alert" role="alert">{html.escape(message)}</div>'


def _busy(message: str) -> str:
    return f'<div class="status busy" role="status">{html.escape(message)}</div>'


# --- layout and wiring ------------------------------------------------------------------------------------------


def menu(default_engine: str) -> list[str]:
    """The engines to choose from, the first of them chosen."""
    return list(dict.fromkeys([default_engine, *engine.offered()]))


def build(engines: Engines, default_engine: str, studio: Studio) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    handlers = Handlers(engines, Line())
    conversation = gr.State(lambda: Conversation(), time_to_live=3600, delete_callback=lambda gone: gone.forget())

    with gr.Row(elem_classes="talk"):
        with gr.Column(scale=3, min_width=320):
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
                examples = [
                    (gr.Button(_title(file), size="sm", min_width=70), file) for file in sorted(EXAMPLES.glob("*.wav"))
                ]
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### What I heard")
            heard = gr.HTML(NOTHING_HEARD, elem_id="heard", container=False)
            plan = gr.HTML("", elem_id="plan", container=False)
            with gr.Group():
                tone = gr.Dropdown(
                    list(emotion.NAMES),
                    value=None,
                    label="Tone",
                    info="Wrong? Choose the right one.",
                    interactive=False,
                    elem_id="tone",
                )
                words = gr.Textbox(
                    label="Words",
                    info="Misheard? Correct them.",
                    lines=2,
                    max_length=600,
                    interactive=False,
                    elem_id="words",
                )
                again = gr.Button("Answer again", interactive=False, elem_id="again")
            with gr.Accordion("Settings", open=False):
                name = gr.Dropdown(
                    menu(default_engine),
                    value=default_engine,
                    label="Engine",
                    elem_id="engine",
                    info="fake answers without a model; it is for testing the page.",
                )
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
                timings = gr.HTML(
                    '<div class="empty">After the first answer.</div>', elem_id="timings", container=False
                )
            donate.build(studio, conversation)
            gr.Markdown(
                "Unless you give a turn to research, nothing you say is stored: recordings go with the conversation.",
                elem_classes="privacy",
            )

    outputs = [chat, voice, heard, tone, words, plan, timings, status, query, again, conversation]
    shared = {
        "outputs": outputs,
        "concurrency_id": "inference",
        "concurrency_limit": PLACES + 1,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    asked = [query, name, seed, conversation]
    running = [
        query.stop_recording(handlers.respond, asked, **shared),
        query.upload(handlers.respond, asked, **shared),
        send.click(handlers.respond, asked, **shared, js=_once("send")),
        again.click(handlers.again, [tone, words, name, seed, conversation], **shared),
        words.submit(handlers.again, [tone, words, name, seed, conversation], **shared),
    ]
    for button, file in examples:
        chosen = button.click(
            lambda file=str(file): file, None, query, show_progress="hidden", api_visibility="private", queue=False
        )
        running.append(chosen.then(handlers.respond, asked, **shared))
    interrupted = {
        "inputs": conversation,
        "outputs": outputs,
        "cancels": running,
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
        "js": _with_silence(),
    }
    stop.click(handlers.stopped, **interrupted)
    query.start_recording(handlers.stopped, **interrupted)  # barge-in
    fresh.click(handlers.forget, **interrupted)
    chat.clear(handlers.forget, **interrupted)
    # a checkpoint that was trained or pulled since the page was served
    name.focus(
        lambda: gr.update(choices=menu(default_engine)),
        None,
        name,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    _wire_api(handlers, default_engine)


def _wire_api(handlers: Handlers, default_engine: str) -> None:
    """``/talk`` for gradio_client: a recording and settings in, JSON and a WAV file out."""
    with gr.Column(visible=False):
        inputs = [
            gr.Audio(type="filepath", label="audio"),
            gr.Textbox(default_engine, label="engine"),
            gr.Number(0, label="seed"),
            gr.Textbox(label="emotion"),
            gr.Textbox(label="transcript"),
            gr.JSON(label="history"),
        ]
        outputs = [gr.JSON(label="result"), gr.Audio(type="filepath", label="reply")]
        gr.Button().click(handlers.api, inputs, outputs, api_name="talk", concurrency_id="inference")


def _title(file: Path) -> str:
    return file.stem.split("-")[-1].replace("_", " ").capitalize()


def _with_silence() -> str:
    """Stop the sound in the browser first, then pass the inputs on to the server."""
    return "(...inputs) => { if (window.emotionOmniSilence) window.emotionOmniSilence(); return inputs; }"


def _once(element: str) -> str:
    """Block a button for a second, so that a double click asks once."""
    return (
        f"(...inputs) => {{ const button = document.getElementById('{element}'); button.style.pointerEvents = 'none'; "
        "setTimeout(() => { button.style.pointerEvents = ''; }, 1000); return inputs; }"
    )
