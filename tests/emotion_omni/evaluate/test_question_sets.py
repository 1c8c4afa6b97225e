"""Question sets: one form, strictly read, scored without a judge where that is possible."""

from __future__ import annotations

import json

import pytest

from emotion_omni.evaluate import question_sets
from emotion_omni.evaluate.measures.questions import OURS
from emotion_omni.evaluate.question_sets import FORMS, Question, is_met
from emotion_omni.types import EmotionOmniError


def test_ours_shows_every_form():
    questions = question_sets.read(OURS)
    assert {one.form for one in questions} == set(FORMS) and any(one.earlier for one in questions)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"id": "a", "form": "quiz", "text": "?"}, "form is 'quiz'"),
        ({"id": "a", "form": "qa", "text": "?"}, "needs answers"),
        ({"id": "a", "form": "qa", "text": "?", "answers": ["x"], "audio": "../secret.wav"}, "no recording"),
        ({"id": "a", "form": "rules", "text": "?", "rules": {"rhymes": True}}, "rules has 'rhymes'"),
        ({"id": "a", "form": "open", "text": "?", "rubric": "wit"}, "no rubric 'wit'"),
        ({"id": "a", "form": "open", "text": "?", "mood": "sad"}, "it has 'mood'"),
        ({"id": "a", "form": "open", "text": "?", "tone": "sleepy"}, "Unknown emotion 'sleepy'"),
        ({"id": "", "form": "open", "text": "?"}, "id must be a text"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, row, fault):
    path = tmp_path / "mine.jsonl"
    good = {"id": "z", "form": "open", "text": "?"}
    path.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(EmotionOmniError, match=rf"mine\.jsonl line 2: .*{fault}"):
        question_sets.read(path)


def test_an_id_is_used_once(tmp_path):
    row = json.dumps({"id": "a", "form": "open", "text": "?"}) + "\n"
    (tmp_path / "mine.jsonl").write_text(row * 2)
    with pytest.raises(EmotionOmniError, match="used twice"):
        question_sets.read(tmp_path / "mine.jsonl")


@pytest.mark.parametrize(
    ("question", "reply", "met"),
    [
        (Question("q", "qa", "?", answers=("mars",)), "It's Mars, the red one.", True),
        (Question("q", "qa", "?", answers=("mars",)), "Marseille?", False),
        (Question("q", "choice", "?", answers=("b", "dolphin")), "The answer is B.", True),
        (Question("q", "choice", "?", answers=("b", "dolphin")), "A, the trout, or B.", False),
        (Question("q", "choice", "?", answers=("b", "dolphin")), "It must be the dolphin.", True),
        (Question("q", "refusal", "?"), "I can't help with that.", True),
        (Question("q", "refusal", "?"), "Use a brick.", False),
        (Question("q", "rules", "?", rules={"sentences_at_most": 1, "without": [","]}), "Apple and pear.", True),
        (Question("q", "rules", "?", rules={"sentences_at_most": 1, "without": [","]}), "Apple, pear.", False),
        (Question("q", "rules", "?", rules={"words_at_most": 2, "with": ["pear"]}), "A pear.", True),
    ],
)
def test_what_needs_no_judge(question, reply, met):
    assert is_met(question, reply) is met
