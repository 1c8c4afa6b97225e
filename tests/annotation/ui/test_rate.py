"""Rating in real browsers: by keyboard alone, through refreshes and lost networks, blind, and with proof of hearing.

Raters are :class:`hands.Hand`; what they press is compared with what the store holds in the end.
"""

from __future__ import annotations

import io
import re
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import soundfile
from conftest import tone
from hands import LOAD_MS, Hand, items, open_study, together, visit

from annotation.study.scales import SCALES
from annotation.ui import rate, results, studies

pytest_plugins = ("browsers",)
pytestmark = pytest.mark.page

TABS = rate.TITLES | {"talk": "Talk", "studies": "Studies", "results": "Results", "people": "People"}
MARKS = ("MARKSYSTEM", "MARKGUESS", "MARKEXPECTED", "MARKFILE", "MARKWORDS", "MARKFAMILY", "MARKENGINE")
ANSWERS = {"primary": "sad", "intensity": 1, "valence": 1, "arousal": 1, "dominance": 1, "heard_from": "both"}
SUBMIT = """async body => {
  const draft = JSON.parse(localStorage.getItem(Object.keys(localStorage).find(key => key.endsWith(body.assignment))));
  const headers = {'Content-Type': 'application/json', 'X-Studio': '1'};
  const reply = await fetch('/studio/submit', {method: 'POST', headers,
    body: JSON.stringify({...body, receipt: draft.saved.receipt})});
  return {status: reply.status, ...await reply.json()};
}"""
HIDE = """state => {
  Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => state});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def open_tab(page, name: str) -> None:
    page.wait_for_selector(".talk-main", state="attached", timeout=LOAD_MS)
    if not page.locator(f"#tab-{name}-button").count():  # on a phone it is folded away
        page.click("#tabs .overflow-menu > button")
    page.click(f"#tab-{name}-button, #tabs .overflow-dropdown button:text-is('{TABS[name]}')")


def choose(page, field: str, words: str | None = None) -> None:
    """An option of a dropdown: the first, or the one with these words."""
    page.click(f"{field} input")
    options = page.get_by_role("option")
    (options.filter(has_text=words) if words else options).first.click()


# --- by keyboard alone ------------------------------------------------------------------------------------------


def refreshed(hand: Hand) -> Iterator[None]:
    """Reload the page in the middle of the third item, with every question answered and a note typed."""
    yield from hand.walk(2)
    yield from hand.until(lambda seen: not seen["left"] and seen["screen"] == "rate")
    yield from hand.listen()
    yield from hand.answer()
    yield from hand.go_to("note")
    hand.page.keyboard.type("Typed before the refresh.")
    hand.pressed[hand.given()["id"]]["note"] = "Typed before the refresh."
    before = hand.look()["questions"]
    hand.page.reload()
    hand.page.wait_for_selector(".rating[data-screen=rate]", timeout=LOAD_MS)
    after = hand.look()
    assert [one | {"current": False} for one in after["questions"]] == [one | {"current": False} for one in before]
    assert after["note"] == "Your unsaved answers were restored." and min(after["heard"]) >= 0.95
    yield from hand.save()
    yield from hand.walk()


def cut_off(hand: Hand, answered: bool) -> Iterator[None]:
    """Lose the network while the third item is saved: before the server has it, or (``answered``) when it has."""
    yield from hand.walk(2)
    yield from hand.until(lambda seen: not seen["left"] and seen["screen"] == "rate")
    yield from hand.listen()
    yield from hand.answer()

    def lose(route) -> None:
        if answered:
            route.fetch()
        route.abort()

    hand.page.route("**/studio/submit", lose)
    yield from hand.send()
    yield from hand.until(lambda seen: seen["status"].startswith("Not saved yet"))
    hand.page.unroute("**/studio/submit")
    yield from hand.until(lambda seen: not seen["left"] and seen["status"].startswith("Saved"))
    yield from hand.walk()


@pytest.fixture(scope="module")
def rated(studio, served, browser) -> list[Hand]:
    """Two studies, each rated to the end by two raters, all four at the same time."""
    rules = {"ratings_per_item": 2, "guess_hidden_share": 0.5}
    guess = {"label": "sad", "probability": 0.8}
    open_study(studio, "emotion-recognition", items(studio, "emotion-recognition", 6, guess=guess), "felt", **rules)
    open_study(studio, "compare", items(studio, "compare", 6, systems={"a": "old", "b": "new"}), "compared", **rules)
    hands = [
        Hand.invited(studio, browser, served, study, seed)
        for seed, study in enumerate(("felt", "felt", "compared", "compared"))
    ]
    ways = [refreshed(hands[0]), cut_off(hands[1], False), hands[2].walk(), cut_off(hands[3], True)]
    together(*ways, page=hands[0].page)
    assert [hand.look()["screen"] for hand in hands] == ["done"] * 4
    for hand in hands:
        hand.page.context.close()
    return hands


@pytest.mark.slow
def test_the_store_holds_exactly_what_was_pressed_by_keyboard_alone(studio, rated):
    for hand in rated:
        assert {row["assignment"]: row["answers"] for row in hand.stored()} == hand.expected()
        assert hand.errors == []


@pytest.mark.slow
def test_a_refresh_and_lost_networks_store_nothing_twice(studio, rated):
    for hand in rated:
        assert len(hand.stored()) == len(hand.pressed) == 12, (
            "two blocks of three items, a trap, a gold item and a repeat"
        )
        kinds = Counter(row["kind"] for row in hand.stored())
        assert kinds == {"rate": 6, "trap": 2, "gold": 2, "repeat": 2}
        given = [row["item"] for row in hand.stored() if row["kind"] == "rate"]
        assert len(set(given)) == 6
    assert any(row["flip"] < 0 for hand in rated[2:] for row in hand.stored()), "some answers had changed sides"
    with studio.store.read() as view:
        assert {item["done"] for study in ("felt", "compared") for item in view.items(study, "rate")} == {2}


def test_a_rating_made_by_keyboard_is_stored(studio, served, browser):
    """The quick one: a whole way through a study of a single item."""
    rules = {"traps_per_block": 0, "gold_per_block": 0, "repeats_per_block": 0, "training_right": 0}
    open_study(studio, "emotion-recognition", items(studio, "emotion-recognition", 1), "single", **rules)
    hand = Hand.invited(studio, browser, served, "single")
    together(hand.walk(), page=hand.page)
    assert {row["assignment"]: row["answers"] for row in hand.stored()} == hand.expected()
    assert len(hand.stored()) == 1 and hand.errors == []
    hand.page.context.close()


# --- proof of hearing -------------------------------------------------------------------------------------------


def played_to_the_end(hand: Hand) -> Iterator[None]:
    """Space on the player's own button, and wait until it has stopped."""
    hand.page.focus(".rating-play:visible")
    hand.press("Space")
    yield from hand.until(lambda seen: seen["playing"])
    yield from hand.until(lambda seen: not seen["playing"])
    hand.page.wait_for_timeout(300)  # for the report to arrive


