"""Openers: only where they fit, varied, and a known small set."""

from __future__ import annotations

import pytest

from emotion_omni import emotion
from emotion_omni.response.chat import ReplyFilter
from emotion_omni.response.guard import CONDOLES, CONGRATULATES
from emotion_omni.response.openers import every_opener, opener, without_interjections
from emotion_omni.response.safe_replies import crisis_reply
from emotion_omni.types import Exchange, Heard, Plan

TOLD = "They moved the meeting to Friday."


def opened(text: str = TOLD, tone: str = "sad", news: str = "bad", history=(), seed: int = 0, **plan) -> str:
    heard = Heard(text, emotion.one_hot(tone))
    return opener(heard, Plan(emotion.answer_with(tone, news), news, tone, **plan), history, seed)


@pytest.mark.parametrize("tone", emotion.NAMES)
def test_they_lean_the_right_way(tone: str) -> None:
    for seed in range(20):
        assert not CONGRATULATES.search(opened(tone=tone, news="bad", seed=seed))
        assert not CONDOLES.search(opened(tone=tone, news="good", seed=seed))


def test_none_where_it_could_be_wrong() -> None:
    assert opened(news="neutral", tone="neutral") == ""
    assert opened("What time is the meeting?") == ""
    assert opened(conflict=True) == ""
    assert opened(unsure_between=("sad", "calm")) == ""


def test_a_conversation_does_not_hear_the_same_twice_in_a_row() -> None:
    history: list[Exchange] = []
    for turn in range(20):
        found = opened(f"And then the {turn}th thing went wrong.", history=history)
        assert not found or not any(one.reply.startswith(found) for one in history[-6:])
        history.append(Exchange("…", "sad", f"{found} That was one thing too many."))


def test_the_same_seed_gives_the_same_and_seeds_differ() -> None:
    assert opened(seed=3) == opened(seed=3)
    assert len({opened(seed=seed) for seed in range(20)}) > 3


def test_all_that_can_be_said_is_known() -> None:
    known = set(every_opener())
    assert len(known) < 100  # each is spoken once, when the engine is loaded first
    for tone in emotion.NAMES:
        for news in emotion.NEWS:
            for seed in range(30):
                found = opened(tone=tone, news=news, seed=seed)
                assert not found or (found, emotion.answer_with(tone, news)) in known


class Guarding:
    """Refuses what holds "wrong"; "danger" is danger."""

    def risk(self, text: str) -> str:
        return "self" if "danger" in text else ""

    def alike(self, text, others, /) -> float:
        return 0.0

    def fault(self, reply: str, news: str, words: str = "") -> str:
        return "direction" if "wrong" in reply else ""


def filtered(pieces: list[list[str]], text: str = TOLD, first: str = "Oh no.") -> list[str]:
    """``pieces``: of each attempt."""

    def write(attempt: int, _: str):
        yield from pieces[attempt]

    heard = Heard(text, emotion.one_hot("sad"))
    return list(ReplyFilter(Guarding()).reply(heard, Plan("calm", "bad", "sad"), (), 0, write, first))


def test_the_opener_comes_before_the_writing_begins() -> None:
    begun = []

    def write(attempt: int, _: str):
        begun.append(attempt)
        yield "Friday, of all days."

    heard = Heard(TOLD, emotion.one_hot("sad"))
    pieces = ReplyFilter(Guarding()).reply(heard, Plan("calm", "bad", "sad"), (), 0, write, "Oh no.")
    assert next(pieces) == "Oh no." and not begun
    assert list(pieces) == [" Friday, of all days."]


def test_a_refused_reply_still_ends_well_after_an_opener() -> None:
    assert filtered([["wrong"], ["Friday, then.", " Was that planned?"]]) == [
        "Oh no.",
        " Friday, then.",
        " Was that planned?",
    ]
    replaced = filtered([["wrong"], ["wrong again"]])
    assert replaced[0] == "Oh no." and replaced[1].startswith(" ") and len("".join(replaced)) > 12


def test_danger_has_no_opener() -> None:
    assert filtered([["x"]], "there is danger") == [crisis_reply("self")]


@pytest.mark.parametrize(
    "reply,left",
    [
        ("Oh no, I'm so sorry.", "I'm so sorry."),
        ("Oh no! Your own dog.", "Your own dog."),
        ("Oh no!", ""),
        ("Ugh, a hair in the soup.", "A hair in the soup."),
        ("Oh, how lovely! Your own song.", "How lovely! Your own song."),
        ("No wonder your head feels empty.", "No wonder your head feels empty."),
        ("Yesterday, of all days.", "Yesterday, of all days."),
        ("Oh no, oh dear, the whole roof.", "The whole roof."),
    ],
)
def test_nothing_is_exclaimed_twice(reply: str, left: str) -> None:
    assert without_interjections(reply) == left
