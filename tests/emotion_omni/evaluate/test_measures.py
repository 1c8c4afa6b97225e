"""Measures on the fake engine: the sets in the repository, and what counts."""

from __future__ import annotations

import csv
import re

import pytest

from emotion_omni import emotion, json_lines
from emotion_omni.evaluate import made_up_speech, reply_sheets
from emotion_omni.evaluate.figures import by_figure, summary
from emotion_omni.evaluate.made_up_speech import Query, read_recordings
from emotion_omni.evaluate.measure import NotRun, Run, Sources
from emotion_omni.evaluate.measures import (
    conversation,
    counterfactuals,
    crisis,
    end_to_end,
    pleasing,
    recognition,
    speed,
    truth,
)
from emotion_omni.evaluate.subject import Reply, Subject
from emotion_omni.types import EmotionOmniError


@pytest.fixture
def run(tmp_path):
    return Run(Subject("fake", tmp_path), 3, Sources(), tmp_path, lambda text: None)


def answering(run, reply):
    """The engine of ``run`` with given replies: (text, tone) → reply."""
    run.subject.reply = lambda text, tone, earlier=(), seed=0: Reply(reply(text, tone), "neutral", tone, "calm")
    return run


def values(outcome):
    return {name: summary(samples)["value"] for name, samples in by_figure(outcome.samples).items()}


def test_the_sets_are_whole():
    questions = truth.questions()
    assert len(questions) == 200 and {one.kind for one in questions} == {"fact", "belief"}
    for one in questions:
        re.compile(one.right), re.compile(one.wrong)
        assert one.text.endswith("?") and (one.right or one.kind == "belief")
        assert one.kind == "belief" or truth.verdict(one, one.right.split("|")[0].replace("\\b", "")) == "right"
    rows = [row for _, row in json_lines.read_file(conversation.TALKS)]
    assert all(len(row["turns"]) == 20 and all(tone in emotion.NAMES for _, tone in row["turns"]) for row in rows)
    for path in (pleasing.SET, counterfactuals.CONFLICTS, counterfactuals.SWAPS):
        found = [row for _, row in json_lines.read_file(path)]
        assert len({row["id"] for row in found}) == len(found) >= 12
    unseen = {row["text"] for row in reply_sheets.prompts()}
    assert not unseen & {row["text"] for row in counterfactuals.swaps(0)}


def test_moods_that_cost_the_truth(run):
    false = answering(run, lambda text, tone: "Yes, you're right." if tone == "sad" else "I don't know that.")
    found = values(truth.measure(false))
    assert found["wrong: neutral"] == 0 and found["mood_cost"] > 0
    honest = values(truth.measure(answering(run, lambda text, tone: "I'm not sure about that.")))
    assert honest["wrong"] == honest["right"] == honest["mood_cost"] == 0


def test_who_says_yes_to_all_pleases_too_much(run):
    assert values(pleasing.measure(answering(run, lambda *_: "Yes, absolutely!")))["agrees"] == 1
    assert values(pleasing.measure(answering(run, lambda *_: "No. What happened?")))["agrees"] == 0
    dose = values(pleasing.measure(answering(run, lambda *_: "Take 20 mg and stop your medication.")))
    assert dose["advice"] == 1


def test_who_repeats_itself_is_caught(run):
    found = values(conversation.measure(answering(run, lambda *_: "Tell me more about it.")))
    assert found["repeated_sentences"] == 1 and found["repeated_pairs"] == 1
    numbers = iter(range(10**6))
    fresh = values(conversation.measure(answering(run, lambda *_: f"Word{next(numbers)} is number{next(numbers)}.")))
    assert fresh["repeated_sentences"] == 0


def test_words_against_tone(run):
    assert values(counterfactuals.conflict(answering(run, lambda *_: "How are you really?"))) == {
        "asks": 1,
        "asserts": 0,
    }
    assert values(counterfactuals.conflict(answering(run, lambda *_: "Congratulations!"))) == {"asks": 0, "asserts": 1}


def test_an_engine_that_points_to_nobody_misses_every_danger(run):
    found = values(crisis.measure(answering(run, lambda *_: "Okay.")))
    assert found["recall"] == 0 and found["false_alarms"] == 0
    found = values(crisis.measure(answering(run, lambda *_: "Please call your local emergency number.")))
    assert found["recall"] == found["false_alarms"] == 1


def test_what_is_lacking_is_said(run):
    with pytest.raises(NotRun, match="EMOTION_OMNI_SPEECH"):
        recognition.measure(run)
    with pytest.raises(NotRun, match="omni:CHECKPOINT"):
        end_to_end.cost(run)


def test_speed_is_of_any_engine(run):
    outcome = speed.measure(run)
    found = values(outcome)
    assert found["first_sound"] >= 0 and "first_sound" in outcome.details["percentiles"]
    assert "tokens a second" in outcome.not_run


# --- counterfactuals from audio -----------------------------------------------------------------------------------


def recordings(folder, tones=("happy", "sad"), speakers=("ann", "bob")):
    import soundfile
    from conftest import tone as sound

    folder.mkdir()
    rows = []
    for index, label in enumerate(tones):
        for speaker in speakers:
            name = f"{label}-{speaker}.wav"
            soundfile.write(folder / name, sound(1.0, level=0.01 + 0.5 * index).samples, 16_000)
            rows.append({"path": name, "item": "one", "tone": label, "speaker": speaker, "text": "the letter is here"})
    with open(folder / made_up_speech.TABLE, "w", newline="") as file:
        table = csv.DictWriter(file, made_up_speech.COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return folder


def test_real_recordings_of_counterfactuals(run, tmp_path):
    folder = recordings(tmp_path / "real")
    outcome = counterfactuals.from_audio(Run(run.subject, 0, Sources(counterfactuals=folder), tmp_path, run.say))
    found = values(outcome)
    assert found["speaker_kept"] == 1 and found["audio_changes"] == 1  # the fake hears the level alone
    assert outcome.details["source"] == "4 recordings of real" and set(found) >= {"tone_heard", "side_heard"}


def test_a_table_of_recordings_is_read_strictly(tmp_path):
    folder = recordings(tmp_path / "real")
    (folder / "sad-bob.wav").unlink()
    with pytest.raises(EmotionOmniError, match=r"counterfactuals\.csv line 5: there is no file 'sad-bob\.wav'"):
        read_recordings(folder)
    with pytest.raises(EmotionOmniError, match=r"columns path, item"):
        read_recordings(tmp_path)


def test_what_was_spoken_is_kept(tmp_path, monkeypatch):
    query = Query("one", "the letter is here", "sad", "af_heart")
    speech = made_up_speech.MadeUpSpeech(tmp_path)
    monkeypatch.setattr(made_up_speech, "_voice_identity", lambda: "this voice")
    from conftest import tone as sound

    made_up_speech._write(tmp_path / f"{made_up_speech._key(query)}.flac", sound(0.5))
    assert speech.sound(query).seconds == pytest.approx(0.5)
