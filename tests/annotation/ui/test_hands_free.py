"""Hands-free talking in a real browser: the fake microphone plays a dialogue of five turns, with an interruption.

The recording is made on the spot from the example clips, with pauses, and with the reply mixed back in as a faint echo.
Stopping is measured at the samples that the page gives to the loudspeaker.
"""

from __future__ import annotations

from pathlib import Path

import browsers
import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES
from hands import LOAD_MS, visit

from emotion_omni import audio
from emotion_omni.fake import FakeEngine
from emotion_omni.types import Delivery

pytest_plugins = ("browsers",)
pytestmark = pytest.mark.page

HZ = 16_000
PAUSE, INTERRUPTS_AFTER = 9.0, 5.0  # seconds: a reply of 6 s ends within the first, and not within the second
REPLY_SECONDS, ECHO = 6.0, 10 ** (-40 / 20)  # what is left of the reply after echo cancellation


class LongReplies(FakeEngine):
    """The fake, whose reply is long enough to be spoken over."""

    def speak(self, text, delivery):
        for _ in range(int(REPLY_SECONDS / 2 / 0.25)):
            yield from super().speak(text, delivery)


def turn(name: str) -> np.ndarray:
    return audio.resample(audio.decode(EXAMPLES / name), HZ).samples


def dialogue() -> np.ndarray:
    """Five turns; the third one is spoken over the reply to the second."""
    names = ("4-neutral.wav", "3-angry.wav", "2-happy.wav", "1-sad.wav", "4-neutral.wav")
    pauses = (PAUSE, INTERRUPTS_AFTER, PAUSE, PAUSE, 30.0)
    (piece,) = FakeEngine().speak("[0] ", Delivery("calm"))
    echo = np.tile(piece.samples, int(REPLY_SECONDS / piece.seconds)) * np.float32(ECHO)
    parts = [np.zeros(4 * HZ, np.float32)]
    for name, pause in zip(names, pauses, strict=True):
        silence = np.random.default_rng(0).normal(0, 1e-4, int(pause * HZ)).astype(np.float32)
        silence[HZ : HZ + len(echo)] += echo[: len(silence) - HZ]
        parts += [turn(name), silence]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dialogue") / "dialogue.wav"
    soundfile.write(path, dialogue(), HZ)
    return path


@pytest.fixture(autouse=True, scope="module")
def long_replies():
    load, browsers.load = browsers.load, lambda name: LongReplies()
    yield
    browsers.load = load


WATCH = """() => {
  const app = EmotionOmniTalk.app, log = window.log = {events: [], levels: []};
  const receive = app.line.event;
  app.line.event = event => { log.events.push([performance.now(), event.type]); receive(event); };
  let watched = null;
  setInterval(() => {
    const gain = app.speaker.gain;
    if (gain && gain !== watched) {
      watched = gain;
      window.analyser = app.speaker.context.createAnalyser();
      analyser.fftSize = 256;
      gain.connect(analyser);
    }
    if (!window.analyser) return;
    const samples = new Float32Array(256);
    analyser.getFloatTimeDomainData(samples);
    log.levels.push([performance.now(), Math.max(...samples.map(Math.abs))]);
  }, 10);
}"""


def test_five_turns_without_a_touch_with_one_interruption(browser, served):
    page = browser.new_context(viewport={"width": 390, "height": 844}, permissions=["microphone"]).new_page()
    visit(page, served)
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    page.evaluate(WATCH)
    page.click(".talk-main")  # the only touch
    page.wait_for_function("document.querySelectorAll('.talk-theirs').length >= 5", timeout=120_000)
    page.wait_for_selector(".talk[data-state=listening]", timeout=60_000)
    heard = page.locator(".talk-mine p[lang]").all_inner_texts()
    assert len(heard) == 5, "the faint echo of the replies has begun no turn"
    replies = page.locator(".talk-theirs p").all_inner_texts()
    assert [reply.endswith("…") for reply in replies] == [False, True, False, False, False]
    assert "This is turn 3" in replies[2], "the interrupted turn is remembered, with what was heard of it"

    log = page.evaluate("log")
    starts = [at for at, kind in log["events"] if kind == "input_audio_buffer.speech_started"]
    sounding = [at for at, level in log["levels"] if level > 0.01 and starts[2] - 500 < at < starts[2] + 1500]
    assert sounding, "the reply was sounding when it was spoken over"
    assert max(sounding) - starts[2] < 200, "milliseconds from the news of speech to silence at the loudspeaker"
    page.context.close()
