"""A recording of an evaluation study is never trained on: in no disguise, and not after the study was deleted."""

from __future__ import annotations

import json

import pytest
from conftest import tone
from disguises import DISGUISES, part
from export_desk import lines, scores

from annotation.export.writing import export_study
from annotation.study import checks, lock_tags
from annotation.study.practice import practice_study


def evaluation(desk, *spoken: str, **more) -> str:
    items = [desk.item({"query": "", "reply": ""}, {"query": checks.spoken(name)}, **more) for name in spoken]
    return desk.study("empathy", items, split="evaluation")


def trained(desk, folder, *sounds, texts=None, **more):
    """Approved answers to these sounds → the queries that became rows, and the manifest."""
    names = texts or [f"Query number {number} is about a thing called {number}." for number in range(len(sounds))]
    items = [
        desk.item({"query": text, "reply": "Yes."}, {"query": sound}, **more)
        for text, sound in zip(names, sounds, strict=True)
    ]
    study = desk.study("empathy", items)
    for number in range(2):
        desk.rate(study, scores(5), name=f"Rater {number}")
    manifest = export_study(desk.studio, study, folder)
    rows = lines(folder, "sft.jsonl") if (folder / "sft.jsonl").exists() else []
    return [row["transcript"] for row in rows], manifest


@pytest.mark.parametrize("deleted", [False, True])
def test_a_copy_of_a_locked_recording_is_held_out_even_after_the_study_is_deleted(desk, tmp_path, deleted):
    known = checks.spoken("asks-job")
    study = evaluation(desk, "asks-job")
    if deleted:
        desk.studio.delete_study(study)
        desk.studio.store.rebuild()
    copies = [DISGUISES[name](known) for name in ("opus", "gain", "8 kHz", "silence", "start cut")]
    texts, manifest = trained(desk, tmp_path / "out", known, *copies, checks.spoken("kind-fire"))
    assert texts == ["Query number 6 is about a thing called 6."]
    assert manifest.excluded["split-lock"] == 6 and manifest.held_out == {"recording": 5, "sound": 1}
    assert "holds out 6 items: 5 by recording" in (tmp_path / "out/README.md").read_text()


def test_a_short_recording_is_found_with_another_gain(desk, tmp_path):
    short = part(checks.spoken("asks-dog"), 0.3, 0.4)
    item = desk.item({"query": "", "reply": ""}, {"query": short})
    desk.studio.delete_study(desk.study("empathy", [item], split="evaluation"))
    copy = type(short)(0.9 * short.samples, short.hz)
    texts, manifest = trained(desk, tmp_path / "out", copy, part(checks.spoken("asks-dog"), 0.5, 0.6))
    assert len(texts) == 1 and manifest.held_out == {"recording": 1}


def test_a_speaker_of_an_evaluation_study_is_held_out(desk, tmp_path):
    study = desk.study(
        "empathy", [desk.item({"query": "Hello there.", "reply": ""}, about={"Speaker ID": "P07"})], split="evaluation"
    )
    for _ in range(2):
        texts, manifest = trained(desk, tmp_path / "out", tone(0.3, pitch=71), about={"speaker": " p07"})
        assert texts == [] and manifest.held_out == {"speaker": 1}
        texts, _ = trained(desk, tmp_path / "out", tone(0.3, pitch=72), about={"speaker": "P08"})
        assert len(texts) == 1
        if _is_there(desk, study):
            desk.studio.delete_study(study)


def _is_there(desk, study: str) -> bool:
    with desk.studio.store.read() as view:
        return view.study(study) is not None


def test_words_and_family_stay_locked_without_being_kept(desk, tmp_path):
    text = "My neighbour moved away and I miss her very much."
    item = desk.item({"query": text, "reply": ""}, family="mill-family", about={"speaker": "Zoe Quandt"})
    desk.studio.delete_study(desk.study("empathy", [item], split="evaluation"))
    kept = b"".join(path.read_bytes() for path in desk.studio.home.rglob("*") if path.is_file())
    for word in (b"neighbour", b"mill-family", b"Quandt", b"quandt", item["content"]["clips"]["query"]["sha"].encode()):
        assert word not in kept
    near = "My neighbour has moved away and I miss her very much."
    _, manifest = trained(desk, tmp_path / "out", tone(0.3, pitch=73), texts=[near])
    assert manifest.held_out == {"words": 1}
    _, manifest = trained(desk, tmp_path / "out", tone(0.3, pitch=74), family="mill-family")
    assert manifest.held_out == {"family": 1}


def test_a_withdrawn_voice_leaves_hashes_of_its_samples_and_no_fingerprint(desk, tmp_path):
    known = checks.spoken("asks-job")
    evaluation(desk, "asks-job", contributor="code")
    opus = DISGUISES["opus"](known)
    texts, manifest = trained(desk, tmp_path / "out", opus)
    assert texts == [] and manifest.held_out == {"recording": 1}  # while the voice is there, so is its fingerprint
    desk.studio.withdraw_voice("code")
    with desk.studio.store.read() as view:
        kinds = {kind for kind, _ in view.locks()}
    assert "sound" in kinds and "waveform" in kinds
    gold = [item for item in checks_of(desk) if item["role"] == "gold"]
    own = {tag for item in gold for tag in lock_tags.permanent_tags(item, desk.studio.clips, desk.studio.people.key)}
    with desk.studio.store.read() as view:
        assert {tag for tag in view.locks() if tag[0] in ("print", "words")} <= own
    _, manifest = trained(desk, tmp_path / "out", known, opus)
    assert manifest.held_out == {"sound": 1}


def checks_of(desk) -> list[dict]:
    with desk.studio.store.read() as view:
        return [item for study in view.studies() for item in view.items(study["id"])]


def test_items_locked_by_an_earlier_release_are_tagged_when_they_are_deleted(desk, tmp_path):
    study = evaluation(desk, "asks-job")
    with desk.studio.store.writer.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM locks")
    opus = DISGUISES["opus"](checks.spoken("asks-job"))
    assert trained(desk, tmp_path / "out", opus)[1].held_out == {"recording": 1}
    desk.studio.delete_study(study)
    assert trained(desk, tmp_path / "out", opus)[1].held_out == {"recording": 1}


def test_training_and_practice_studies_lock_nothing(desk):
    desk.study("empathy", [desk.item({"query": "Hello.", "reply": "Yes."})])
    practice_study(desk.studio.store, desk.studio.clips, "empathy")
    with desk.studio.store.read() as view:
        assert view.locks() == set()


def test_another_signing_key_is_reported(desk, tmp_path):
    desk.study("empathy", [desk.item({"query": "Hello there.", "reply": ""})], split="evaluation")
    tags = {("key", "of-another"), ("sound", "0" * 32)}
    desk.studio.store.write(lambda transaction: lock_tags.lock(transaction, tags))
    _, manifest = trained(desk, tmp_path / "out", tone(0.3, pitch=75))
    assert "another signing key" in manifest.notes[0]
    assert json.loads((tmp_path / "out/manifest.json").read_text())["notes"] == list(manifest.notes)
