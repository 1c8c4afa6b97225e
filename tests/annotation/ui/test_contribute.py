"""Giving the last turn of a conversation to research."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from realtime_client import Client

from annotation.studio import Studio
from annotation.study.rules import Study
from annotation.ui.talk import contribute
from emotion_omni.fake import FakeEngine
from emotion_omni.types import EmotionOmniError


@pytest.fixture
def studio(tmp_path) -> Iterator[Studio]:
    opened = Studio.open(tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def client() -> Client:
    return Client(FakeEngine())


@pytest.fixture
def give(studio, client) -> contribute.Handlers:
    return contribute.Handlers(studio, client.service.conversations)


def stored(studio: Studio, code: str) -> dict[str, Any]:
    with studio.store.read() as view:
        (item,) = view.contributed(code)
    return item["content"]["about"]


def correct(client: Client, label: str, words: str) -> None:
    client.send("emotion_omni.correct", item_id=client.conversation.turns[-1].identity, emotion=label, transcript=words)
    client.done()


def test_only_an_agreed_and_finished_turn_is_stored(give, client, studio, monkeypatch):
    name = client.conversation.identity
    with pytest.raises(EmotionOmniError, match="no finished turn"):
        give.save(name, True, "")
    client.say()
    with pytest.raises(EmotionOmniError, match="without your agreement"):
        give.save(name, False, "")
    with pytest.raises(EmotionOmniError, match="no finished turn"):
        give.save("conv_guessed", True, "")
    with pytest.raises(EmotionOmniError, match="Choose one of the list"):
        give.save(name, True, "another")
    monkeypatch.setenv("SPACE_ID", "user/space")
    with pytest.raises(EmotionOmniError, match="does not store"):
        give.save(name, True, "")
    assert not list(studio.clips.folder.rglob("*.flac"))


def test_what_is_stored_are_the_models_hearing_and_the_speakers_corrections(give, client, studio):
    client.say()
    name, own = client.conversation.identity, client.conversation.turns[0].heard
    _, plain = give.save(name, True, "")
    assert stored(studio, plain["value"])["corrections"] == {}
    correct(client, own.emotion.label, "My own words")
    _, words = give.save(name, True, "")
    assert stored(studio, words["value"])["corrections"] == {"transcript": "My own words"}
    correct(client, "sad", "My own words")
    _, both = give.save(name, True, "")
    about = stored(studio, both["value"])
    assert about["corrections"] == {"emotion": "sad", "transcript": "My own words"}
    assert about["transcript"] == own.transcript and max(about["heard"], key=about["heard"].get) == own.emotion.label


def test_turns_can_go_only_to_open_studies_that_take_them(give, studio):
    rules = {"template": "empathy", "takes_turns": True}
    rows = {
        "fits": ({"title": "Fits", **rules}, "open"),
        "rests": ({"title": "Rests", **rules}, "paused"),
        "closed": ({"title": "Closed", **rules}, "closed"),
        "invited": ({"title": "Invited", "access": "invited", **rules}, "open"),
        "private": ({"title": "Private", **rules, "takes_turns": False}, "open"),
    }

    def add(transaction: Any) -> None:
        for name, (settings, state) in rows.items():
            settings = Study.read(settings).settings()
            transaction.record("study.created", study=name, settings=settings, state=state, by=None)

    studio.store.write(add)
    assert {name for _, name in give.studies()} == {"", "fits", "rests"}
