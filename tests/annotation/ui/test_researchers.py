"""The Studies and Results tabs without a browser: who may do what, what is shown, and what is refused."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import raters
from conftest import tone
from raters import Clock, Rater
from starlette.requests import Request

from annotation.people.logins import COOKIE
from annotation.realtime.engine_pool import EnginePool
from annotation.studio import Studio
from annotation.ui import access, results, studies
from emotion_omni import audio
from emotion_omni.fake import FakeEngine
from emotion_omni.types import EmotionOmniError

HOSTILE = "<img src=x onerror=alert(1)>"
WORDS = {"speech": HOSTILE}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    opened = Studio.open(tmp_path / "home")
    yield opened
    opened.close()


def asking(studio: Studio, role: str, host: str = "studio.example") -> gr.Request:
    """A request by somebody with this role; "stranger" has no cookie."""
    headers = [(b"host", host.encode())]
    if role != "stranger":
        person = studio.people.invites.accept(studio.people.invites.create(role, name=f"A {role}"))
        headers.append((b"cookie", f"{COOKIE}={studio.people.logins.issue(person)}".encode()))
    return gr.Request(request=Request({"type": "http", "headers": headers}))


@pytest.fixture
def researcher(studio: Studio) -> gr.Request:
    return asking(studio, "researcher")


@pytest.fixture
def handlers(studio: Studio) -> studies.Handlers:
    return studies.Handlers(studio, EnginePool(lambda _: FakeEngine()))


def rated(studio: Studio, name: str = "rated") -> str:
    """A study of three items rated to the end by two raters."""
    clock = Clock()
    studio.sessions._now = clock
    items = [raters.item(studio, "emotion-recognition", number) for number in range(3)]
    for item in items:
        item["content"]["texts"] = WORDS
    raters.study(studio, "emotion-recognition", items, name, title=HOSTILE, ratings_per_item=2)
    for _ in range(2):
        Rater(studio, name, clock).walk()
    return name


def create(handlers: studies.Handlers, request: gr.Request, files: list[str] | None, title: str = "Voices") -> tuple:
    values = (title, "emotion-recognition", "files", files, [], 0, 2, 10, "open", "evaluation", "")
    return handlers.create(*values, request, lambda *_, **__: None)


def recordings(folder: Path, *names: str) -> list[str]:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sound = audio.wav_bytes(tone(0.5, pitch=200.0 + 50 * number))
        (folder / name).write_bytes(sound)
    return [str(folder / name) for name in names]


# --- who may do what ----------------------------------------------------------------------------------------------


def applied(studio: Studio) -> Any:
    """How much has been written to the store."""
    with studio.store.read() as view:
        return view.applied()


def public(handlers: Any) -> list[str]:
    """Names of the methods that take a request."""
    methods = inspect.getmembers(type(handlers), inspect.isfunction)
    return [name for name, method in methods if name[0] != "_" and "request" in inspect.signature(method).parameters]


@pytest.mark.parametrize("role", ["stranger", "rater"])
@pytest.mark.parametrize("tab", ["studies", "results"])
def test_every_handler_of_a_researchers_tab_refuses_everybody_else(studio, handlers, tab, role):
    asked = asking(studio, role)
    tabs = {"studies": handlers, "results": results.Handlers(studio)}
    names = public(tabs[tab])
    assert len(names) >= 4
    before = applied(studio)
    for name in names:
        method = getattr(tabs[tab], name)
        parameters = inspect.signature(method).parameters
        values = {one: "rater" if one == "role" else "1" for one in parameters if one not in ("request", "progress")}
        with pytest.raises(gr.Error, match="sign in|may|role|research"):
            method(**values, request=asked)
    assert applied(studio) == before


def test_only_an_admin_deletes_a_study_and_only_with_its_title(studio, handlers, researcher, tmp_path):
    _, chosen, _ = create(handlers, researcher, recordings(tmp_path, "a.wav"))
    study = chosen["value"]
    with pytest.raises(gr.Error):
        handlers.delete(study, "Voices", researcher)
    admin = asking(studio, "admin")
    with pytest.raises(EmotionOmniError, match="exactly"):
        handlers.delete(study, "voices", admin)
    assert [name for _, name in handlers.choices()] == [study]
    handlers.delete(study, " Voices ", admin)
    assert handlers.choices() == []


def test_nobody_makes_a_person_with_a_higher_role(studio, handlers, researcher):
    for refused in (
        lambda: handlers.invite("", "admin", "", "Eve", researcher),
        lambda: handlers.register("Eve", "a long password", "admin", "", researcher),
    ):
        with pytest.raises(EmotionOmniError, match="above your own"):
            refused()
    assert "can sign in" in handlers.register("Bo", "a long password", "researcher", "", researcher)


def test_a_raters_link_leads_to_a_study_at_the_address_of_the_page(studio, handlers, researcher, tmp_path):
    with pytest.raises(EmotionOmniError, match="Choose the study"):
        handlers.invite("", "rater", "", "", researcher)
    _, chosen, _ = create(handlers, researcher, recordings(tmp_path, "a.wav"))
    address, token = handlers.invite(chosen["value"], "rater", " students ", "", researcher).split("/#invite=")
    assert address == "http://studio.example"
    invited = studio.people.invites.read(token)
    assert (invited["study"], invited["role"], invited["cohort"]) == (chosen["value"], "rater", "students")


def test_the_notice_is_for_those_who_may_not_enter(studio, researcher):
    assert access.notice_for(studio, researcher) == (True, "{}")
    for role in ("stranger", "rater"):
        allowed, value = access.notice_for(studio, asking(studio, role))
        assert not allowed and "for researchers" in json.loads(value)["message"]


def test_messages_are_escaped_because_the_message_box_renders_html():
    def fail() -> None:
        raise EmotionOmniError(HOSTILE)

    with pytest.raises(gr.Error) as caught:
        access.explained(fail)()
    assert "&lt;img" in str(caught.value) and "<img" not in str(caught.value)


# --- making a study -----------------------------------------------------------------------------------------------


def test_recordings_become_items_and_the_title_stays_text(studio, handlers, researcher, tmp_path):
    message, chosen, progress = create(handlers, researcher, recordings(tmp_path, "a.wav", "b.wav"), HOSTILE)
    with studio.store.read() as view:
        assert len(view.items(chosen["value"], "rate")) == 2
    for page in (message, progress):
        assert "&lt;img" in page and "<img" not in page


def test_two_recordings_of_one_name_are_two_items(studio, handlers, researcher, tmp_path):
    _, chosen, _ = create(handlers, researcher, recordings(tmp_path, "one/a.wav", "two/a.wav", "b.wav"))
    with studio.store.read() as view:
        files = {item["content"]["source"]["file"]["speech"] for item in view.items(chosen["value"], "rate")}
    assert files == {"a.wav", "2/a.wav", "b.wav"}


def test_a_study_without_recordings_is_refused(handlers, researcher):
    with pytest.raises(EmotionOmniError, match="Add a zip file"):
        create(handlers, researcher, None)
    assert handlers.choices() == []


def test_a_plan_names_the_power_of_the_chosen_number_of_raters(handlers, researcher):
    page = handlers.plan(20, 10, 0, 1.5, researcher)
    assert "Power of the study" in page and "difference of 1.5 points" in page


# --- results ------------------------------------------------------------------------------------------------------


def test_flagged_raters_are_left_out_of_every_picture_unless_asked_for(studio, researcher):
    study = rated(studio)
    tab = results.Handlers(studio)
    queue, *_ = tab.list_items(study, False, None, None, researcher)
    _, _, people, _ = tab.show(study, False, researcher)
    assert len(queue) == 3 and set(queue["decided"]) == {""}
    for _, rater in people["choices"]:
        tab.judge(study, rater, "flagged", "answers at random", True, researcher)
    kept, _, people, link = tab.show(study, True, researcher)
    everybody, *_ = tab.show(study, False, researcher)
    for picture in ("intensity: How strong", "valence: How pleasant", "all (6 ratings)"):
        assert picture in everybody and picture not in kept
    assert "<img" not in everybody and f"{study}.zip" in link
    (label, rater) = people["choices"][0]
    assert rater not in label and rater not in everybody, "people are shown by pseudonym"


def test_a_researchers_verdict_needs_a_reason_and_brings_a_rater_back(studio, researcher):
    study = rated(studio)
    tab = results.Handlers(studio)
    _, _, people, _ = tab.show(study, True, researcher)
    (_, rater), (_, other) = people["choices"]
    for one in (rater, other):
        shown, *_ = tab.judge(study, one, "flagged", "answers at random", True, researcher)
    assert "all (3 ratings)" not in shown
    for who, reason in ((rater, "  "), ("", "known to me")):
        with pytest.raises(EmotionOmniError, match="give a reason"):
            tab.judge(study, who, "kept", reason, True, researcher)
    assert "all (3 ratings)" in tab.judge(study, rater, "kept", "known to me", True, researcher)[0]


def own_study(studio: Studio, name: str = "own") -> str:
    """Three items made of a researcher's files and table, rated by two raters."""
    clock = Clock()
    studio.sessions._now = clock
    items = [raters.item(studio, "emotion-recognition", number) for number in range(3)]
    for number, item in enumerate(items):
        item["content"]["source"] = {
            "file": {"speech": f"SECRETFILE{number}.wav"},
            "sha256": {"speech": f"SECRETHASH{number}"},
            "row": {"SECRETCOLUMN": "SECRETCELL", "take": str(10 - number), "n": HOSTILE, "list": ["SECRETLIST"]},
            "place": f"SECRETTABLE.csv, row {number + 2}",
        }
    raters.study(studio, "emotion-recognition", items, name, ratings_per_item=2)
    for _ in range(2):
        Rater(studio, name, clock).walk()
    return name


