"""Composes the engines and the tabs, and serves them. ``python app.py``, then open the page it names."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import gradio as gr

from annotation.ui import talk
from emotion_omni import processors

TITLE = "Emotion Omni Studio"
SUBTITLE = "It hears what you say and how you say it, and answers both."
LARGEST_UPLOAD = "64mb"
FORGET = (600, 3600)  # seconds: every ten minutes, sound files older than an hour are deleted

SHORTCUTS = """
<script>
document.addEventListener('keydown', event => {
  if (event.target.closest('input, textarea, select, [contenteditable]') || event.ctrlKey || event.metaKey || event.altKey) return;
  const press = selector => { const found = document.querySelector(selector); if (found) { found.click(); event.preventDefault(); } };
  if (event.key === 'r') press('#query .record-button, #query .stop-button, #query button.record');
  if (event.key === 'Escape') press('#stop');
  if (event.key === 'n') press('#fresh');
});
</script>
"""


def on_gpu(function):
    """A Space with a shared GPU lends it by this decorator; elsewhere nothing changes."""
    try:
        import spaces
    except ImportError:
        return function
    return spaces.GPU(function)


def build(engines: talk.Engines, default_engine: str = "embedded") -> gr.Blocks:
    with gr.Blocks(title=TITLE, delete_cache=FORGET, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\n{SUBTITLE}")
        with gr.Tabs(), gr.Tab("Talk", id="talk"):
            talk.build(engines, default_engine, on_gpu)
        gr.Markdown("Keys: **R** record · **Esc** stop · **N** new conversation", elem_classes="privacy")
    return page


def launch_options() -> dict:
    """How the page is served: nothing kept in the browser, nothing fetched from elsewhere."""
    return {
        "theme": gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "css_paths": Path(talk.__file__).with_name("style.css"),
        "head": SHORTCUTS,
        "max_file_size": LARGEST_UPLOAD,
        "footer_links": [],
        "run_history": False,
    }


def main(host: str | None = None, port: int | None = None, default_engine: str = "embedded") -> None:
    processors.share_politely()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    engines = talk.Engines()
    threading.Thread(target=_warm_up, args=(engines, default_engine), daemon=True).start()
    page = build(engines, default_engine)
    page.queue(default_concurrency_limit=1, max_size=64).launch(server_name=host, server_port=port, **launch_options())


def _warm_up(engines: talk.Engines, name: str) -> None:
    """Fetch and load in the background, so that the page opens at once."""
    logging.info("Preparing the %s engine (the first time, about 440 MB of weights are fetched) …", name)
    try:
        engines.get(name)
    except Exception:
        logging.exception("The %s engine is not ready. The page will say why when it is asked to answer.", name)
    else:
        logging.info("The %s engine is ready.", name)


if __name__ == "__main__":
    main()