def refused(hand: Hand, number: int) -> bool:
    """Neither the page nor the server takes a rating now."""
    hand.page.wait_for_timeout(400)  # or it counts as a double press
    hand.page.focus(".rating-submit:visible")
    hand.press("Enter")
    hand.page.wait_for_timeout(200)
    at_page = "Listen to" in hand.look()["alert"] and hand.look()["state"] == "listen"
    body = {
        "submit_id": f"00000000-0000-4000-8000-{number:012d}",
        "assignment": hand.given()["id"],
        "values": ANSWERS,
        "seconds": 1,
    }
    answer = hand.page.evaluate(SUBMIT, body)
    return at_page and answer["status"] == 409 and answer["error"]["code"] == "unheard"


@pytest.mark.slow
def test_muted_skipped_or_hidden_play_is_no_hearing(studio, served, browser):
    study = open_study(
        studio, "emotion-recognition", items(studio, "emotion-recognition", 3, seconds=1.0), "proof", training_right=0
    )
    hand = Hand.invited(studio, browser, served, study)
    together(hand.to_item(), page=hand.page)
    together(hand.answer(), page=hand.page)

    hand.page.focus(".rating-mute:visible")
    hand.press("Space")
    together(played_to_the_end(hand), page=hand.page)
    assert refused(hand, 1), "muted"
    hand.page.focus(".rating-mute:visible")
    hand.press("Space")

    hand.page.focus(".rating-wave:visible")
    hand.press("Home", "End", "PageUp", "ArrowRight")
    assert float(hand.page.get_attribute(".rating-wave:visible", "aria-valuenow")) == 0.0
    assert refused(hand, 2), "wound to the end"

    hand.page.evaluate(HIDE, "hidden")
    together(played_to_the_end(hand), page=hand.page)
    assert refused(hand, 3), "hidden"
    hand.page.evaluate(HIDE, "visible")
    assert hand.stored() == []

    together(hand.listen(), page=hand.page)
    together(hand.save(), page=hand.page)
    assert len(hand.stored()) == 1, "heard with the sound on, the very same rating is taken"
    hand.page.context.close()


