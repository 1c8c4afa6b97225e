"""What the large language models share: the filter of a reply, and text → spoken clauses."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Protocol

from emotion_omni.response.repetition import repeated, repeats
from emotion_omni.response.safe_replies import crisis_reply, safe_reply
from emotion_omni.sentences import clause_end, sentence_end
from emotion_omni.types import Exchange, Heard, Plan

log = logging.getLogger(__name__)

ATTEMPTS = 2  # at a reply whose first clause the guard refuses
SAFE_ATTEMPTS = 12  # at a fixed reply that was not given before
FAULTS = {  # the guard's word for a fault → how the model is told
    "direction": "consoled where there was nothing to console, or cheered where there was nothing to cheer",
    "presumes": "named a feeling that the person did not mention",
    "agrees": "agreed with something cruel or untrue that they say about themselves",
    "advice": "gave medical, legal or dangerous advice",
    "repeats": "repeated an earlier answer",
    "answered": "asked what the person has already told",
}

_MARKUP = re.compile(r"[*#_`~]+|^\s*[-•]\s+|^\s*\d+[.)]\s+", re.M)
_UNSPOKEN = ("So", "Sk", "Cc", "Cf", "Co", "Cn")  # Unicode categories of symbols, controls and unassigned code points
_THOUGHT_TAG = r"(?:think|thinking|thought|reasoning)"
_THOUGHTS = re.compile(rf"<{_THOUGHT_TAG}>.*?(?:</{_THOUGHT_TAG}>|\Z)|\[THINK\].*?(?:\[/THINK\]|\Z)", re.S | re.I)
_OPEN_TAG = re.compile(r"(?:<[a-z]{0,9}|\[[A-Z]{0,5})\Z", re.I)  # the start of a tag that may open thoughts


class ReplyGuard(Protocol):
    """What is asked of :class:`emotion_omni.response.guard.Guard`."""

    def risk(self, text: str) -> str:
        """The danger that the words tell of, empty if none."""

    def fault(self, reply: str, news: str, words: str = "") -> str:
        """Why this reply to these words may not be spoken, empty if it may."""

    def alike(self, text: str, others: Sequence[str], /) -> float:
        """See :class:`emotion_omni.response.repetition.Alike`."""


class ReplyFilter:
    """Lets through what the guard allows. ``counts``: turns, crises, replies cut, refused or replaced, and the faults.

    ``write``: (attempt, fault of the last one) → the clauses of an attempt.
    """

    def __init__(self, guard: ReplyGuard) -> None:
        self.guard = guard
        self.counts: Counter[str] = Counter()

    def reply(
        self,
        heard: Heard,
        plan: Plan,
        history: Sequence[Exchange],
        seed: int,
        write: Callable[[int, str], Generator[str, None, None]],
        opener: str = "",
    ) -> Generator[str, None, None]:
        """The pieces of a reply that may be spoken; never none. In danger a fixed reply, and the model is not asked.

        ``opener``: a first piece that is known to fit, said at once.
        """
        self.counts["turns"] += 1
        if risk := self.guard.risk(heard.transcript):
            self.counts["crisis"] += 1
            yield crisis_reply(risk)
            return
        if opener:
            yield opener
        said, fault = "", ""
        for attempt in range(ATTEMPTS):
            with closing(write(attempt, FAULTS.get(fault, ""))) as pieces:
                for piece in _spoken(pieces):
                    fault = self._fault(piece, said, heard, plan, history)
                    if fault:
                        self._note(fault, piece, "cut" if said else "refused")
                        break
                    yield piece if said or not opener else f" {piece}"
                    said += piece
            if said or not fault:
                break
        if not said:
            self.counts["replaced"] += 1
        if not said or (fault and said.rstrip()[-1] not in ".!?。！？"):  # nothing, or half a sentence
            fixed = _fixed(heard, plan, history, seed)
            yield f" {fixed}" if said or opener else fixed

    def _fault(self, piece: str, said: str, heard: Heard, plan: Plan, history: Sequence[Exchange]) -> str:
        words = heard.transcript
        if again := repeated(piece, words, history, self.guard.alike).fault:
            return again
        fault = self.guard.fault(said + piece, plan.news, words)
        return fault or (self.guard.fault(piece, plan.news, words) if said else "")

    def _note(self, fault: str, piece: str, what: str) -> None:
        self.counts[what] += 1
        self.counts[fault] += 1
        log.info("The guard stopped a clause (%s, %s); %d of %d turns so far.", fault, what, self.acted, self.turns)
        log.debug("The clause was %r.", piece)

    @property
    def turns(self) -> int:
        """Replies begun, crises included."""
        return self.counts["turns"]

    @property
    def acted(self) -> int:
        """Times that the guard stopped a clause of the model."""
        return self.counts["cut"] + self.counts["refused"]


def _fixed(heard: Heard, plan: Plan, history: Sequence[Exchange], seed: int) -> str:
    """A fixed reply, if possible one that was not given before."""
    news = "neutral" if plan.conflict else plan.news
    choices = [safe_reply(heard.transcript, plan.tone, news, seed + at) for at in range(SAFE_ATTEMPTS)]
    return next((one for one in choices if not repeats(one, history)), choices[0])


def _spoken(pieces: Iterable[str]) -> Iterator[str]:
    started = False
    for piece in pieces:
        spoken = spoken_words(piece if started else piece.lstrip())
        if spoken.strip():
            started = True
            yield spoken


def clauses(texts: Iterable[str], finished: Callable[[], bool]) -> Iterator[str]:
    """The text so far, again and again as it grows → its first clause, then whole sentences.

    Thoughts of reasoning models are left out. An unfinished last sentence is dropped, unless it is all there is or
    ``finished`` says that the model ended there.
    """
    written, given = "", 0
    for text in texts:
        written = without_thoughts(text)
        end = sentence_end(written, given) if given else clause_end(written)
        if end and not written.endswith("\ufffd"):  # half a character
            yield written[given:end]
            given = end
    rest = written[given:].rstrip("\ufffd").rstrip()
    if rest.strip() and (finished() or rest[-1] in ".!?。！？" or not given):
        yield rest


def without_thoughts(text: str) -> str:
    """Without what stands in ``<think>`` or the like, closed or not yet, and without the start of such a tag."""
    return _OPEN_TAG.sub("", _THOUGHTS.sub("", text))


def spoken_words(piece: str) -> str:
    """Without what no voice can say: markup, pictures, control characters."""
    return "".join(
        letter for letter in _MARKUP.sub("", piece) if letter in " \n" or unicodedata.category(letter) not in _UNSPOKEN
    )
