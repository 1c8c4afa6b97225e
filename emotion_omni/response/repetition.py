"""What a reply should not say again: sentences and phrases of earlier replies, and questions that were answered.

Knows the words of a conversation alone; ``alike`` (:class:`Alike`) may bring the similarity of meanings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from emotion_omni.types import Exchange

PHRASE = 5  # words in a row that must not come again, unless the person said them
SHORT_SENTENCE = 3  # words from which a whole sentence must not come again
OPENING = 3  # words
SAME_MEANING = 0.85  # cosine from which two sentences say the same
LONG_ENOUGH = 4  # words from which sentences are compared by meaning
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_NUMBER = (
    r"(\d[\d,.]*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(thir|four|fif|six|seven|eigh|nine)teen|"
    r"(twen|thir|for|fif|six|seven|eigh|nine)ty([ -]\w+)?|a hundred)"
)
_DAY = r"((mon|tues|wednes|thurs|fri|satur|sun)day|tonight|last night|the weekend)"
_MONTH = r"(january|february|march|april|may|june|july|august|september|october|november|december)"
_UNIT = r"(second|minute|hour|day|night|week|month|year|decade)s?"
_PERSON = (
    r"(?i:my|our|his|her) (?:\w+ )?(?i:brother|sister|mum|mom|mother|dad|father|son|daughter|wife|husband|partner|"
    r"boyfriend|girlfriend|friend|boss|colleague|neighbou?r|cousin|aunt|uncle|teacher|team|family|kids|grand\w+|ex)"
)
_ANSWERED = tuple(  # a question → how people answer it; both in one sentence's reach of the same noun
    (re.compile(asked, re.IGNORECASE), re.compile(told))
    for asked, told in (
        (
            r"\bwhat\b.*\b(names?|called|call (him|her|it|them))\b",
            r"\b(?i:called|named|names? (is|was|are)|name's) [A-Z]|\b(?i:my|our) (\w+ ){1,2}[A-Z][a-z]+",
        ),
        (
            r"\bhow old\b|\bwhat age\b",
            rf"(?i)\b{_NUMBER}[ -]{_UNIT}[ -]old\b|\b(turn\w*|aged?|is|am|was|'s|'m) (only |just |about )?{_NUMBER}"
            rf"(?! (\w+ )?({_UNIT}|times|people|of))\b",
        ),
        (
            r"\bhow long\b|\bsince when\b",
            rf"(?i)\b({_NUMBER}|an?|a few|several|some|many|half an?) {_UNIT}\b|"
            rf"\bsince (\d|{_DAY}|{_MONTH}|last|yesterday|i was|this)",
        ),
        (
            r"\bwhen\b(?! (you|he|she|it|they|we|i)\b)|\bwhat (day|time|date|year)\b",
            rf"(?i)\b({_DAY}|today|tomorrow|yesterday|noon|midnight|at \d+|next \w+|last (week|month|year|summer|winter"
            rf"|spring|autumn)|this (morning|evening|afternoon|week)|in ({_NUMBER}|an?) {_UNIT}|(on|in) {_MONTH}|"
            rf"{_UNIT} ago|\d{{4}})\b",
        ),
        (
            r"\bwhere\b",
            r"\b(?i:in|at|to|from|near|outside) (?:(?i:the|my|our|his|her) )?(?:[A-Z]\w+|(?i:hospital|school|work|home|"
            r"office|park|beach|kitchen|station|airport|supermarket|church|gym|garden|university|garage|pub|bar|library"
            r"|street|train|bus|car|hotel|mountains|sea|lake|city|village))\b",
        ),
        (r"\bwho\b.*\bwith\b|\bwith whom\b", rf"\b(?i:with|and) (?:{_PERSON}|[A-Z][a-z]+)"),
        (r"\bhow (many|much)\b", rf"(?i)\b({_NUMBER}|a dozen|dozens|hundreds|thousands|half)\b"),
        (r"\bwhy\b", r"(?i)\b(because|so that|due to|the reason)\b"),
    )
)
_FUNCTION_WORDS = """
    a about all am an and any are as at be been being bit both but by can could did do does doing done down
    even ever far for from get getting go going gone got had has have he her here him his how i if in into is
    it its just kind know last let like little long made make many me mean more most much my name names new no
    not now of off oh old on one or our out over really right say she so some still such tell than that the
    their them then there they thing think this those time to today too up us very want was we well were what
    when where which while who why will with would yes yet you your called call happen happened say said