# --- blind ------------------------------------------------------------------------------------------------------


class Spy:
    """Everything that reaches a browser: bodies, headers, addresses, the console, and what the page holds."""

    def __init__(self, page) -> None:
        self.page, self.seen, self.clips, self.waiting = page, [], [], []
        page.on("requestfinished", lambda request: self.waiting.append(request))
        page.on("console", lambda message: self.seen.append(message.text))

    def look(self) -> None:
        for request in self.waiting:
            response = request.response()
            body = response.body().decode("latin-1") if response.status == 200 else ""
            self.seen += [request.url, str(response.all_headers()), body]
            self.clips += [request.url] if "/clip/" in request.url else []
        self.waiting.clear()
        self.seen.append(
            self.page.evaluate("""() => document.documentElement.outerHTML + JSON.stringify([window.gradio_config,
          {...localStorage}, {...sessionStorage}, location.href, document.title])""")
        )

    def watched(self, walk: Iterator[None]) -> Iterator[None]:
        shown = None
        for _ in walk:
            now = self.page.evaluate(
                "document.querySelector('.rating[data-screen=rate] .rating-player')?.parentNode.textContent"
            )
            if now != shown:
                self.look()
            shown = now
            yield
        self.look()

    def leaks(self, *secrets: str) -> set[str]:
        everything = "\n".join(self.seen)
        return {secret for secret in secrets if secret in everything}


def secret_items(studio, template: str, count: int) -> list[dict]:
    """Items whose every hidden fact is marked."""
    roles = (
        SCALES[template].options if template in SCALES else {"compare": ("query", "a", "b")}.get(template, ("speech",))
    )
    made = items(
        studio,
        template,
        count,
        systems=dict.fromkeys(roles, "MARKSYSTEM"),
        guess={"label": "MARKGUESS", "probability": 0.9},
        about={"file": "MARKFILE.wav", "engine": "MARKENGINE"},
    )
    for number, one in enumerate(made):
        one["content"]["texts"] = dict.fromkeys(roles, "MARKWORDS")
        one["family"] = f"MARKFAMILY{number}"
    made.append(made[-1] | {"role": "gold", "expected": {"primary": "MARKEXPECTED"}, "family": "MARKFAMILY"})
    return made


