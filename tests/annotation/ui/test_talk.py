"""The Talk tab in a real browser with a fake microphone, and its API through gradio_client.

Each fault that was found on the tab has its test here.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import soundfile
from hands import LOAD_MS, visit

pytest_plugins = ("browsers",)
pytestmark = pytest.mark.page

SOUNDED = "EmotionOmniTalk.app.speaker.heard() > {}"


def state(page, wanted: str, timeout: int = 30_000) -> None:
    page.wait_for_selector(f".talk[data-state={wanted}]", timeout=timeout)


def turns(page) -> list[str]:
    return page.locator(".talk-mine p[lang]").all_inner_texts()


def upload(page, file: Path) -> None:
    page.set_input_files(".talk input[type=file]", str(file))


@pytest.fixture
def page(browser, served):
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"]).new_page()
    opened.asked, opened.faults = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    visit(opened, served + "/?handsfree=0")
    opened.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    yield opened
    assert opened.faults == []
    opened.context.close()


def slow(page) -> None:
    """Choose the engine that answers slowly."""
    page.click(".talk-settings summary")
    page.select_option("#talk-engine", "embedded")
    page.evaluate("document.activeElement.blur()")


# --- turns --------------------------------------------------------------------------------------------------------


def test_a_spoken_turn_by_keyboard_alone(page):
    page.keyboard.press("r")
    state(page, "recording")
    page.wait_for_function("document.querySelector('.talk-time').textContent === '0:01'")
    page.wait_for_function("document.querySelector('.talk-main').style.getPropertyValue('--level') > 0")
    page.keyboard.press("r")
    page.wait_for_function(SOUNDED.format(0.4), timeout=30_000)  # the reply was really sounded
    assert "seconds of sound" in turns(page)[0] and "I heard" in page.inner_text(".talk-theirs")
    assert "voice" in page.inner_text(".talk-answer .talk-note")
    state(page, "off")
    page.keyboard.press("n")
    page.wait_for_selector(".talk-empty:not([hidden])")
    assert turns(page) == []


def test_the_words_of_the_state_are_where_the_eye_is(page, clip):
    slow(page)
    upload(page, clip)
    state(page, "thinking")
    assert page.inner_text(".talk-word") == "Thinking"
    state(page, "speaking")
    assert page.inner_text(".talk-word") == "Speaking"
    page.keyboard.press("Escape")
    state(page, "off")
    assert page.inner_text(".talk-word") == ""


def test_an_upload_a_correction_and_another_answer(page, clip):
    upload(page, clip)
    page.click("text=Not right? Correct it")
    page.fill(".talk-correction textarea", "Luna ran away <img src=x onerror=alert(1)>")
    page.select_option(".talk-correction select", "fearful")
    page.click("text=Answer again")
    page.wait_for_function("document.querySelector('.talk-theirs').innerText.includes('sounded fearful')")
    assert turns(page) == ["Luna ran away <img src=x onerror=alert(1)>"], "words are shown as words, never as HTML"
    assert page.inner_text(".talk-title") == "Fearful (you said so)"
    page.click(".talk-details summary")
    assert "I had heard: Probably angry" in page.inner_text(".talk-heard"), "the model's own belief stays visible"


def test_an_example_is_played_to_the_model_from_the_empty_conversation(page):
    page.click("[data-example='2-happy.wav']")
    page.wait_for_selector(".talk-heard")
    assert turns(page) == ["4.4 seconds of sound"] and not page.is_visible(".talk-empty")


# --- faults that were found ---------------------------------------------------------------------------------------


def test_r_while_the_reply_is_being_made_begins_a_recording(page, clip):
    slow(page)
    upload(page, clip)
    state(page, "thinking")
    page.keyboard.press("r")
    state(page, "recording")
    page.wait_for_timeout(700)
    page.keyboard.press("r")
    page.wait_for_function("document.querySelectorAll('.talk-turn').length === 2")


def test_two_examples_within_moments_are_two_turns_or_one_but_none_vanishes_after_it_was_heard(page):
    slow(page)
    page.click("[data-example='1-sad.wav']")
    page.wait_for_selector(".talk-heard")
    page.evaluate("EmotionOmniTalk.app.example('2-happy.wav')")
    page.wait_for_function("document.querySelectorAll('.talk-theirs').length === 2", timeout=60_000)
    assert turns(page) == ["4.8 seconds of sound", "4.4 seconds of sound"]


def test_an_upload_is_answered_once_and_there_is_no_button_to_answer_it_again(page, clip):
    upload(page, clip)
    page.wait_for_function(SOUNDED.format(0.4), timeout=30_000)
    state(page, "off")
    assert len(turns(page)) == 1
    assert not page.get_by_role("button", name="Answer", exact=True).count()


def test_a_refused_microphone_is_explained_and_r_works_again(browser, served):
    page = browser.new_context().new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    )
    visit(page, served)
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    for _ in range(2):
        page.keyboard.press("r")
        page.get_by_role("alert").filter(has_text="The microphone is blocked").wait_for()
        state(page, "off")
    page.context.close()


def test_r_records_after_a_file_was_chosen(page, clip):
    upload(page, clip)
    state(page, "off", 60_000)
    page.wait_for_selector(".talk-theirs")
    page.keyboard.press("r")
    state(page, "recording")


def test_nothing_says_stopped_while_a_recording_is_made(page, clip):
    upload(page, clip)
    page.wait_for_selector(".talk-theirs")
    page.keyboard.press("r")
    state(page, "recording")
    assert "Stopped" not in page.inner_text(".talk") and page.inner_text(".talk-word") == "Listening"
    page.keyboard.press("Escape")
    page.get_by_role("alert").filter(has_text="Recording discarded").wait_for()
    state(page, "off")
    assert len(turns(page)) == 1


def test_a_file_that_is_not_audio_is_explained_without_jargon_and_the_next_upload_works(page, clip, tmp_path):
    (tmp_path / "fake.wav").write_bytes(b"this is no sound")
    upload(page, tmp_path / "fake.wav")
    page.get_by_role("alert").filter(has_text="not audio that your browser can read").wait_for()
    assert "/" not in page.inner_text(".talk-notice"), "no MIME types"
    upload(page, clip)
    page.wait_for_selector(".talk-heard")
    assert page.inner_text(".talk-notice") == ""


def test_an_unknown_voice_is_explained_in_a_line(page, clip):
    page.click(".talk-settings summary")
    page.fill(".talk-settings input[list]", "nobody")
    page.select_option("#talk-engine", "fake")
    upload(page, clip)
    page.wait_for_selector(".talk-theirs")  # the fake has no voices, and takes any


def test_every_name_for_assistive_technology_is_in_words(page):
    names = page.eval_on_selector_all(
        ".talk :is(button, input, select, textarea)", "all => all.map(one => one.ariaLabel ?? '')"
    )
    assert not [name for name in names if "." in name and " " not in name], "no key such as common.upload"


def test_n_can_be_undone(page, clip):
    upload(page, clip)
    page.wait_for_selector(".talk-theirs")
    page.keyboard.press("n")
    page.wait_for_selector(".talk-empty:not([hidden])")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("document.querySelectorAll('.talk-turn').length === 1")
    upload(page, clip)
    page.wait_for_function("document.querySelector('.talk').innerText.includes('This is turn 2')")


# --- stopping, settings, the line -----------------------------------------------------------------------------------


def test_stop_closes_the_engine(page, clip, closed):
    slow(page)
    upload(page, clip)
    page.wait_for_selector(".talk-heard")
    page.keyboard.press("Escape")
    state(page, "off")
    assert closed.wait(10)


def test_settings_are_kept_in_the_address(page, served):
    slow(page)
    page.fill(".talk-settings input[type=number]", "7")
    page.keyboard.press("Enter")
    page.wait_for_function("location.search.includes('seed=7') && location.search.includes('engine=embedded')")
    page.reload()
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    assert page.evaluate("[EmotionOmniTalk.app.chosen.seed, EmotionOmniTalk.app.chosen.engine]") == [7, "embedded"]
    assert not page.is_checked("input[role=switch]")


def test_a_conversation_is_downloaded_as_a_zip_file(page, clip, tmp_path):
    upload(page, clip)
    page.wait_for_selector(".talk-answer .talk-play")
    page.click(".talk-settings summary")
    with page.expect_download() as waiting:
        page.click("#talk-download")
    waiting.value.save_as(tmp_path / "kept.zip")
    with zipfile.ZipFile(tmp_path / "kept.zip") as kept:
        assert kept.testzip() is None
        (turn,) = json.loads(kept.read("conversation.json"))["turns"]
        sounds = [soundfile.info(io.BytesIO(kept.read(turn[name]))).duration for name in ("recording", "sound")]
    assert sounds == [pytest.approx(2.0, abs=0.05), pytest.approx(0.5, abs=0.02)]
    assert turn["transcript"] == "2.0 seconds of sound" and "I heard" in turn["reply"]


def test_only_who_asks_for_it_goes_on_after_a_refresh(page, clip):
    upload(page, clip)
    page.wait_for_selector(".talk-answer .talk-play")
    assert page.evaluate("localStorage.getItem('emotion-omni:conversation')") is None
    page.click(".talk-settings summary")
    page.click(".talk-keeping input")
    page.reload()
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    assert turns(page) == ["2.0 seconds of sound"]
    upload(page, clip)
    page.wait_for_function("document.querySelector('.talk').innerText.includes('This is turn 2')")


def test_a_lost_line_is_found_again_with_its_conversation(page, clip):
    upload(page, clip)
    page.wait_for_selector(".talk-theirs")
    page.evaluate("EmotionOmniTalk.app.line.socket.close()")
    page.wait_for_selector(".talk[data-line=lost]")
    page.wait_for_selector(".talk[data-line=open]", timeout=30_000)
    upload(page, clip)
    page.wait_for_function("document.querySelector('.talk').innerText.includes('This is turn 2')")


def test_where_the_line_has_no_gpu_the_queue_answers_and_the_page_says_so(browser, served, clip, monkeypatch):
    monkeypatch.setattr("emotion_omni.zero_gpu.on_loan", lambda: True)
    page = browser.new_context(permissions=["microphone"]).new_page()
    visit(page, served)
    page.wait_for_selector(".talk[data-line=queue]", timeout=LOAD_MS)
    assert "hands-free talking is off" in page.inner_text(".talk-notice") and page.is_disabled("input[role=switch]")
    for number in (1, 2):
        page.keyboard.press("r")
        state(page, "recording")
        page.wait_for_timeout(900)
        page.keyboard.press("r")
        page.wait_for_function(f"document.querySelector('.talk').innerText.includes('This is turn {number}')")
    page.wait_for_function(SOUNDED.format(0.4), timeout=30_000)
    page.context.close()


def test_a_checkpoint_that_is_there_can_be_chosen(browser, served, monkeypatch, tmp_path):
    home = tmp_path / "home"
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(home))
    import tiny_omni  # with torch: only here

    tiny_omni.save(home / "checkpoints" / "late")
    from annotation.realtime.engine_pool import menu

    assert "omni:late" in menu("fake")


def test_no_other_host_is_contacted_and_no_file_name_leaks(page, clip, served):
    upload(page, clip)
    page.wait_for_function(SOUNDED.format(0.4), timeout=30_000)
    outside = [url for url in page.asked if not url.startswith((served, "blob:", "data:", "ws://127.0.0.1"))]
    assert outside == []
    assert "private" not in page.inner_html(".talk"), "a file's own name is not shown to the page again"


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_cut_off_on_a_phone(browser, served, width):
    context = browser.new_context(viewport={"width": width, "height": 780}, color_scheme="dark")
    page = context.new_page()
    visit(page, served)
    page.wait_for_selector(".talk-main", timeout=LOAD_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 1
    page.click("[data-example='1-sad.wav']")
    page.wait_for_selector(".talk-theirs")
    heard, said = page.locator(".talk-heard").bounding_box(), page.locator(".talk-bubble").first.bounding_box()
    beside = heard["x"] >= said["x"] + said["width"]
    assert beside if width > 720 else heard["y"] >= said["y"] + said["height"]
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
