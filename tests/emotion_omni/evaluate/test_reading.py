"""Reading as a good reader would: every line in words, and a sample of them spoken and heard back."""

from __future__ import annotations

import json

import pytest

from emotion_omni import audio, cli
from emotion_omni.evaluate import reading
from emotion_omni.synthesis.text_normalization import normalize_text
from emotion_omni.types import Audio

LINES = reading.lines()
SAMPLE = (
    "The ticket is 45 USD.",
    "She was born on 3/9/98.",
    "Wake me at 7:05 a.m. please.",
    "He drove 130 km/h.",
    "Dr. Watson lives on Baker St.",
    "It sold for $3.2M.",
    "STOP THAT NOW!",
    "His fiancée is Zoë.",
)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.written[:30])
def test_every_line_is_read_as_a_good_reader_would(line):
    assert reading.words(normalize_text(line.written)) == reading.words(line.spoken)


def test_there_are_300_lines_in_words():
    assert len({line.written for line in LINES}) == len(LINES) == 300
    assert not [line.spoken for line in LINES if not line.spoken.replace("'", "").replace(" ", "").isalpha()]


def test_writing_does_not_count_and_words_do():
    assert reading.errors("twelve dollars and fifty cents", "$12.50.") == (0, 5)
    assert reading.errors("call the F B I at seven P M", "Call the FBI at 7 p.m.")[0] == 0
    assert reading.errors("good night", "Goodnight!")[0] == 0
    assert reading.errors("five kilograms of rice", "Five grams of rice.") == (1, 4)
    assert reading.errors("five kilograms of rice", "") == (4, 4)


def test_a_line_is_wrong_above_the_bound():
    found = reading.sound_report(LINES[:2], [LINES[0].spoken, "something else"])
    assert found["wrong"] == 1 and found["wrong_lines"][0]["written"] == LINES[1].written and 0 < found["wer"] < 1


@pytest.mark.slow
def test_lines_that_speak_says_are_heard_back(tmp_path, capsys):
    from emotion_omni.evaluate.words import ours
    from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer

    spoken = {line.written: line.spoken for line in LINES}
    transcribe = ours(WhisperCT2Recognizer.load())
    counts = []
    for number, written in enumerate(SAMPLE):
        target = tmp_path / f"{number}.wav"
        assert cli.main(["speak", "--text", written, "--emotion", "neutral", "--out", str(target)]) == 0
        sound: Audio = audio.decode(target)
        counts.append(reading.errors(spoken[written], transcribe(sound)))
    wrong, total = (sum(column) for column in zip(*counts, strict=True))
    assert wrong <= 0.05 * total, list(zip(SAMPLE, counts, strict=True))


@pytest.mark.slow
def test_the_command_writes_its_report(tmp_path, capsys):
    assert cli.main(["evaluate", "--only", "reading", "--limit", "2", "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "reading.json").read_text()) and found["sound"]["lines"] == 2
    assert found["text"] == {"lines": 300, "wrong": 0, "wrong_lines": []}
