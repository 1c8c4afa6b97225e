"""Measures are taken once, explained where they cannot be, and set beside the parent's."""

from __future__ import annotations

import json
import re

import pytest

from emotion_omni.evaluate import report_page, reports, suite
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Sources
from emotion_omni.evaluate.registry import MEASURES, NAMES, chosen, depending_on
from emotion_omni.evaluate.subject import PARTS, Subject
from emotion_omni.types import EmotionOmniError

FIGURES = (Figure("kind", "is kind", guarded=True), Figure("words", "words", "neither", "words"))


def measure(run, name="kindness", **more) -> Measure:
    return Measure(name, name.title(), "Answering", "How kind.", FIGURES, ("responder",), run, {"quick": 3}, **more)


def outcome(value: float) -> Outcome:
    rows = [Sample("kind", f"p{n}", value + n % 2 / 10) for n in range(8)] + [Sample("words", "p1", 5.0)]
    return Outcome(rows, {"examples": [{"said": "<b>", "reply": "oh"}]}, {"energy": "no counters"})


@pytest.fixture
def subject(tmp_path) -> Subject:
    return Subject("fake", tmp_path)


def take(subject, one, tmp_path):
    return suite.take(subject, one, "quick", Sources(), tmp_path, lambda text: None)


def test_a_measure_is_taken_once(subject, tmp_path):
    calls = []
    one = measure(lambda run: calls.append(run.size) or outcome(0.5))
    first, second = take(subject, one, tmp_path), take(subject, one, tmp_path)
    assert calls == [3] and not first.from_cache and second.from_cache
    assert second.outcome.samples == first.outcome.samples
    (file,) = tmp_path.glob("kindness-*.json")
    file.write_text(file.read_text()[:40])  # cut short by a kill
    assert not take(subject, one, tmp_path).from_cache and calls == [3, 3]


def test_what_depends_on_the_load_of_the_machine_is_never_kept(subject, tmp_path):
    one = measure(lambda run: outcome(0.5), cached=False)
    assert not take(subject, one, tmp_path).from_cache and not take(subject, one, tmp_path).from_cache
    assert not list(tmp_path.glob("*.json"))


def test_the_key_is_of_what_a_measure_depends_on(subject, tmp_path, monkeypatch):
    data = tmp_path / "set.tsv"
    data.write_text("one")
    one = measure(lambda run: outcome(0.5), files=(data,), sources=("ratings",), environment=("JUDGE_OF_TEST",))
    keys = [suite.key(subject, one, "quick", Sources())]
    data.write_text("two")
    keys.append(suite.key(subject, one, "quick", Sources()))
    (tmp_path / "ratings.jsonl").write_text("{}")
    keys.append(suite.key(subject, one, "quick", Sources(ratings=tmp_path)))
    monkeypatch.setenv("JUDGE_OF_TEST", "mine")
    keys.append(suite.key(subject, one, "quick", Sources(ratings=tmp_path)))
    monkeypatch.setitem(subject.identities, "responder", "another")
    keys.append(suite.key(subject, one, "quick", Sources(ratings=tmp_path)))
    assert len(set(keys)) == 5
    monkeypatch.setitem(subject.identities, "synthesizer", "another")
    assert suite.key(subject, one, "quick", Sources(ratings=tmp_path)) == keys[-1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotRun("it needs recordings"), "it needs recordings"),
        (EmotionOmniError("No weights here.", "weights"), "No weights here. (weights)"),
        (ImportError("No module named 'jiwer'"), "No module named 'jiwer'. Run: pip install"),
    ],
)
def test_what_cannot_be_taken_says_why(subject, tmp_path, error, reason):
    def run(_):
        raise error

    taken = take(subject, measure(run), tmp_path)
    assert taken.outcome is None and taken.why_not.startswith(reason)
    assert "why_not" in suite.report(subject, [taken], "quick")["measures"][0]


def test_a_measure_of_the_other_suite_is_named(subject, tmp_path):
    one = Measure("slow", "Slow", "Judged", "", (), PARTS, lambda run: outcome(1), {"full": 0})
    assert take(subject, one, tmp_path).why_not == "only in the suite full: it takes long"


def two(tmp_path, mine: float, theirs: float):
    child, parent = Subject("fake", tmp_path / "a"), Subject("fake", tmp_path / "b")
    taken = [
        suite.take_all(one, [measure(lambda run, v=v: outcome(v))], "quick", Sources(), one.cache, lambda text: None)
        for one, v in ((child, mine), (parent, theirs))
    ]
    return suite.report(child, taken[0], "quick", parent, taken[1])


def test_parent_beside_child(tmp_path):
    report = two(tmp_path, 0.3, 0.6)
    kind, words = report["measures"][0]["figures"]
    assert kind["difference"]["value"] == pytest.approx(-0.3) and kind["difference"]["beyond_noise"] and kind["loses"]
    assert words["value"] == words["parent"]["value"] == 5 and not words["loses"]
    assert json.loads(json.dumps(report)) == report and report["same_parts"] == list(PARTS)
    assert "loses" in suite.as_text(report)
    assert not two(tmp_path / "more", 0.6, 0.3)["measures"][0]["figures"][0]["loses"]


def test_the_page_is_whole_and_asks_for_nothing(tmp_path):
    page = report_page.page(two(tmp_path, 0.3, 0.6))
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
    assert not re.search(r"<script|src=|url\(|@import|<link", page)
    assert "&lt;b&gt;" in page and "<td><b></td>" not in page
    assert "Worse beyond noise" in page and "energy: no counters" in page and "UTMOS" in page


def test_every_measure_is_named_once_and_its_figures_are_known():
    assert len(set(NAMES)) == len(NAMES) >= 18
    for one in MEASURES:
        assert set(one.parts) <= set(PARTS) and set(one.sizes) <= {"quick", "full"} and one.text
        assert one.figure(one.figures[0].name) in one.figures if one.figures else True
    for part in PARTS:
        assert depending_on([part])
    with pytest.raises(EmotionOmniError, match="Did you mean 'crisis'"):
        chosen(["crisiss"])


def test_a_figure_of_a_part_is_not_guarded_by_itself():
    one = measure(lambda run: outcome(1))
    assert one.figure("kind: sad people").title == "is kind: sad people" and not one.figure("kind: sad people").guarded


def test_reports_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path))
    assert reports.page_of("embedded") is None
    path = reports.save("embedded:../../x", {"a": 1}, "<html>")
    assert path.is_relative_to(tmp_path / "reports") and reports.page_of("embedded:../../x") == path
    assert reports.folder_of("a:b") != reports.folder_of("a_b")
