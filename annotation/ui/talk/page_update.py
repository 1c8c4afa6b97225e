"""What one step of an answer changes on the page. Knows the components' values, not their layout."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from annotation.ui.talk import charts, player
from annotation.ui.talk.conversation import ChatTurn, Conversation
from emotion_omni import emotion
from emotion_omni.types import NO_WORDS, Done, Event, Heard, Plan, Speech, Text

NOTHING_HEARD = '<div class="empty">Nothing heard yet. Record a sentence, or try an example.</div>'
CONFLICT = "Your words say one thing and your tone another, so the answer asks."
NO_WORDS_HINT = "No words made out. Write what was said, or record again."


@dataclass
class PageUpdate:
    """New values, one for each output of the tab, in this order. ``None`` leaves a component as it is."""

    chat: list[dict] | None = None
    voice: str | None = None
    heard: str | None = None
    emotion: Any = None
    transcript: Any = None
    plan: str | None = None
    timings: str | None = None
    status: str | None = None
    query: Any = None
    again: Any = None

    def values(self, conversation: Conversation) -> list[Any]:
        """What a Gradio handler returns: these values, then the state."""
        return [gr.skip() if value is None else value for value in vars(self).values()] + [conversation]


def after(event: Event, turn: ChatTurn, shown: Conversation) -> PageUpdate:
    """The update after ``turn``, the last one of ``shown``, has recorded ``event``."""
    match event:
        case Heard():
            return PageUpdate(
                chat_messages(shown),
                heard=charts.heard_chart(event, turn.corrected, turn.known_turns),
                emotion=gr.update(value=event.emotion.label, interactive=True),
                transcript=gr.update(
                    value=event.transcript, placeholder="" if event.transcript else NO_WORDS_HINT, interactive=True
                ),
                status=busy("Thinking…"),
                again=gr.update(interactive=True),
            )
        case Plan():
            return PageUpdate(plan=_plan(event))
        case Text():
            return PageUpdate(chat_messages(shown), status="")
        case Speech():
            return PageUpdate(voice=_speech(turn, shown, done=False))
        case Done():
            return PageUpdate(
                chat_messages(shown),
                _speech(turn, shown, done=True),
                timings=charts.timings_table(turn.timings),
                status="",
                query=gr.update(value=None),
            )
    raise TypeError(f"There is no update for {type(event).__name__}.")


def started(shown: Conversation, ready: bool) -> PageUpdate:
    """Before the first event. ``ready``: whether the engine is loaded."""
    waiting = "Listening…" if ready else "Loading the model. The first time this takes a moment…"
    return PageUpdate(chat_messages(shown), player.message("think", shown.identity), status=busy(waiting))


def standing_in(shown: Conversation) -> PageUpdate:
    """Where a smaller engine answers this turn."""
    waiting = "Listening… The larger language model is still being prepared; a smaller one answers this turn."
    return PageUpdate(chat_messages(shown), status=busy(waiting))


def failed(message: str, shown: Conversation, kept: Conversation) -> PageUpdate:
    """The answer failed: the chat goes back to ``kept``, and the player of ``shown`` stops."""
    return PageUpdate(chat_messages(kept), player.message("stop", shown.identity), status=alert(message))


def emptied(fresh: Conversation) -> PageUpdate:
    """A new conversation."""
    return PageUpdate(
        chat=[],
        voice=player.message("clear", fresh.identity),
        heard=NOTHING_HEARD,
        emotion=gr.update(value=None, interactive=False),
        transcript=gr.update(value="", placeholder="", interactive=False),
        plan="",
        timings="",
        status="",
        query=gr.update(value=None),
        again=gr.update(interactive=False),
    )


def chat_messages(conversation: Conversation) -> list[dict]:
    """The conversation for ``gr.Chatbot``. All words are escaped: the component renders HTML."""
    messages: list[dict] = []
    for turn in conversation.turns:
        messages.append({"role": "user", "content": {"path": turn.query_file, "alt_text": "Your recording"}})
        if turn.heard:
            words = turn.heard.transcript or NO_WORDS
            messages.append({"role": "user", "content": html.escape(words, quote=False)})
        if turn.reply:
            messages.append({"role": "assistant", "content": html.escape(turn.reply.strip(), quote=False)})
        if turn.reply_file:
            messages.append({"role": "assistant", "content": {"path": turn.reply_file, "alt_text": "The spoken reply"}})
    return messages


def alert(message: str) -> str:
    return f'<div class="status alert" role="alert">{html.escape(message)}</div>'


def busy(message: str) -> str:
    return f'<div class="status busy" role="status">{html.escape(message)}</div>'


def _speech(turn: ChatTurn, shown: Conversation, done: bool) -> str:
    return player.speaking(shown.identity, [player.encoded(sound) for sound in turn.sounds], done)


def _plan(plan: Plan) -> str:
    color = emotion.find(plan.emotion).colour
    conflict = f'<p class="heard-sub">{CONFLICT}</p>' if plan.conflict else ""
    return (
        f'<div class="plan"><span class="plan-dot" style="background:{color}"></span>'
        f"<span>Answers in a <b>{plan.emotion}</b> voice</span></div>{conflict}"
    )
