"""The Results tab is drawn once for each state of the store, and again after an event."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotation.bench.figures import STUDY, fill
from annotation.studio import Studio
from annotation.ui import drawings as module
from annotation.ui.drawings import KEPT_DRAWINGS, Drawings
from emotion_omni.types import EmotionOmniError


def test_a_study_is_drawn_again_only_after_an_event(tmp_path: Path):
    studio = Studio.open(tmp_path)
    fill(studio, 300, 10, 5, "emotion-recognition")
    drawings = Drawings(studio)
    first = drawings.get(STUDY, True)
    assert drawings.get(STUDY, True) is first and drawings.get(STUDY, False) is not first
    facts = {"subject": "item", "item": "i000001", "scale": "primary", "value": "calm", "reason": "", "by": "r0001"}
    for number in range(KEPT_DRAWINGS + 2):
        studio.store.write(lambda t, n=number: t.record("decided", decision=f"d{n}", study=STUDY, **facts))
        assert drawings.get(STUDY, True) is not first
    items = drawings.get(STUDY, True).items.set_index("item")
    assert items.loc["i000001", "decided"] == "calm" and len(drawings._kept) == KEPT_DRAWINGS
    studio.close()


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawings]:
    """A study that counts as large."""
    monkeypatch.setattr(module, "LARGE", 300)
    studio = Studio.open(tmp_path)
    fill(studio, 300, 10, 5, "emotion-recognition")
    drawings = Drawings(studio)
    yield drawings
    drawings.process.close()
    studio.close()


def test_a_large_study_is_drawn_once_by_another_process_for_all_who_ask(large: Drawings, monkeypatch):
    here = module.draw
    monkeypatch.setattr(module, "draw", None)  # not in this process
    asked: list[str] = []
    drawn_by = large.process.draw
    monkeypatch.setattr(large.process, "draw", lambda study, kept: asked.append(study) or drawn_by(study, kept))
    with ThreadPoolExecutor(6) as pool:
        drawn = list(pool.map(lambda _: large.get(STUDY, True), range(6)))
    assert asked == [STUDY] and all(one is drawn[0] for one in drawn)
    with large.studio.store.read() as view:
        same = here(view, STUDY, True, large.studio.people.key)
    assert drawn[0].pictures == same.pictures and drawn[0].items.equals(same.items)


def test_a_process_that_was_killed_is_replaced(large: Drawings):
    large.prepare()
    first = large.process.start()
    assert large.process.start() == first
    os.kill(first, signal.SIGKILL)
    assert large.get(STUDY, False).raters and large.process.start() != first


def test_a_process_that_cannot_draw_is_an_error_that_says_so(large: Drawings, monkeypatch):
    large.process.url = "sqlite:////no/such/folder/studio.db"
    with pytest.raises(EmotionOmniError, match="could not be computed"):
        large.get(STUDY, True)
    monkeypatch.setattr(large.process, "url", large.studio.store.url)
    assert large.get(STUDY, True).raters


def test_what_is_wrong_with_a_study_is_said_by_either_process(large: Drawings):
    for draw in (large.get, large.process.draw):
        with pytest.raises(EmotionOmniError, match="no such study"):
            draw("another", True)
