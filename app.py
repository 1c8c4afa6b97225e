"""Composes engines, studio and tabs, and serves the page: ``python app.py``, then open the printed address."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from annotation.people.hub_sign_in import oauth_is_on
from annotation.rating.public_address import declared_address, trusted_proxies
from annotation.rating.routes import public_address, routes
from annotation.realtime import routes as realtime
from annotation.realtime.engine_pool import EnginePool
from annotation.realtime.session import Service
from annotation.studio import Studio
from annotation.ui import model_report, people, rate, results, studies
from annotation.ui.body_limits import BodyLimits
from annotation.ui.last_slash import LastSlash
from annotation.ui.talk import tab as talk
from emotion_omni import engine, processors, zero_gpu
from emotion_omni.types import EmotionOmniError

TITLE = "Emotion Omni Studio"
SUBTITLE = "It hears what you say and how you say it, and answers both."
LARGEST_UPLOAD = "64mb"
DELETE_CACHE = (600, 3600)  # seconds: every ten minutes, uploads older than an hour are deleted


def rating_only() -> bool:
    """``STUDIO_RATING_ONLY=1``: for a listening test. No model is fetched, and there is no Talk tab."""
    return os.environ.get("STUDIO_RATING_ONLY") == "1"


def build(service: Service, studio: Studio) -> gr.Blocks:
    with gr.Blocks(title=TITLE, delete_cache=DELETE_CACHE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\n{SUBTITLE}")
        if oauth_is_on():
            gr.LoginButton()  # also adds the sign-in routes; it protects nothing, so every handler checks
        with gr.Tabs(elem_id="tabs"):
            if not rating_only():
                with gr.Tab("Talk", id="talk", elem_id="tab-talk"):
                    talk.build(service, studio)
            for name, title in rate.TITLES.items():
                with gr.Tab(title, id=name, elem_id=f"tab-{name}"):
                    rate.build(name)
            with gr.Tab("Studies", id="studies", elem_id="tab-studies"):
                studies.build(studio, service.engines, page)
            with gr.Tab("Results", id="results", elem_id="tab-results") as tab:
                results.build(studio, page, tab)
            with gr.Tab("People", id="people", elem_id="tab-people") as tab:
                people.build(studio, page, tab)
    return page


async def _closed(_: Request) -> Response:
    """Replaces the route of Gradio's video editor, which would accept files from anybody."""
    return Response(status_code=404)


def launch_options(service: Service, studio: Studio) -> dict:
    """Arguments of ``launch``: no run history in the browser, no other host, our routes beside the page."""
    closed = Route("/gradio_api/process_recording", _closed, methods=["POST"])
    talking = [] if rating_only() else [Mount("/v1", app=realtime.routes(service, studio)), model_report.ROUTE]
    limited = Middleware(BodyLimits, studio=studio, researchers_only=rating_only())
    return {
        "theme": gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "css_paths": [*rate.STYLES, talk.STYLE],
        "head": rate.script() + ("" if rating_only() else talk.script()),
        "max_file_size": LARGEST_UPLOAD,
        "footer_links": [],
        "run_history": False,
        "blocked_paths": [str(studio.home.resolve())],
        "enable_monitoring": False,
        "root_path": "",  # settled by public_address() alone; Gradio would overwrite the path of a mount with it
        "app_kwargs": {
            "routes": [Mount("/studio", app=routes(studio)), *talking, closed],
            "middleware": [public_address(realtime.OWN_PATHS), Middleware(LastSlash), limited],
        },
    }


def main(
    host: str | None = None, port: int | None = None, default_engine: str | None = None, root_path: str | None = None
) -> None:
    """``root_path``: the path or the address under which a proxy serves the app; default: GRADIO_ROOT_PATH."""
    if root_path is not None:
        os.environ["GRADIO_ROOT_PATH"] = root_path
    address, _ = declared_address(), trusted_proxies()  # what is set wrongly is refused before anything is opened
    default_engine = engine.public(default_engine or engine.default())
    processors.disable_thread_spinning()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")  # uvicorn would believe the headers of any local proxy
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    studio = Studio.open(connected=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that a Space finishes its backup before it sleeps
    engines = EnginePool(also=default_engine)
    if zero_gpu.on_loan():
        zero_gpu.begin()
        if not rating_only():
            _warm_up(engines, default_engine)  # in the main thread, or the engine would have no GPU
    elif not rating_only():
        threading.Thread(target=_warm_up, args=(engines, default_engine), daemon=True).start()
    service = Service(engines, default_engine)
    page = build(service, studio).queue(default_concurrency_limit=1, max_size=64)
    _, url, _ = page.launch(
        server_name=host, server_port=port, prevent_thread_lock=True, **launch_options(service, studio)
    )
    if not os.environ.get("SPACE_ID"):
        token = studio.people.invites.create_for_machine()
        message = (
            "To create studies and see results, sign in as admin (this link works once, within 24 hours):\n"
            f"  {address or url.rstrip('/')}/#invite={token}"
        )
        print(message, file=sys.stderr, flush=True)
    try:
        page.block_thread()
    finally:
        studio.close()


def _warm_up(engines: EnginePool, name: str) -> None:
    """Fetch and load the default engine before it is used."""
    size = "about 450 MB of" if name == "embedded" else "its"
    logging.info("Preparing the %s engine (the first time, %s weights are fetched) …", name, size)
    try:
        engines.get(name)
    except EmotionOmniError as error:
        logging.error("The %s engine is not ready: %s", name, error)
    except Exception:  # the page loads the engine again when it is needed, and shows the reason
        logging.exception("The %s engine is not ready. The page will show why when it is asked to answer.", name)
    else:
        logging.info("The %s engine is ready.", name)


if __name__ == "__main__":
    from emotion_omni import cli

    sys.exit(cli.main(["serve", *sys.argv[1:]]))  # its options, and its messages