"""
_NO_NOUNS = frozenset(_FUNCTION_WORDS.split())


class Alike(Protocol):
    """The highest cosine between the meaning of a text and those of others; 0 where there are no others."""

    def __call__(self, text: str, others: Sequence[str], /) -> float: ...


class Repeated(NamedTuple):
    """What a reply shares with earlier replies of its conversation."""

    sentence: bool  # of three words or more, word for word
    phrase: bool  # of five words
    opening: bool  # its first three words
    closing: bool  # its last sentence
    meaning: bool  # a sentence in other words; only where meanings are compared
    question: bool  # a question that the person has answered, or that was asked before

    @property
    def fault(self) -> str:
        """Why it may not be said, a key of ``chat.FAULTS``: ``repeats``, ``answered``; empty if it may."""
        if self.question:
            return "answered"
        return "repeats" if self.sentence or self.phrase or self.meaning else ""

    @property
    def kinds(self) -> int:
        """How many of the six it shares, for a rank."""
        return sum(self)


def repeated(reply: str, words: str, history: Sequence[Exchange], alike: Alike | None = None) -> Repeated:
    """``words``: what the person has just said; their own words may come back."""
    mine, theirs = sentences(reply), [one for exchange in history for one in sentences(exchange.reply)]
    said = {" ".join(_words(one)) for one in theirs}
    known = _phrases([words, *(exchange.transcript for exchange in history)])
    new = [" ".join(_words(one)) for one in mine]
    return Repeated(
        sentence=any(one in said and len(one.split()) >= SHORT_SENTENCE for one in new),
        phrase=bool((_phrases(mine) & _phrases(theirs)) - known),
        opening=bool(mine) and opening(reply) in {opening(exchange.reply) for exchange in history},
        closing=bool(new) and new[-1] in {" ".join(_words(closing(exchange.reply))) for exchange in history},
        meaning=alike is not None and _says_the_same(mine, theirs, alike),
        question=any(is_answered(one, words, history) for one in mine if "?" in one),
    )


def _says_the_same(mine: Sequence[str], theirs: Sequence[str], alike: Alike) -> bool:
    return any(alike(one, theirs) >= SAME_MEANING for one in mine if len(_words(one)) >= LONG_ENOUGH)


def repeats(reply: str, history: Sequence[Exchange]) -> bool:
    """Whether it says a sentence or a phrase again, word for word."""
    found = repeated(reply, "", history)
    return found.sentence or found.phrase


def is_answered(question: str, words: str, history: Sequence[Exchange] = ()) -> bool:
    """Whether the person has already told what is asked, now or earlier.

    A question counts as answered where the person said something of the asked kind (a name, an age, a time, …) in a
    sentence that shares a noun with it, or where it names nothing ("How old is she?") and the last turn tells it.
    """
    nouns = _nouns(question)
    turns = [exchange.transcript for exchange in history] + [words]
    for asked, told in _ANSWERED:
        if not asked.search(question):
            continue
        for at, turn in enumerate(turns):
            for sentence in sentences(turn):
                about = nouns & _nouns(sentence) if nouns else at == len(turns) - 1
                if about and told.search(sentence):
                    return True
    return False


def sentences(text: str) -> list[str]:
    return [found.strip() for found in _SENTENCE.findall(text) if _words(found)]


def opening(reply: str) -> str:
    """Its first three words."""
    return " ".join(_words(reply)[:OPENING])


def closing(reply: str) -> str:
    """Its last sentence."""
    found = sentences(reply)
    return found[-1] if found else ""


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower().replace("\u2019", "'"))


def _phrases(texts: Sequence[str]) -> set[tuple[str, ...]]:
    """All that are :data:`PHRASE` words long, within a sentence."""
    found = set()
    for text in texts:
        for sentence in sentences(text):
            words = _words(sentence)
            found |= {tuple(words[at : at + PHRASE]) for at in range(len(words) - PHRASE + 1)}
    return found


def _nouns(text: str) -> set[str]:
    """The words that carry content, without plural and verb endings."""
    words = {word.removesuffix("'s") for word in _words(text)} - _NO_NOUNS
    return {re.sub(r"(?<=\w{3})(ing|ed|es|s|e)$", "", word) for word in words if len(word) > 2}
