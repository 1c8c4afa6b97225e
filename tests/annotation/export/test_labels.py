"""Labels given after the model's guess was shown are exported on request only, and marked."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from export_desk import asked, first_value

from annotation.__main__ import main
from annotation.export.labels import count_labels
from annotation.export.writing import export_study, export_zip
from annotation.ui.results import _downloads
from emotion_omni.types import EmotionOmniError


def rated(desk, hidden: float, raters: int = 8) -> str:
    guess = {"label": "sad", "probability": 0.6}
    items = [desk.item({"speech": text}, guess=guess) for text in ("So nice.", "Who knows.")]
    study = desk.study("emotion-recognition", items, guess_hidden_share=hidden)

    def hears(item, screen):
        values = asked(screen, lambda scale: scale.low if scale.kind == "points" else first_value(scale))
        return values | {"primary": "sad" if screen["guess"] else "calm"}

    for number in range(raters):
        desk.rate(study, hears, name=f"Rater {number}")
    return study


def labels_of(folder) -> dict[str, set[str]]:
    emotion = pq.read_table(folder / "emotion.parquet").to_pylist()
    ratings = pq.read_table(folder / "ratings.parquet").to_pylist()
    assert all((row["anchoring"] == "anchored") == row["guess_shown"] for row in ratings)
    chosen = {row["anchoring"] for row in ratings if row["kind"] == "rate"}
    assert chosen == {row["anchoring"] for row in emotion}
    return {kind: {row["label"] for row in emotion if row["anchoring"] == kind} for kind in chosen}


def test_labels_given_without_the_guess_are_exported_unless_others_are_asked_for(desk, tmp_path):
    study = rated(desk, hidden=0.5)
    manifest = export_study(desk.studio, study, tmp_path / "out")
    assert labels_of(tmp_path / "out") == {"unanchored": {"calm"}} and manifest.labels == "unanchored"
    assert sum(manifest.label_counts.values()) == 16 and min(manifest.label_counts.values()) > 0
    export_study(desk.studio, study, tmp_path / "out", labels="anchored")
    assert labels_of(tmp_path / "out") == {"anchored": {"sad"}}
    export_study(desk.studio, study, tmp_path / "out", labels="both")
    assert labels_of(tmp_path / "out") == {"anchored": {"sad"}, "unanchored": {"calm"}}


def test_a_study_with_anchored_labels_only_says_so(desk, tmp_path, capsys, monkeypatch):
    study = rated(desk, hidden=0.0, raters=2)
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(desk.studio.home))
    assert main(["export", study, str(tmp_path / "out"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["label_counts"] == {"unanchored": 0, "anchored": 4}
    assert summary["excluded"] == {"no-label-of-this-kind": 2}
    (note,) = summary["notes"]
    assert "anchored labels only: all 4 ratings" in note and "--labels anchored" in note
    assert note in (tmp_path / "out/README.md").read_text()
    assert main(["export", study, str(tmp_path / "out"), "--labels", "anchored", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [] and labels_of(tmp_path / "out") == {"anchored": {"sad"}}


def test_the_page_offers_both_kinds_with_their_numbers(desk):
    study = rated(desk, hidden=0.5)
    shown = _downloads(study, count_labels(desk.studio.results(study).ratings))
    assert f"{study}.zip?labels=anchored" in shown and f"{study}.zip?labels=both" in shown
    assert "anchored labels only" in _downloads("s", {"unanchored": 0, "anchored": 4})
    assert "labels=" not in _downloads("s", {"unanchored": 4, "anchored": 0})


def test_other_labels_are_refused(desk):
    with pytest.raises(EmotionOmniError, match="unanchored, anchored, both"):
        export_zip(desk.studio, "s", "all")
