"""The gate refuses a child that loses beyond noise, and one that nothing could judge."""

from __future__ import annotations

import dataclasses

import pytest

from emotion_omni.cascade import presets
from emotion_omni.evaluate import gate
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Sources
from emotion_omni.evaluate.subject import Subject
from emotion_omni.types import EmotionOmniError


@pytest.fixture
def pair(tmp_path):
    """A child that differs in the voice alone, and its parent."""
    base = presets.embedded()
    other = dataclasses.replace(base, synthesizer=dataclasses.replace(base.synthesizer, voice="am_liam"))
    return Subject("child", tmp_path, other), Subject("parent", tmp_path, base)


def measure(values, name="voice", parts=("synthesizer",), guarded=True):
    """``values``: by the subject's name, or an exception."""

    def run(run):
        value = values[run.subject.name]
        if isinstance(value, Exception):
            raise value
        return Outcome([Sample("heard", f"clip {n}", value + n % 3 / 10) for n in range(12)])

    figures = (Figure("heard", "is heard", guarded=guarded),)
    return Measure(name, name, "Voice", "", figures, parts, run, {"quick": 0}, cached=False)


def check(pair, *measures, monkeypatch):
    monkeypatch.setattr(gate.registry, "MEASURES", measures)
    return gate.check(*pair, "quick", Sources(), pair[0].cache, lambda text: None, measures)


def test_a_child_that_loses_is_refused_and_told_why(pair, monkeypatch):
    words = measure({"child": 0.0, "parent": 0.9}, "words", ("recognizer",))  # of a part that is the same
    verdict = check(pair, measure({"child": 0.1, "parent": 0.7}), words, monkeypatch=monkeypatch)
    assert not verdict.passes and len(verdict.lost) == 1 and not verdict.unjudged
    error = verdict.refuse()
    assert error.code == "gate" and "child does not take the place of parent" in str(error)
    assert "voice, is heard: 0.200, the parent's 0.800" in str(error)


def test_a_child_that_is_as_good_passes(pair, monkeypatch):
    verdict = check(pair, measure({"child": 0.7, "parent": 0.7}), monkeypatch=monkeypatch)
    assert verdict.passes and verdict.scores == {"voice heard": 0.8}


def test_a_part_that_nothing_could_judge_is_refused(pair, monkeypatch):
    verdict = check(pair, measure({"child": NotRun("no recordings"), "parent": 0.7}), monkeypatch=monkeypatch)
    assert not verdict.passes and verdict.unjudged[0].startswith("the synthesizer (voice: no recordings")


def test_the_same_is_no_child(pair, monkeypatch):
    with pytest.raises(EmotionOmniError, match="the same in every part"):
        check((pair[1], pair[1]), measure({}), monkeypatch=monkeypatch)
