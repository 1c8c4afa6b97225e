"""The same log gives the same bytes; an export is whole or absent; no names are exported."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
import zipfile

import pyarrow.parquet as pq
import pytest
from conftest import tone
from export_desk import (
    answered,
    asked,
    contents,
    first_value,
    lines,
    prefers,
    scores,
    small,
    written,
)

from annotation.analysis.results import Results
from annotation.export import manifest as manifest_module
from annotation.export import writing
from annotation.export.writing import export_study, export_zip
from annotation.studio import Studio
from annotation.study import lifecycle
from emotion_omni.types import EmotionOmniError


def test_the_same_log_gives_the_same_bytes(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    study = small(desk)
    export_study(desk.studio, study, tmp_path / "one")
    for name in ("log", "audio"):
        shutil.copytree(desk.studio.home / name, tmp_path / "other" / name)
    shutil.copy(desk.studio.home / "secret", tmp_path / "other/secret")
    other = Studio.open(tmp_path / "other")
    export_study(other, study, tmp_path / "two")
    zips = [export_zip(studio, study) for studio in (desk.studio, other)]
    other.store.close()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(tmp_path / "one")


def test_the_manifest_matches_every_file(desk, tmp_path):
    study, out = small(desk), tmp_path / "out"
    manifest = export_study(desk.studio, study, out)
    assert json.loads((out / "manifest.json").read_text()) == dataclasses.asdict(manifest)
    assert manifest.files == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents(out).items() if name != "manifest.json"
    }
    for name, count in manifest.rows.items():
        assert written(out, name) == count
        assert (count > 0) == (not name.startswith("skips"))  # nobody has skipped anything
    log = b"".join(path.read_bytes() for path in desk.studio.store.log.segments())
    assert manifest.log_sha256 == hashlib.sha256(log).hexdigest()
    assert manifest.log_sequence == desk.studio.store.log.last
    assert all(path.stem == hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "audio").iterdir())


def test_an_earlier_export_is_replaced_and_nothing_else_is(desk, tmp_path):
    study, out = small(desk), tmp_path / "out"
    out.mkdir()
    export_study(desk.studio, study, out)
    before = contents(out)
    export_study(desk.studio, study, out)
    assert contents(out) == before
    (out / "my notes.txt").write_text("mine")
    with pytest.raises(EmotionOmniError, match="my notes.txt") as refused:
        export_study(desk.studio, study, out)
    assert refused.value.code == "not-empty" and (out / "my notes.txt").read_text() == "mine"
    with pytest.raises(EmotionOmniError, match="is a file") as refused:
        export_study(desk.studio, study, out / "README.md")
    assert refused.value.code == "not-empty"


def test_a_failure_leaves_the_earlier_export_and_no_partial_one(desk, tmp_path, monkeypatch):
    study, out = small(desk), tmp_path / "exports" / "out"
    export_study(desk.studio, study, out)
    before = contents(out)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "render_card", full)
    with pytest.raises(EmotionOmniError, match="No space left") as refused:
        export_study(desk.studio, study, out)
    assert refused.value.code == "disk"
    assert contents(out) == before and [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_unknown_study_is_refused_and_leaves_no_file(desk, tmp_path):
    with pytest.raises(EmotionOmniError) as refused:
        export_study(desk.studio, "nothing", tmp_path / "sub" / "out")
    assert refused.value.code == "not-found" and not list((tmp_path / "sub").iterdir())


def test_a_sound_that_changed_on_disk_is_refused(desk, tmp_path):
    study = small(desk)
    with desk.studio.store.read() as view:
        sha = view.items(study, "rate")[0]["content"]["clips"]["a"]["sha"]
    desk.studio.clips.path(sha).write_bytes(b"something else")
    with pytest.raises(EmotionOmniError) as refused:
        export_study(desk.studio, study, tmp_path / "out")
    assert refused.value.code == "clip-damaged" and not (tmp_path / "out").exists()


def test_a_withdrawal_during_an_export_stops_it_and_the_next_export_is_without_that_rater(desk, tmp_path, monkeypatch):
    study = small(desk)
    leaving = desk.rate(study, prefers("a"))
    with desk.studio.store.read() as view:
        pseudonym = Results.read(view, study, desk.studio.people.key).pseudonym(leaving)
        theirs = [row["id"] for row in view.ratings(study, rater=leaving)]
    export_study(desk.studio, study, tmp_path / "before")
    assert any(
        pseudonym.encode() in data for name, data in contents(tmp_path / "before").items() if name == "dpo.jsonl"
    )
    card = writing.render_card

    def while_somebody_leaves(*arguments):
        desk.studio.withdraw(rater=leaving, study=None)
        return card(*arguments)

    monkeypatch.setattr(writing, "render_card", while_somebody_leaves)
    with pytest.raises(EmotionOmniError) as refused:
        export_study(desk.studio, study, tmp_path / "out")
    assert refused.value.code == "changed-meanwhile" and not (tmp_path / "out").exists()
    monkeypatch.setattr(writing, "render_card", card)
    export_study(desk.studio, study, tmp_path / "after")
    gone = {pseudonym, leaving, *theirs}
    assert not gone & {
        row[key] for row in pq.read_table(tmp_path / "after/ratings.parquet").to_pylist() for key in ("rater", "rating")
    }
    assert not any(word.encode() in data for word in gone for data in contents(tmp_path / "after").values())


def test_names_accounts_and_contributor_codes_are_not_exported(desk, tmp_path):
    study = desk.study("empathy", [answered(desk, "I am here.", "So am I.")])
    lifecycle.add_items(
        desk.studio.store,
        study,
        [answered(desk, "This is my voice.", "It is a fine one.", contributor="code-of-the-voice")],
    )
    raters = [desk.rate(study, scores(5), name="Annabel Q. Rater") for _ in range(2)]
    export_study(desk.studio, study, tmp_path / "out")
    folder = tmp_path / "out"
    tables = [str(pq.read_table(folder / name).to_pylist()).encode() for name in ("ratings.parquet", "items.parquet")]
    for secret in ("Annabel", "code-of-the-voice", *raters):
        assert not any(secret.encode() in data for data in [*contents(folder).values(), *tables])
    by_query = {row["transcript"]: row for row in lines(folder, "sft.jsonl")}
    assert (by_query["This is my voice."]["contributed"], by_query["I am here."]["contributed"]) == (True, False)
    assert all(row["consent"] is True for row in by_query.values())


def test_sounds_of_different_rates_keep_their_own(desk, tmp_path):
    items = [desk.item({"speech": f"At {hz} hertz."}, {"speech": tone(0.4, hz=hz)}) for hz in (16_000, 24_000)]
    study = desk.study("emotion-recognition", items)
    desk.rate(study, lambda item, screen: asked(screen, first_value))
    export_study(desk.studio, study, tmp_path / "out")
    described = json.loads(pq.read_schema(tmp_path / "out/emotion.parquet").metadata[b"huggingface"])
    assert described["info"]["features"]["audio"] == {"_type": "Audio", "sampling_rate": None}


def test_a_folder_with_the_manifest_of_another_program_is_not_replaced(desk, tmp_path):
    study, out = small(desk), tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(json.dumps({"exporter": "another program", "files": {}}))
    with pytest.raises(EmotionOmniError, match="manifest.json") as refused:
        export_study(desk.studio, study, out)
    assert refused.value.code == "not-empty"


def test_the_code_hash_depends_on_names_and_contents_of_the_modules_that_decide_rows(tmp_path, monkeypatch):
    def hashed(**files: str) -> str:
        shutil.rmtree(tmp_path / "annotation", ignore_errors=True)
        for name, text in files.items():
            path = tmp_path / "annotation" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(text)
        monkeypatch.setattr(manifest_module, "__file__", str(tmp_path / "annotation/export/manifest.py"))
        return manifest_module.code_sha256()

    one = hashed(export__tables="a = 1", ui__results="b = 1")
    assert one == hashed(export__tables="a = 1", ui__results="b = 2"), "the screens decide no row"
    others = [hashed(export__tables="a = 2"), hashed(export__rows="a = 1"), hashed(analysis__raters="a = 1")]
    assert len({one, *others}) == 4
