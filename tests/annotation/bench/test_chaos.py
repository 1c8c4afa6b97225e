"""The crash test: what a killed server acknowledged is in the store."""

from __future__ import annotations

import pytest

from annotation.bench import chaos, load


@pytest.mark.slow
def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path):
    report = chaos.run(submits=60, kills=2, raters=8, home=tmp_path / "home")
    assert report["acknowledged"] >= 60 and report["kills"] == 2
    assert report["lost"] == report["duplicated"] == 0 and report["rebuild_agrees"]


def test_a_rating_that_was_acknowledged_but_not_stored_is_reported_as_lost(tmp_path):
    load.prepare(tmp_path, raters=1, items=2, overlap=1, stored=0)
    trial = chaos.Trial(submits=2)
    trial.record("never stored", saved=True)
    trial.record("refused", saved=False)
    report = chaos._compare_store(tmp_path, trial)
    assert (report["acknowledged"], report["lost"], report["refused"]) == (1, 1, 1)
    assert report["rebuild_agrees"] and not trial.is_over