@pytest.mark.slow
def test_nothing_that_a_rater_must_not_know_reaches_the_browser(studio, served, browser):
    for name, template in (("blind", "emotion-recognition"), ("blind-pairs", "compare")):
        rules = {"block_size": 2, "guess_hidden_share": 1.0, "repeats_per_block": 0, "training_right": 0}
        open_study(studio, template, secret_items(studio, template, 2), name, **rules)
    hands = [
        Hand.invited(studio, browser, served, study, seed)
        for seed, study in enumerate(("blind", "blind", "blind-pairs"))
    ]
    spies = [Spy(hand.page) for hand in hands]
    together(*(spy.watched(hand.walk()) for hand, spy in zip(hands, spies, strict=True)), page=hands[0].page)
    with studio.store.read() as view:
        rows = [*view.items("blind"), *view.items("blind-pairs")]
    sounds = [clip[name] for row in rows for clip in row["content"]["clips"].values() for name in ("sha", "played")]
    for hand, spy in zip(hands, spies, strict=True):
        assert len(hand.stored()) == 4 and spy.clips, "two items, a trap and a gold item were seen"
        assert (
            spy.leaks(*MARKS, *sounds, *(row["id"] for row in rows), '"gold"', '"trap"', '"expected"', '"flip"')
            == set()
        )
        assert spy.leaks("Sound check", hand.rater) == {"Sound check", hand.rater}, "the spy sees what there is to see"
        hand.page.context.close()
    assert not set(spies[0].clips) & set(spies[1].clips), "the same items have other addresses for another rater"


# --- researchers ------------------------------------------------------------------------------------------------


@pytest.fixture
def researcher(studio, served, browser):
    page = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True).new_page()
    page.goto(f"{served}/?invite={studio.people.invites.create('admin', name='Ada')}")
    page.wait_for_selector("#new-title:visible", timeout=LOAD_MS)
    yield page
    page.context.close()


def archive() -> bytes:
    packed, sound = io.BytesIO(), io.BytesIO()
    soundfile.write(sound, tone(0.5).samples, 16_000, format="WAV")
    with zipfile.ZipFile(packed, "w") as file:
        for number in range(3):
            file.writestr(f"voice{number}.wav", sound.getvalue())
    return packed.getvalue()


def test_a_researcher_makes_a_study_from_a_zip_file_and_a_link_to_it(studio, researcher):
    researcher.fill("#new-title textarea, #new-title input", "Voices <b>in June</b>")
    file = {"name": "voices.zip", "mimeType": "application/zip", "buffer": archive()}
    researcher.set_input_files("#new-files input[type=file]", file)
    researcher.wait_for_selector(
        "#new-files .filename[aria-label='voices.zip']"
    )  # while it is sent, its name stands elsewhere
    researcher.click("#create-study")
    researcher.wait_for_function(
        "document.querySelector('#studies-said').innerText.includes('with 3 items')", timeout=30_000
    )
    assert "Voices <b>in June</b>" in researcher.inner_text("#monitor"), "a title is shown as text, never as HTML"
    with studio.store.read() as view:
        made = next(row for row in view.studies() if row["settings"]["title"].startswith("Voices"))
        assert len(view.items(made["id"], "rate")) == 3
    researcher.locator("button.label-wrap").filter(has_text=re.compile("^Raters")).click()
    researcher.click("#make-link")
    researcher.wait_for_function(
        "document.querySelector('#invite-link :is(textarea, input)').value.includes('#invite=')"
    )
    token = researcher.input_value("#invite-link :is(textarea, input)").split("#invite=")[1]
    assert studio.people.invites.read(token)["study"] == made["id"]


def keep(studio, hand: Hand) -> None:
    """A researcher's word for a rater whom the rules flag: who answers by chance fails traps."""
    facts = {
        "study": hand.study,
        "subject": "rater",
        "rater": hand.rater,
        "value": "kept",
        "reason": "known",
        "by": "r0",
    }
    studio.store.write(lambda transaction: transaction.record("decided", decision=uuid.uuid4().hex, **facts))


def decided_in_the_end(studio, page) -> list:
    """What was decided about items, once it has arrived; the page already shows the same word among the answers."""
    for _ in range(60):
        with studio.store.read() as view:
            if found := [row["value"] for row in view.decisions("felt") if row["subject"] == "item"]:
                return found
        page.wait_for_timeout(250)
    return []