def test_items_are_listed_with_the_researchers_file_and_columns_and_filtered_by_one(studio, researcher):
    study = own_study(studio)
    tab = results.Handlers(studio)
    _, columns, *_ = tab.show(study, False, researcher)
    own = ["SECRETCOLUMN", "take", "own n", "list"]
    assert columns["choices"][1:] == ["file", "about", "answers", "decided", *own, "from"]
    items, count, choices, values = tab.list_items(study, False, "take", None, researcher)
    assert sorted(items["take"]) == [8, 9, 10], "numbers sort as numbers"
    assert set(items["own n"]) == {HOSTILE} and set(items["n"]) == {2} and set(items["list"]) == {'["SECRETLIST"]'}
    assert values["choices"][1:] == ["10", "8", "9"] and count == "3 of 3 items"
    one, count, choices, _ = tab.list_items(study, False, "take", "9", researcher)
    assert list(one["file"]) == ["SECRETFILE1.wav"] and list(one["from"]) == ["SECRETTABLE.csv, row 3"]
    assert [name for name, _ in choices["choices"]] == [f"SECRETFILE1.wav · {one['item'].item()}"]
    assert count == "1 of 3 items"
    none, *_ = tab.list_items(study, False, "take", "no such value", researcher)
    assert none.empty
    left, *_ = tab.list_items(study, False, "a column of another study", "x", researcher)
    assert len(left) == 3


