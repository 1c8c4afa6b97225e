"""What the words alone say, for finding words and tone that disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from emotion_omni.response.guard import Guard
from emotion_omni.response.planner import disagree

PAIRS = Path(__file__).parents[2] / "data" / "words-and-tone.tsv"  # conflict or agree, the tone, the words

SENTENCES = {
    "good": (
        "I'm fine.",
        "No, really, I'm okay.",
        "Everything is all right.",
        "Don't worry about me.",
        "Nothing's wrong.",
        "We're doing great, thanks.",
        "It's fine, honestly.",
        "I passed the exam!",
        "What a lovely surprise.",
        "I'm so happy for you.",
    ),
    "bad": (
        "My grandmother passed away.",
        "I lost my job this morning.",
        "The doctor says it is cancer.",
        "Somebody broke into our house.",
        "I'm not fine at all, my father is dying.",
    ),
    "neutral": (
        "The meeting starts at ten.",
        "Kids are talking by the door.",
        "Is it okay for you if I come later?",
        "The shop is on the left.",
        "I wish everything was fine.",
        "Can you tell me the time?",
    ),
}


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard.load()


@pytest.mark.parametrize(("expected", "text"), [(name, text) for name, texts in SENTENCES.items() for text in texts])
def test_what_the_words_say(guard, expected, text):
    assert guard.sentiment(text) == expected


def test_made_up_pairs_of_words_and_tone_are_in_conflict_where_they_should_be(guard):
    found: dict[str, list[bool]] = {"conflict": [], "agree": []}
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        kind, tone, text = line.split("\t")
        found[kind].append(disagree(guard.sentiment(text), tone))
    conflicts, agreements = found["conflict"], found["agree"]
    assert len(conflicts) >= 40 and len(agreements) >= 40
    assert sum(conflicts) / len(conflicts) >= 0.9 and sum(agreements) / len(agreements) <= 0.05


NOT_GOOD = ("I'm not fine.", "It is not okay.", "Are you sure it's all right?", "I used to be happy.")


@pytest.mark.parametrize("text", NOT_GOOD)
def test_a_denial_a_question_and_a_memory_do_not_say_that_the_person_is_well(guard, text):
    assert guard.sentiment(text) != "good"
