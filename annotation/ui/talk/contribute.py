"""Give a turn to research, and delete it again. A part of the Talk tab.

Nothing is stored without a tick and a press, for each turn anew. On a public Space this is offered only
if its owner has set ``STUDIO_SAVE_TURNS=1``.
"""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from annotation.studio import Studio
from annotation.study import live_turns
from annotation.study.producing import Answer
from annotation.study.rules import Study
from annotation.ui.access import explained
from annotation.ui.talk.conversation import ChatTurn, Conversation
from emotion_omni import audio
from emotion_omni.types import EmotionOmniError, Heard

WHAT = """
Stored are: **your recording**, what was heard in it, your corrections, and the reply with its settings and timings.
Raters of this studio may hear them, and they may become part of a research dataset. You get a code to delete everything
again.
"""
AGREE = "I am the speaker (18 or older), nobody else can be recognised, and I agree that this turn is stored."


class Handlers:
    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def studies(self) -> list[tuple[str, str]]:
        """Where a turn can go: (title, id), the collection of live turns first."""
        with self.studio.store.read() as view:
            rows = view.studies()
        named = [
            (row["settings"]["title"], row["id"])
            for row in rows
            if row["state"] != "closed"
            and not row["id"].startswith(("practice-", live_turns.LIVE))
            and _takes_turns(Study.read(row["settings"]))
        ]
        return [("Live turns", ""), *named]

    def save(self, conversation: Conversation, agreed: bool, study: str | None) -> tuple[str, object]:
        """Store the last turn → (message, the code that deletes it)."""
        if not offered():
            raise EmotionOmniError("This Space does not store turns.", "forbidden")
        if not agreed:
            raise EmotionOmniError("Tick the box first: without your agreement nothing is stored.", "no-consent")
        if (study or "") not in [name for _, name in self.studies()]:
            raise EmotionOmniError("This study does not take turns. Choose one of the list.", "not-found")
        turn = conversation.turns[-1] if conversation.turns else None
        if turn is None or turn.heard is None or turn.recognized is None or not turn.timings:
            raise EmotionOmniError("There is no finished turn yet. Record something and wait for the reply.", "missing")
        answer = _answer(turn, turn.recognized)
        corrections = _corrections(turn.heard, turn.recognized, turn.corrected)
        store, clips = self.studio.store, self.studio.clips
        code = live_turns.save_turn(store, clips, turn.query, answer, corrections, study or "")
        message = "Saved. Thank you. Keep this code: only with it can the turn be deleted."
        return message, gr.update(value=code)

    def take_back(self, code: str) -> str:
        """Delete the turn that was stored under ``code``."""
        self.studio.withdraw_voice((code or "").strip())
        return "Deleted: the recording, the reply and everything that was stored about them."


def _takes_turns(rules: Study) -> bool:
    """A turn has a single answer, so nothing can be compared; and a study by invitation must not show its title."""
    return rules.template != "compare" and rules.access == "open" and rules.takes_turns


def offered() -> bool:
    return not os.environ.get("SPACE_ID") or os.environ.get("STUDIO_SAVE_TURNS") == "1"


def _answer(turn: ChatTurn, recognized: Heard) -> Answer:
    """Without the earlier turns: the speaker agreed to this one alone."""
    speech = audio.join(turn.sounds) if turn.sounds else None
    return Answer(turn.engine, recognized, turn.planned, turn.reply.strip(), speech, turn.seed, turn.timings, turn.plan)


def _corrections(heard: Heard, recognized: Heard, emotion_corrected: bool) -> dict[str, str]:
    """What the speaker corrected. The label counts even if it is the model's own: the speaker has confirmed it."""
    corrections = {}
    if emotion_corrected:
        corrections["emotion"] = heard.emotion.label
    if heard.transcript != recognized.transcript:
        corrections["transcript"] = heard.transcript
    return corrections


def build(studio: Studio, conversation: gr.State) -> None:
    """Draw it inside the current ``gr.Blocks``, where it is offered."""
    if not offered():
        return
    handlers = Handlers(studio)
    with gr.Accordion("Give this turn to research", open=False, elem_id="donate"):
        gr.Markdown(WHAT)
        agreed = gr.Checkbox(False, label=AGREE, elem_id="donate-agree")
        study = gr.Dropdown(handlers.studies(), value="", label="For", elem_id="donate-study")
        save = gr.Button("Save the last turn", elem_id="donate-save")
        message = gr.Markdown("", elem_id="donate-said")
        code = gr.Textbox(label="Code to delete it", buttons=["copy"], elem_id="donate-code")
        back = gr.Button("Delete the turn of this code", elem_id="donate-delete")
    private: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "minimal",
        "concurrency_id": "donate",
        "concurrency_limit": 4,
    }
    save.click(explained(handlers.save), [conversation, agreed, study], [message, code], **private).then(
        lambda: False, None, agreed, api_visibility="private", queue=False
    )
    back.click(explained(handlers.take_back), code, message, **private)
    study.focus(lambda: gr.update(choices=handlers.studies()), None, study, api_visibility="private", queue=False)