def test_the_researchers_file_and_columns_are_beside_the_clip_that_is_adjudicated(studio, researcher):
    study = own_study(studio)
    tab = results.Handlers(studio)
    items, *_ = tab.list_items(study, False, "file", "SECRETFILE2.wav", researcher)
    shown, _ = tab.listen(study, items["item"].item(), researcher)
    for part in ("SECRETFILE2.wav", "SECRETTABLE.csv, row 4", "SECRETHASH2", "SECRETCOLUMN", "SECRETCELL"):
        assert part in shown
    assert "<img" not in shown and "&lt;img" in shown


def test_an_item_is_played_with_its_words_as_text_and_decided_with_a_value_of_its_scale(studio, researcher):
    study = rated(studio)
    tab = results.Handlers(studio)
    items = [item for item in tab.studio.results(study).items.values() if item["role"] == "rate"]
    item = items[0]["id"]
    players, values = tab.listen(study, item, researcher)
    assert f'src="studio/listen/{item}/speech"' in players and "&lt;img" in players and "<img" not in players
    assert "calm" in values["choices"]
    assert tab.listen(study, None, researcher)[0] == "", "the list has changed, and no item is chosen"
    with pytest.raises(EmotionOmniError, match="Choose an item"):
        tab.listen(study, "another", researcher)
    with pytest.raises(EmotionOmniError):
        tab.decide(study, item, "hungry", "slip", False, researcher)
    tab.decide(study, item, "calm", "r" * 1000, False, researcher)
    queue, *_ = tab.list_items(study, False, None, None, researcher)
    assert dict(zip(queue["item"], queue["decided"], strict=True))[item] == "calm"
    with studio.store.read() as view:
        (decision,) = view.decisions(study)
    assert (decision["value"], len(decision["reason"])) == ("calm", 400)
