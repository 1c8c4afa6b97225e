"""The three rating tabs. Each holds the rater's page (``rating/client/``), which calls ``/studio`` directly.

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
STYLES = [FOLDER / "style.css", CLIENT / "rating.css", FOLDER / "plots" / "plots.css"]
# A phone is too narrow for both margins. In a style sheet Gradio would look for this frame inside the page's content.
MARGINS = "<style>@media (max-width: 640px) { .gradio-container > .main { padding-inline: .5rem !important; } }</style>"
SCRIPTS = (  # joined in this order
    *("text", "elements", "draft", "api", "player", "playback_report", "form", "dialog", "keyboard"),
    *("app", "start", "screens", "item", "saving", "page"),
)


def script() -> str:
    """The rater's page as one script, for the head of the page."""
    parts = "\n".join((CLIENT / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    tabs = (FOLDER / "tabs.js").read_text(encoding="utf-8")
    return f"{MARGINS}<script>\n(() => {{\n'use strict';\n{parts}\n}})();\n{tabs}</script>"


def build(tab: str) -> None:
    """Draw one rating tab inside the current ``gr.Blocks``."""
    gr.HTML(
        value="",
        html_template='<div class="rating-place" aria-live="off"></div>',
        elem_id=f"rate-{tab}",
        container=False,
        padding=False,
        js_on_load=f"window.EmotionOmniRating.mount(element, '{tab}');",
        apply_default_css=False,
    )
