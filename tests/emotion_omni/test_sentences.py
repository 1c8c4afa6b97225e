"""Where sentences end, and where a period only abbreviates."""

from __future__ import annotations

import pytest

from emotion_omni.response.chat import clauses
from emotion_omni.sentences import clause_end, sentence_end


def sentences(text: str) -> list[str]:
    found, start = [], 0
    while (end := sentence_end(text, start)) is not None:
        found.append(text[start:end].strip())
        start = end
    return [*found, text[start:].strip()]


@pytest.mark.parametrize(
    "text",
    [
        "You saw Dr. Who tonight.",
        "It is No. 5 on the list.",
        "Bring e.g. Some bread.",
        "He came at 5 p.m. sharp and left.",
        "It was you vs. them again.",
        "I read J. K. Rowling too.",
        "That is $3.50 a cup.",
    ],
)
def test_a_period_that_abbreviates_ends_nothing(text):
    assert sentences(text) == [text]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("No. That hurts.", 2),
        ("It was 5 p.m. Then he left.", 2),
        ("It cost 3.50. Was it good?", 2),
        ("So did I. We all did!", 2),
        ("Really? Yes. 5 of them.", 3),
        ("すごい！よかった。", 3),  # the last is what follows the last mark
    ],
)
def test_other_marks_do(text, count):
    assert len(sentences(text)) == count


def test_what_follows_an_abbreviation_is_waited_for():
    assert sentence_end("No. ") is None and sentence_end("No. 5 ") is None
    assert sentence_end("No. T") == 3 and sentence_end("Fine. ") == 5


def test_the_first_clause_has_two_words():
    assert clause_end("Oh, that hurts, ") == len("Oh, that hurts,")
    assert clause_end("Dear Dr. Who, hello") == len("Dear Dr. Who,") and clause_end("Oh, ") is None
    assert clause_end("いいね，本当に。") == 4


def test_streamed_replies_are_not_cut_after_an_abbreviation():
    reply = "So Dr. Lee called you. Is No. 5 on Elm St. your house? No. It's e.g. Mine. Good luck"
    growing = [reply[:end] for end in range(1, len(reply) + 1)]
    found = [piece.strip() for piece in clauses(growing, lambda: True)]
    assert found == ["So Dr. Lee called you.", "Is No. 5 on Elm St. your house?", "No.", "It's e.g. Mine.", "Good luck"]
