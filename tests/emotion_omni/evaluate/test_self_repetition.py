"""Self-repetition over a conversation: counted by hand, and measured on an engine."""

from __future__ import annotations

from emotion_omni import engine
from emotion_omni.evaluate import self_repetition
from emotion_omni.types import Exchange


def conversation(*turns: tuple[str, str]) -> list[Exchange]:
    return [Exchange(words, "neutral", reply) for words, reply in turns]


def test_shares_are_of_the_replies_that_could_repeat_something():
    found = self_repetition.measure(
        [
            conversation(
                ("I got a cat.", "Oh, lovely. Take your time."),
                ("She's called Mia.", "Mia! Take your time."),
                ("Yes.", "What did the vet say about her paw?"),
            ),
            conversation(("My cat is two years old.", "Two!"), ("Yes, my cat.", "How old is your cat?")),
        ]
    )
    assert found["replies"] == 5 and found["share"]["sentence"] == round(1 / 3, 4)
    assert found["share"]["question"] == round(1 / 3, 4) and found["share"]["any"] == round(2 / 3, 4)
    assert found["share"]["phrase"] == 0 and found["share"]["closing"] == round(1 / 3, 4)
    assert found["repeated"] == ["Mia! Take your time.", "How old is your cat?"]


def test_meanings_count_where_they_are_compared():
    talk = conversation(("Hm.", "What worries you about it?"), ("Hm.", "And which part is worrying you?"))
    assert self_repetition.measure([talk])["share"]["any"] == 0
    assert self_repetition.measure([talk], lambda text, others: 0.9)["share"]["meaning"] == 1


def test_no_conversation_is_no_error():
    assert self_repetition.measure([])["replies"] == 0


def test_an_engine_converses_with_its_own_replies_as_history():
    words = [(f"Thing number {number} happened.", "neutral") for number in range(4)]
    talks = [self_repetition.converse(engine.load("fake"), part) for part in self_repetition.conversations_of(words, 2)]
    assert [len(talk) for talk in talks] == [2, 2] and all(one.reply for talk in talks for one in talk)
    assert [one.transcript for talk in talks for one in talk] == [text for text, _ in words]
