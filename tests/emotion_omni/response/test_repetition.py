"""No question that was answered, no repeated phrase: what counts as said before."""

from __future__ import annotations

import pytest
from guards import ListGuard

from emotion_omni import emotion
from emotion_omni.response.chat import ReplyFilter
from emotion_omni.response.guard import Guard
from emotion_omni.response.repetition import Repeated, is_answered, repeated, repeats
from emotion_omni.response.safe_replies import safe_reply
from emotion_omni.types import Exchange, Heard, Plan

DOG = "My dog Biscuit is six years old and she's been at the vet in Leeds since Monday."


def said(*replies: str, words: str = "Well.") -> tuple[Exchange, ...]:
    return tuple(Exchange(words, "neutral", reply) for reply in replies)


@pytest.mark.parametrize(
    ("reply", "earlier", "field"),
    [
        ("Take your time. It hurts.", "That's a lot. Take your time.", "sentence"),
        ("So you'd rather be left alone by all of them?", "Would you rather be left alone by him?", "phrase"),
        ("What a long day for you both.", "What a long week that was.", "opening"),
        ("It rained. And then?", "She left. And then?", "closing"),
    ],
)
def test_what_comes_again_is_named(reply, earlier, field):
    found = repeated(reply, "", said(earlier))
    assert getattr(found, field) and found.kinds >= 1
    assert repeated(reply, "", ()) == Repeated(*[False] * 6)


def test_short_courtesies_and_the_persons_own_words_may_come_again():
    assert not repeats("Oh no. He left?", said("Oh no. She did what?"))
    words = "They cut the old tree down by the church."
    history = (Exchange(words, "sad", "The old tree down by the church, after all those years."),)
    assert not repeated("I'd miss the old tree down by the church too.", words, history).phrase
    assert not repeated("After all those years, you miss it.", words, said("And after all those years, gone.")).phrase
    assert repeated("Gone after all those years of it.", words, said("Gone after all those years!")).phrase


def test_an_opening_alone_does_not_stop_a_reply():
    assert repeated("What a long day for you.", "", said("What a long week that was.")).fault == ""
    assert repeated("Take your time.", "", said("Take your time.")).fault == "repeats"


@pytest.mark.parametrize(
    "question",
    [
        "What's your dog's name?",
        "How old is your dog?",
        "How long has she been at the vet?",
        "Where is the vet?",
        "How old is she?",
    ],
)
def test_a_question_that_was_answered_is_known(question):
    assert is_answered(question, DOG)
    assert not is_answered(question, "My dog is ill.") and not is_answered(question, "I had a party.")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("When is the wedding?", "The wedding's on Saturday and I've no dress."),
        ("Who did you go with?", "I went to the match with my brother."),
        ("How many kids do you have?", "I've got three kids and no sleep."),
        ("Why did the landlord say no?", "The landlord said no because of the cat."),
    ],
)
def test_answers_of_other_kinds(question, words):
    assert is_answered(question, words)
    assert is_answered(question, "Anyway.", (Exchange(words, "neutral", "Oh?"),)) or "did you" in question


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How did the exam go?", "The exam was on Monday."),
        ("Where did you find the ring?", "I found my grandmother's ring!"),
        ("When is the party?", "I baked a birthday cake for the party."),
        ("How old is your sister?", "My dog is six years old."),
        ("What would help you tonight?", "I've been awake for three nights."),
        ("What did she say when you told her?", "I told her on Friday."),
        ("How long is the drive?", "My brother's birthday is in a week."),
    ],
)
def test_what_was_not_told_may_be_asked(question, words):
    assert not is_answered(question, words)


def test_the_guard_knows_sentences_of_the_same_meaning():
    guard = Guard.load()
    history = said("What is worrying you most right now?", "That sounds like a lovely garden.")
    assert repeated("What worries you the most right now?", "", history, guard.alike).fault == "repeats"
    assert repeated("What did the doctor tell you?", "", history, guard.alike).fault == ""
    assert guard.alike("Hello there.", ()) == 0


def replies_of(filter_: ReplyFilter, words: str, history, *attempts: str) -> str:
    def write(attempt: int, fault: str):
        yield attempts[min(attempt, len(attempts) - 1)]

    heard = Heard(words, emotion.one_hot("neutral"))
    return "".join(filter_.reply(heard, Plan("calm"), history, 0, write))


def test_the_filter_asks_for_another_reply_instead_of_what_was_told_or_said():
    filter_ = ReplyFilter(ListGuard())
    assert replies_of(filter_, DOG, (), "How old is your dog?", "Poor Biscuit.") == "Poor Biscuit."
    assert filter_.counts["answered"] == 1
    again = said("Let me know how it goes.")
    assert replies_of(filter_, "It went.", again, "Let me know how it goes.", "And?") == "And?"


def test_twenty_fixed_replies_in_a_row_come_again_as_late_as_they_can():
    filter_, history = ReplyFilter(ListGuard({"x": "direction"})), ()
    choices = {safe_reply("Well.", "neutral", "neutral", seed) for seed in range(50)}
    for _ in range(len(choices)):
        reply = replies_of(filter_, "Well.", history, "x")
        history += (Exchange("Well.", "neutral", reply),)
    assert {exchange.reply for exchange in history} == choices
