"""The Talk tab in a real browser with a fake microphone, and its API through gradio_client."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import tiny_omni
from hands import LOAD_MS, visit

pytest_plugins = ("browsers",)
pytestmark = pytest.mark.page


@pytest.fixture
def page(browser, served):
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"]).new_page()
    opened.asked = []
    opened.on("request", lambda request: opened.asked.append(request.url))
    visit(opened, served)
    opened.wait_for_selector("#query .record-button", timeout=LOAD_MS)
    yield opened
    opened.context.close()


def upload(page, file: Path) -> None:
    page.click('#query [aria-label="Upload file"]')
    page.set_input_files("#query input[type=file]", str(file))


def test_a_spoken_turn_by_keyboard_alone(page):
    page.keyboard.press("r")
    page.wait_for_selector("#query .stop-button", timeout=30_000)  # the microphone is on
    page.wait_for_timeout(1500)  # this much is said
    page.keyboard.press("r")
    page.wait_for_selector("#heard .bar", timeout=30_000)
    page.wait_for_function("window.emotionOmniPlayed > 0.4", timeout=30_000)  # the reply was really sounded
    assert "seconds of sound" in page.inner_text("#chat") and "I heard" in page.inner_text("#chat")
    assert page.inner_text("#plan").startswith("Answers in a")
    page.keyboard.press("n")
    page.wait_for_selector("#heard .empty", timeout=10_000)
    assert "I heard" not in page.inner_text("#chat")


def test_an_upload_a_correction_and_another_answer(page, clip):
    upload(page, clip)
    page.wait_for_function("document.querySelector('#voice').innerText.includes('Your turn')", timeout=30_000)
    page.fill("#words textarea", "Luna ran away <img src=x onerror=alert(1)>")
    page.click("#tone input")
    page.get_by_role("option", name="fearful").click()
    page.click("#again")
    page.wait_for_function(
        "document.querySelector('#heard').innerText.includes('Fearful (you said so)')", timeout=30_000
    )
    page.wait_for_function("document.querySelector('#chat').innerText.includes('sounded fearful')", timeout=30_000)
    assert "Luna ran away <img" in page.inner_text("#chat"), "words are shown as words, never as HTML"
    assert page.inner_text("#chat").count("I heard") == 1, "the corrected turn replaces the old one"


def test_a_file_that_is_not_audio_is_explained_and_the_next_upload_works(page, clip, tmp_path):
    (tmp_path / "fake.wav").write_bytes(b"this is no sound")
    upload(page, tmp_path / "fake.wav")
    page.wait_for_selector("#status .alert", timeout=30_000)
    assert "not audio" in page.inner_text("#status")
    page.click('#query [aria-label="Clear"]')
    upload(page, clip)
    page.wait_for_selector("#heard .bar", timeout=30_000)
    assert page.inner_text("#status").strip() == "" or "Thinking" in page.inner_text("#status")


def test_stop_closes_the_engine(page, clip, closed):
    page.click("text=Settings")
    page.click("#engine input")
    page.get_by_role("option", name="embedded", exact=True).click()
    upload(page, clip)
    page.wait_for_selector("#heard .bar", timeout=30_000)
    page.keyboard.press("Escape") if page.evaluate("document.activeElement.tagName") != "INPUT" else page.click("#stop")
    page.wait_for_function("document.querySelector('#voice').innerText.includes('Stopped')", timeout=10_000)
    assert closed.wait(10)


def test_a_checkpoint_made_after_the_page_was_served_can_be_chosen(page, clip, monkeypatch, tmp_path):
    home = tmp_path / "home"
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(home))
    page.click("text=Settings")
    page.click("#engine input")
    assert page.get_by_role("option", name="omni:late").count() == 0
    page.keyboard.press("Escape")
    tiny_omni.save(home / "checkpoints" / "late")
    page.click("#seed input")
    page.click("#engine input")
    page.get_by_role("option", name="omni:late").click(timeout=30_000)
    page.click("#seed input")
    assert page.input_value("#engine input") == "omni:late"


def test_no_other_host_is_contacted_and_no_file_name_leaks(page, clip, served):
    upload(page, clip)
    page.wait_for_function("document.querySelector('#voice').innerText.includes('Your turn')", timeout=30_000)
    outside = [url for url in page.asked if not url.startswith((served, "blob:", "data:"))]
    assert outside == []
    assert "private" not in page.inner_html("#chat"), "a file's own name is not shown to the page again"


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_cut_off_on_a_phone(browser, served, width):
    context = browser.new_context(viewport={"width": width, "height": 780}, color_scheme="dark")
    page = context.new_page()
    visit(page, served)
    page.wait_for_selector("#query .record-button", timeout=LOAD_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 1
    context.close()


def test_the_api_through_gradio_client(served, clip, tmp_path):
    from gradio_client import Client, handle_file

    client = Client(served, verbose=False, download_files=str(tmp_path))
    result, reply = client.predict(handle_file(str(clip)), "fake", 3, "sad", "My words", None, api_name="/talk")
    assert (
        result["transcript"] == "My words"
        and result["heard"]["label"] == "sad"
        and result["reply"]["text"].startswith("[3]")
    )
    assert soundfile.info(reply).duration > 0.3
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(Exception, match="not audio"):
        client.predict(handle_file(str(tmp_path / "bad.wav")), "fake", 0, "", "", None, api_name="/talk")
    for bad in ([{"no": 1}], ["x"]):
        with pytest.raises(Exception, match="history"):
            client.predict(handle_file(str(clip)), "fake", 0, "", "", bad, api_name="/talk")
