"""The measurement of fingerprints, on a small corpus of our own voice."""

from __future__ import annotations

import csv

import soundfile

from annotation.bench import recordings
from annotation.study import checks


def test_disguises_are_found_and_other_sentences_are_not(tmp_path):
    names = ("asks-dog", "asks-job", "kind-fire", "cold-dog")
    rows = [
        {"path": f"{name}.wav", "split": "test", "source": "ours", "speaker": "s", "transcript": "t"} for name in names
    ]
    for name, row in zip(names, rows, strict=True):
        sound = checks.spoken(name)
        soundfile.write(tmp_path / row["path"], sound.samples, sound.hz)
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows([*rows, rows[0] | {"split": "dev"}])
    found = recordings.run([tmp_path], "test", originals=2)
    assert found["clips"] == 4 and found["without_fingerprint"] == 0
    assert len(found["disguises"]) == 19
    assert all(of == {"found": 2, "of": 2} for of in found["disguises"].values())
    assert found["takes"]["ours"]["pairs"] == 6 and found["takes"]["ours"]["false"] == 0
    assert found["lookup"]["false"] == 0 and found["lookup"]["copies"] == {}


def test_a_copy_under_another_name_is_no_false_match(tmp_path):
    sound = checks.spoken("asks-dog")
    for name in ("one.wav", "two.wav"):
        soundfile.write(tmp_path / name, sound.samples, sound.hz)
    assert recordings.correlation(str(tmp_path / "one.wav"), str(tmp_path / "two.wav")) > recordings.SAME_WAVEFORM
