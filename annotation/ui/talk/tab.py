"""The Talk tab: speak hands-free, see what was heard and how, correct it, hear the answer.

The page's own script (``client/``) draws it and talks to :mod:`annotation.realtime`: over a WebSocket, or through
:class:`QueueLine` where there is none. Nothing is stored; sound stays in the browser and, of the last turn, in memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from annotation import rating
from annotation.realtime.engine_pool import menu
from annotation.realtime.routes import EXAMPLES
from annotation.realtime.session import Service
from annotation.studio import Studio
from annotation.ui import model_report
from annotation.ui.talk import api, contribute
from annotation.ui.talk.queue_line import QueueLine
from emotion_omni import emotion
from emotion_omni.engine import offered_voices

CLIENT = Path(__file__).parent / "client"
STYLE = CLIENT / "talk.css"
SCRIPTS = (  # joined in this order, after the rating client's way of making elements
    *("microphone", "speaker", "line", "charts", "conversation", "settings", "kept", "talk"),
)


def script() -> str:
    """The tab's script, for the head of the page."""
    files = [Path(rating.__file__).parent / "client" / "elements.js", *(CLIENT / f"{name}.js" for name in SCRIPTS)]
    parts = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return f"<script>\n(() => {{\n'use strict';\n{parts}\n}})();\n</script>"


def build(service: Service, studio: Studio) -> None:
    """Draw the tab inside the current ``gr.Blocks``."""
    place = gr.HTML(
        value="null",
        html_template='<div class="talk-place"></div>',
        elem_id="talk",
        container=False,
        padding=False,
        js_on_load=(
            f"window.EmotionOmniTalk.mount(element.querySelector('.talk-place'), {settings(service)}, "
            "{element, props, trigger, watch});"
        ),
        apply_default_css=False,
    )
    place.submit(
        QueueLine(service).answer,
        place,
        place,
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_id="inference",
        concurrency_limit=service.queue.capacity + 1,
    )
    contribute.build(studio, service.conversations)
    api.build(service)


def settings(service: Service) -> str:
    """What the script has to know, as JSON."""
    known: dict[str, Any] = {
        "engines": menu(service.default_engine),
        "voices": [[label, name] for label, name in offered_voices() if name],
        "reports": {name: model_report.link(name) for name in menu(service.default_engine)},  # HTML, escaped
        "emotions": {one.name: one.colour for one in emotion.TABLE},
        "examples": [{"name": file.name, "title": _title(file)} for file in sorted(EXAMPLES.glob("*.wav"))],
    }
    return json.dumps(known).replace("<", "\\u003c")


def _title(file: Path) -> str:
    return file.stem.split("-")[-1].replace("_", " ").capitalize()
