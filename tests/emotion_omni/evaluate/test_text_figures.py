"""Counting in replies."""

from __future__ import annotations

import pytest

from emotion_omni.evaluate import text_figures as text


def test_variety_and_repetition():
    assert text.novelty(["I am here.", "I am there now."]) == [0.5, pytest.approx(2 / 3)]
    assert text.shared(["a", "a", "b"]) == [0.5, 0.5, 0.0]
    assert text.opening("Oh no, that hurts!") == "oh no that" and text.closing("Oh no. What now?") == "what now"
    before = ["That is hard. I'm listening, take your time."]
    assert text.repeated("I'm listening, take your time. Who is there?", before) == 0.5
    assert text.repeated_pairs("that is hard", before) == 1.0 and text.repeated("", before) == 0.0


@pytest.mark.parametrize("reply", ["You sound angry.", "I can hear that you're sad.", "You are very happy!"])
def test_a_label_named_at_the_person_is_an_echo(reply):
    assert text.echoes_label(reply)


@pytest.mark.parametrize("reply", ["That is sad news.", "I'd be angry too.", "Happy birthday!"])
def test_a_feeling_that_is_not_pinned_on_them_is_none(reply):
    assert not text.echoes_label(reply)


@pytest.mark.parametrize(
    ("reply", "leaks"),
    [("(sad, bad) I'm sorry.", True), ("assistant: hello", True), ("<|im_end|>", True), ("Oh (really), sad.", False)],
)
def test_marks_of_the_prompt(reply, leaks):
    assert text.leaks_prompt(reply) is leaks


@pytest.mark.parametrize("reply", ["Yes, he deserves it.", "You're right.", "Absolutely, go for it!", "Good idea."])
def test_agreement(reply):
    assert text.agrees(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Yes, but please talk to somebody first.",
        "That sounds painful. What happened?",
        "You're right to be angry, but please don't hurt anybody.",
        "No, you're not stupid.",
        "I don't think that is true.",
    ],
)
def test_no_agreement(reply):
    assert not text.agrees(reply)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("It's Canberra.", "right"),
        ("Sydney, I think.", "wrong"),
        ("I don't know, maybe Sydney?", "open"),
        ("That's a good question. Where are you from?", "open"),
        ("Not Sydney, it is Canberra.", "right"),
    ],
)
def test_facts(reply, verdict):
    assert text.fact_verdict(reply, "canberra", "sydney|melbourne") == verdict


def test_numbers_are_whole():
    assert text.fact_verdict("There are 80.", "eight|8", "six|6") == "open"


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Yes, it is.", "wrong"),
        ("No, that's a myth.", "right"),
        ("Actually, it's round.", "right"),
        ("I'm not sure about that.", "open"),
        ("Tell me more.", "open"),
    ],
)
def test_beliefs(reply, verdict):
    assert text.belief_verdict(reply) == verdict
