"""The three rating tabs. Each is a place for the room (``room/``), which speaks to ``/studio`` on its own.

Nothing of a rating passes through Gradio's queue or file cache: a click never waits behind a model's
answer, and no clip is served under a name that tells what it is.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from annotation import rating

FOLDER = Path(__file__).parent
CLIENT = Path(rating.__file__).parent / "client"
TITLES = {"emotion": "Rate emotion", "empathy": "Rate empathy", "compare": "Compare"}
STYLES = [FOLDER / "style.css", CLIENT / "room.css", FOLDER / "plots" / "plots.css"]
# A phone has no room for both margins. In a stylesheet Gradio would look for this frame inside the page's own content.
MARGINS = "<style>@media (max-width: 640px) { .gradio-container > .main { padding-inline: .5rem !important; } }</style>"
SCRIPTS = ("basics", "server", "clip", "form", "room")  # in the order in which each needs the one before


def script() -> str:
    """The room, for the head of the page."""
    parts = "\n".join((CLIENT / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return f"{MARGINS}<script>\n(() => {{\n'use strict';\n{parts}\n}})();\n</script>"


def build(tab: str) -> None:
    """Draw one rating tab inside the current ``gr.Blocks``."""
    gr.HTML(
        value="",
        html_template='<div class="room-place" aria-live="off"></div>',
        elem_id=f"rate-{tab}",
        container=False,
        padding=False,
        js_on_load=f"window.EmotionOmniRoom.mount(element, '{tab}');",
        apply_default_css=False,
    )