@pytest.mark.slow
def test_a_researcher_sees_results_decides_and_downloads_them(studio, rated, researcher):
    for hand in rated[:2]:
        keep(studio, hand)
    open_tab(researcher, "results")
    researcher.wait_for_selector("#results-study input:visible")
    choose(researcher, "#results-study", "Study felt")
    researcher.wait_for_selector("#results svg", timeout=30_000)
    shown = researcher.inner_text("#results")
    assert "Krippendorff" in shown and "12" in shown, "agreement, and twelve ratings of twelve"
    choose(researcher, "#adjudicate-item")
    researcher.wait_for_selector("#adjudicate-clips audio")
    address = researcher.get_attribute("#adjudicate-clips audio", "src")
    heard = researcher.evaluate("async url => (await fetch(url)).headers.get('content-type')", address)
    assert heard == "audio/flac"
    choose(researcher, "#adjudicate-value", "calm")
    researcher.click("#adjudicate")
    assert decided_in_the_end(studio, researcher) == ["calm"]
    with researcher.expect_download() as download:
        researcher.click("a.download")
    with zipfile.ZipFile(download.value.path()) as file:
        assert any(name.endswith("manifest.json") for name in file.namelist())


def test_others_see_a_notice_in_a_researchers_tabs(studio, served, browser):
    rater = studio.people.accounts.add_guest("Bo")
    for cookies in ([], [{"name": "studio", "value": studio.people.logins.issue(rater), "url": served}]):
        context = browser.new_context()
        context.add_cookies(cookies)
        page = context.new_page()
        visit(page, served)
        for name, field in (("studies", "#new-title"), ("results", "#results-study")):
            open_tab(page, name)
            page.get_by_text("This tab is for researchers").filter(visible=True).wait_for()
            assert not page.is_visible(field)
        context.close()


GUESSES = {"textbox": "a study", "number": 1, "slider": 1, "checkbox": True, "state": None, "file": None}


def asked_without_a_cookie(served: str, blocks, number: int) -> str:
    """Call a handler as a program would, around the page → all that the server says."""
    function = blocks.fns[number]
    data = [GUESSES.get(block.get_block_name(), "") for block in function.inputs]
    body = {
        "data": data,
        "fn_index": number,
        "session_hash": f"stranger{number}",
        "event_data": None,
        "trigger_id": None,
    }
    with httpx.Client(base_url=f"{served}/gradio_api", timeout=30) as client:
        joined = client.post("/queue/join", json=body)
        if joined.status_code != 200:
            return joined.text
        with client.stream("GET", "/queue/data", params={"session_hash": f"stranger{number}"}) as answers:
            said = ""
            for line in answers.iter_lines():
                said += line
                if '"process_completed"' in line or "close_stream" in line:
                    return said
    return said


@pytest.mark.slow
def test_no_handler_of_a_researcher_works_without_the_cookie(studio, served, blocks, rated):
    with studio.store.read() as view:
        before, secrets = view.applied(), [*(row["id"] for row in view.studies()), "Study felt"]
    inside = (studies.Handlers, results.Handlers)
    methods = {name for handlers in inside for name in vars(handlers) if not name.startswith("_")} - {"plan"}
    tried = []
    for number, function in blocks.fns.items():
        if getattr(function.fn, "__module__", "") not in (studies.__name__, results.__name__, "annotation.ui.access"):
            continue
        said = asked_without_a_cookie(served, blocks, number)
        assert not [secret for secret in secrets if secret in said], f"{function.name} told a stranger of studies"
        if function.name in methods:
            tried.append(function.name)
            assert '"success":false' in said.replace(" ", ""), (
                f"{function.name} did something for a stranger: {said[:300]}"
            )
    assert {"create", "set_state", "delete", "invite", "register", "stop", "show", "listen", "decide", "judge"} <= set(
        tried
    )
    with studio.store.read() as view:
        assert view.applied() == before
    for address in ("/studio/export/felt.zip", "/studio/listen/x/speech"):
        assert httpx.get(served + address).status_code == 401


# --- giving a turn, practising, small screens -------------------------------------------------------------------


