"""The load test: raters lose nothing, invalid submits are refused, and figures are what was measured."""

from __future__ import annotations

import random

import pytest

from annotation.bench import load


@pytest.mark.slow
def test_raters_at_once_lose_nothing_and_invalid_submits_are_refused(tmp_path):
    report = load.run(raters=12, seconds=3, stored=50, home=tmp_path / "home")
    assert report["failed"] == report["lost"] == report["double_assignments"] == 0, report["failures"]
    assert report["ratings"] > 12 and all(report["refused"].values())


def test_the_report_counts_lost_ratings_failures_and_times(tmp_path):
    load.prepare(tmp_path, raters=2, items=3, overlap=1)
    measured = load.Measurements()
    for seconds in (1.0, 2.0, 3.0):
        measured.seconds["next"].append(seconds)
    measured.acknowledge("never stored")
    measured.fail("submit 500 None")
    found = load._figures(tmp_path, measured, elapsed=2.0, overlap=1)
    assert (found["next_p50_s"], found["clip_p50_s"]) == (2.0, None)
    assert (found["ratings"], found["ratings_per_second"], found["lost"]) == (1, 0.5, 1)
    assert (found["failed"], found["failures"], found["double_assignments"]) == (1, {"submit 500 None": 1}, 0)


def test_a_random_form_answers_every_required_question():
    scales = [
        {"name": "primary", "required": True, "kind": "choice", "options": [{"value": "sad"}, {"value": "calm"}]},
        {"name": "intensity", "required": True, "kind": "points", "low": 1, "high": 5},
        {"name": "note", "required": False, "kind": "text"},
    ]
    form = load.random_form({"scales": scales, "assignment": "a"}, "receipt", random.Random(0))
    assert form["values"].keys() == {"primary", "intensity"}
    assert form["values"]["primary"] in ("sad", "calm") and 1 <= form["values"]["intensity"] <= 5
