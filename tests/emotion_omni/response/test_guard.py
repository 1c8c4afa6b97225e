"""What the words alone say, for finding words and tone that disagree."""

from __future__ import annotations

import pytest

from emotion_omni.response.guard import Guard

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
