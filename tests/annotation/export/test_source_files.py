"""Ratings join back to the files that a researcher brought."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pandas as pd
from conftest import noise, tone
from export_desk import Desk, asked, first_value

from annotation.export.writing import export_study
from annotation.study import importing
from annotation.study.source import Source
from emotion_omni import audio


def test_ratings_join_the_researchers_table_by_one_merge(desk: Desk, tmp_path: Path) -> None:
    sounds = {"a.wav": audio.wav_bytes(tone(0.5)), "deep/b.wav": audio.wav_bytes(noise(0.5))}
    own = pd.DataFrame({"speech": list(sounds), "Speaker": ["s1", "s2"], "take": [0, 7]})
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name, data in sounds.items():
            archive.writestr(name, data)
        archive.writestr("items.csv", own.to_csv(index=False))
    rules = {"title": "T", "template": "emotion-recognition"}
    items = importing.read_source(Source.archive(tmp_path / "in.zip"), desk.studio.clips, rules)[1]
    study = desk.study("emotion-recognition", items, split="evaluation")
    desk.rate(study, lambda item, screen: asked(screen, first_value))
    out = tmp_path / "out"
    export_study(desk.studio, study, out)
    ratings = pd.read_parquet(out / "ratings.parquet")
    joined = ratings.merge(own, left_on="source_file", right_on="speech")
    rated = joined[joined["scale"] == "primary"]
    assert sorted(rated["Speaker"]) == ["s1", "s2"]
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sounds.items()}
    assert dict(zip(rated["source_file"], rated["source_sha256"], strict=True)) == hashes
    table = pd.read_parquet(out / "items.parquet").dropna(subset="speech_source_file")
    assert dict(zip(table["speech_source_file"], table["source_row_Speaker"], strict=True)) == {
        "a.wav": "s1",
        "deep/b.wav": "s2",
    }
    assert sorted(table["source_row_take"]) == ["0", "7"]
