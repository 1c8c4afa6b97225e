"""The page, served and opened in a real browser: fixtures with the scope of a module.

Enable them with ``pytest_plugins = ("browsers",)``. ``served`` is the address of a page on ``studio``, ``blocks`` its
Gradio app; ``browser`` is Chromium with a fake microphone that records ``clip``. Tests wait for lasting states (the
row of a finished upload), not for passing ones and not for a fixed time.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from conftest import tone

import app
from annotation.studio import Studio
from annotation.ui.engine_pool import EnginePool
from emotion_omni import engine
from emotion_omni.fake import FakeEngine

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class SlowEngine(FakeEngine):
    """The fake with a pause between its pieces, so that a test can interrupt it, on a busy machine too."""

    PAUSE_SECONDS = 1.5
    closed = threading.Event()

    def respond(self, turn, *, seed=0):
        try:
            for event in super().respond(turn, seed=seed):
                yield event
                time.sleep(self.PAUSE_SECONDS)
        finally:
            self.closed.set()


def load(name: str) -> engine.Engine:
    return SlowEngine() if name.startswith("embedded") else engine.load(name)


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    opened = Studio.open(tmp_path_factory.mktemp("home"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def blocks(studio):
    return app.build(EnginePool(load), "fake", studio)


@pytest.fixture(scope="module")
def served(studio, blocks) -> Iterator[str]:
    _, url, _ = blocks.queue(default_concurrency_limit=1).launch(
        prevent_thread_lock=True, quiet=True, **app.launch_options(studio)
    )
    yield url.rstrip("/")
    blocks.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "private name.wav"
    soundfile.write(path, tone(2.0).samples, 16_000)
    return path


@pytest.fixture(scope="module")
def browser(clip):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install the package chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    flags = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={clip}",
        "--disable-background-networking",
        "--host-resolver-rules=MAP *.test 127.0.0.1",  # names that do not count as this machine
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def closed() -> threading.Event:
    """Set once the slow engine, which this page offers as "embedded", has been closed."""
    SlowEngine.closed.clear()
    return SlowEngine.closed