def test_a_turn_is_given_only_with_a_tick_and_its_code_takes_it_back(studio, served, browser, clip):
    page = browser.new_context().new_page()
    visit(page, served)
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    page.set_input_files(".talk input[type=file]", str(clip))
    page.wait_for_selector(".talk-answer .talk-play", timeout=30_000)  # once the reply is finished
    before = set(studio.clips.folder.rglob("*.flac"))
    page.click("text=Give this turn to research")
    page.click("#donate-save")
    page.get_by_text("without your agreement nothing is stored").wait_for()
    assert set(studio.clips.folder.rglob("*.flac")) == before
    page.check("#donate-agree input")
    page.click("#donate-save")
    page.wait_for_function("document.querySelector('#donate-code :is(textarea, input)').value", timeout=30_000)
    page.wait_for_function("!document.querySelector('#donate-agree input').checked")
    code = page.input_value("#donate-code :is(textarea, input)")
    with studio.store.read() as view:
        (item,) = view.contributed(code)
        assert item["study"] == "live-turns" and item["content"]["texts"]["reply"]
        assert view.study("live-turns")["state"] == "paused", "nobody hears it before a researcher has"
    sounds = [studio.clips.path(clip[form]) for clip in item["content"]["clips"].values() for form in ("sha", "played")]
    assert len(sounds) == 4 and all(path.exists() for path in sounds)
    page.click("#donate-delete")
    page.wait_for_function("document.querySelector('#donate-said').innerText.includes('Deleted')", timeout=30_000)
    assert not any(path.exists() for path in sounds)
    page.context.close()


@pytest.mark.slow
def test_a_break_counts_down_and_cannot_be_pressed_away(studio, served, browser):
    open_study(studio, "emotion-recognition", items(studio, "emotion-recognition", 2), "pausing", break_seconds=8)
    hand = Hand.invited(studio, browser, served, "pausing")
    began = {"study": "pausing", "rater": hand.rater, "phase": "break", "block": 1, "block_began": time.time()}
    together(hand.until(lambda seen: seen["screen"] == "consent"), page=hand.page)
    studio.store.write(lambda transaction: transaction.record("phase.changed", **began))
    hand.page.reload()
    button = hand.page.locator(".rating[data-screen=break] .rating-submit:visible")
    button.wait_for(timeout=LOAD_MS)
    assert re.fullmatch(r"Continue in \d s", button.inner_text())
    button.dispatch_event("click")
    assert hand.look()["screen"] == "break"
    button.click(timeout=LOAD_MS)  # waits until the button can be pressed
    together(hand.until(lambda seen: seen["screen"] == "rate"), page=hand.page)
    assert time.time() - began["block_began"] >= 7
    hand.page.context.close()


SLOW_TABS = [pytest.param(tab, marks=pytest.mark.slow) for tab in ("empathy", "compare")]


@pytest.mark.parametrize("tab", ["emotion", *SLOW_TABS])
def test_a_guest_practises_by_keyboard(studio, served, browser, tab):
    page = browser.new_context().new_page()
    visit(page, served)
    open_tab(page, tab)
    page.wait_for_selector(".rating[data-screen=start]:visible")
    page.get_by_label("Nickname").filter(visible=True).focus()
    page.keyboard.type(f"Guest of {tab}")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Try a practice round").filter(visible=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".rating[data-screen=consent]:visible", timeout=30_000)
    with studio.store.read() as view:
        rater = next(row["id"] for row in view.raters() if row["name"] == f"Guest of {tab}")
    hand = Hand(studio, page, f"practice-{tab}", rater)
    together(hand.to_item(), page=page)
    assert hand.look()["questions"] and hand.given()["kind"] == "rate" and hand.errors == []
    page.context.close()


@pytest.mark.slow
def test_on_a_phone_in_the_dark_nothing_is_cut_off_in_any_tab(studio, served, browser):
    context = browser.new_context(viewport={"width": 360, "height": 780}, color_scheme="dark")
    context.add_cookies(
        [{"name": "studio", "value": studio.people.logins.issue(studio.people.accounts.add_guest("Cy")), "url": served}]
    )
    page = context.new_page()
    visit(page, served)
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    for name in TABS:
        open_tab(page, name)
        page.wait_for_timeout(700)
        assert page.evaluate("document.documentElement.scrollWidth") <= 361, name
    assert "dark" in page.evaluate("document.body.className")
    context.close()
