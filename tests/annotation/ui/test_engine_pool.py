"""While large weights are prepared a smaller engine answers, under its own name."""

from __future__ import annotations

import threading

import pytest

from annotation.ui.engine_pool import EnginePool
from emotion_omni import engine
from emotion_omni.fake import FakeEngine
from emotion_omni.types import EmotionOmniError


class Loader:
    """Engines with names; the large one takes until ``prepared`` is set."""

    def __init__(self) -> None:
        self.prepared, self.asked = threading.Event(), []
        self.fails = False

    def __call__(self, name: str) -> engine.Engine:
        self.asked.append(name)
        if name == "embedded":
            assert self.prepared.wait(20)
            if self.fails:
                raise EmotionOmniError("no network", "weights")
        loaded = FakeEngine()
        loaded.name = name
        return loaded


@pytest.fixture
def loader(monkeypatch) -> Loader:
    found = Loader()
    monkeypatch.setattr(engine, "stand_in", lambda name: "embedded-small" if name == "embedded" else "")
    return found


def wait_for(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen within 20 s")


def test_the_smaller_one_answers_until_the_larger_is_ready(loader: Loader) -> None:
    pool = EnginePool(loader)
    assert [pool.get_at_once("embedded").name for _ in range(3)] == ["embedded-small"] * 3
    loader.prepared.set()
    wait_for(lambda: pool.is_ready("embedded"))
    assert pool.get_at_once("embedded").name == "embedded"
    assert sorted(loader.asked) == ["embedded", "embedded-small"]  # each was loaded once


def test_a_failure_is_tried_again_and_the_smaller_one_goes_on(loader: Loader) -> None:
    loader.fails = True
    loader.prepared.set()
    pool = EnginePool(loader)
    assert pool.get_at_once("embedded").name == "embedded-small"
    wait_for(lambda: "embedded" in loader.asked and not pool._begun)
    loader.fails = False
    assert pool.get_at_once("embedded").name == "embedded-small"
    wait_for(lambda: pool.is_ready("embedded"))


def test_what_needs_no_preparation_is_not_replaced(loader: Loader) -> None:
    assert EnginePool(loader).get_at_once("fake").name == "fake"
    loader.prepared.set()
    assert EnginePool(loader).get("embedded").name == "embedded"  # who asks for the very engine waits for it


def test_a_rating_keeps_the_name_of_the_engine_that_answered(loader: Loader) -> None:
    pool = EnginePool(loader)
    assert engine.rated_as("embedded", pool.get_at_once("embedded")) == "embedded-small"
    loader.prepared.set()
    wait_for(lambda: pool.is_ready("embedded"))
    assert engine.rated_as("embedded", pool.get_at_once("embedded")) == "embedded"
