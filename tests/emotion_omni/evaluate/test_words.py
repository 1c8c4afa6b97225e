"""The benchmark of words: which clips it takes, and how it counts."""

from __future__ import annotations

import numpy as np
import soundfile

from emotion_omni.evaluate.words import Recording, manifest, without_words, word_error_rates, word_errors
from emotion_omni.types import Audio

SOUND = Audio(np.zeros(1600, np.float32), 16_000)


def recording(source: str, language: str, transcript: str) -> Recording:
    return Recording(source, language, transcript, lambda: SOUND)


def test_case_and_punctuation_do_not_count():
    assert word_errors(["Kids are talking, by the door."], ["kids are talking by the door"]) == 0
    assert word_errors(["one two three four"], ["one two tree"]) == 0.5
    assert word_errors(["one two"], [""]) == 1


def test_rates_are_by_corpus_and_system():
    clips = [recording("A", "en", "yes"), recording("A", "en", "no"), recording("B", "en", "go")]
    found = word_error_rates(clips, {"right": lambda sound: "yes", "mute": lambda sound: ""})
    assert found["A"]["right"]["wer"] == 0.5 and found["A"]["mute"]["wer"] == 1 and found["B"]["clips"] == 1


def test_empty_transcripts_are_counted_by_language():
    clips = [recording("A", "en", "yes"), recording("A", "de", ""), recording("A", "", "")]
    answers = iter(["yes", ""])
    found = without_words(clips, lambda sound: next(answers))
    assert found == {"A en": {"clips": 1, "empty": 0.0}, "A de": {"clips": 1, "empty": 1.0}}


def test_the_clips_of_a_split_are_spread_over_the_manifest(tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND.samples, 16_000)
    rows = [f"a.wav,{number},en,A,{'dev' if number % 2 else 'test'}" for number in range(20)]
    (tmp_path / "manifest.csv").write_text("path,transcript,language,source,split\n" + "\n".join(rows) + "\n")
    assert [one.transcript for one in manifest(tmp_path, "dev", 5)] == ["1", "5", "9", "13", "17"]
    assert len(manifest(tmp_path, "dev", 100)) == 10
