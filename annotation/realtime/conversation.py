"""A conversation as the server keeps it: the turns so far, in memory only, for an hour after the last one.

Sound is kept of the last turn alone: it can be answered again, or given to research. The page keeps what it plays.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from emotion_omni import audio
from emotion_omni.types import Audio, Done, Event, Exchange, Heard, Plan, SpeakerEstimate, Speech, Text

REMEMBERED_TURNS = 40  # of one conversation; older ones are dropped
LONGEST_TRANSCRIPT = 600  # letters of a corrected transcript; checked here because a browser's limit can be bypassed
UNHEARD = "…"  # the reply of a turn that was interrupted before any of it was heard
KEPT_SECONDS = 3600.0  # after the last use of a conversation
MOST_CONVERSATIONS = 500  # the one used longest ago makes room for the next


@dataclass
class Piece:
    """A piece of the reply: its words, and the seconds of sound that speak them."""

    text: str
    seconds: float = 0.0


@dataclass(eq=False)
class ChatTurn:
    """A query and the answer to it, filled in as the engine's events arrive."""

    query: Audio | None
    identity: str = field(default_factory=lambda: new_id("item"))
    heard: Heard | None = None
    planned: str = ""  # emotion label of the reply
    reply: str = ""
    pieces: list[Piece] = field(default_factory=list)
    sounds: list[Audio] = field(default_factory=list)
    corrected: bool = False  # whether the visitor chose the emotion
    timings: dict[str, float] = field(default_factory=dict)
    recognized: Heard | None = None  # what the model itself heard, before any correction
    engine: str = ""
    seed: int = 0
    finished: bool = False
    reply_item: str = ""  # the protocol's name of the reply

    @property
    def known_turns(self) -> int:
        """Turns of this voice that the recognizer has heard, this one included; 0 where it does not learn voices."""
        return self.recognized.speaker.turns if self.recognized and self.recognized.speaker else 0

    @property
    def speech(self) -> Audio | None:
        return audio.join(self.sounds) if self.sounds else None

    def add(self, event: Event) -> None:
        """Record one event of the engine."""
        match event:
            case Heard():
                self.heard = event
                self.recognized = self.recognized or event
            case Plan():
                self.planned = event.emotion
            case Text():
                self.reply += event.piece
                self.pieces.append(Piece(event.piece))
            case Speech():
                self.sounds.append(event.audio)
                if self.pieces:
                    self.pieces[-1].seconds += event.audio.seconds
            case Done():
                self.timings = dict(event.timings)
                self.finished = True
            case _:
                raise TypeError(f"An engine yielded {type(event).__name__}, which is not an event.")

    def truncate(self, seconds: float) -> None:
        """Keep of the reply what was heard: so many seconds of its sound."""
        self.reply = heard_words(self.pieces, seconds)


def heard_words(pieces: list[Piece], seconds: float) -> str:
    """The words spoken in the first ``seconds``. Within a piece letters are taken to last equally long."""
    kept = ""
    for piece in pieces:
        if seconds >= piece.seconds:
            kept += piece.text
            seconds -= piece.seconds
            continue
        part = piece.text[: round(len(piece.text) * max(0.0, seconds) / piece.seconds)]
        whole = part if len(part) == len(piece.text) else part.rpartition(" ")[0]  # a word that was cut was not heard
        return f"{(kept + whole).strip()}{UNHEARD}"
    return kept.strip()


@dataclass
class Conversation:
    """The turns of one visitor, newest last. ``earlier``: what was said before, as somebody else remembers it."""

    turns: list[ChatTurn] = field(default_factory=list)
    identity: str = field(default_factory=lambda: new_id("conv"))
    earlier: tuple[Exchange, ...] = ()

    def add(self, turn: ChatTurn) -> None:
        for old in self.turns:
            old.query, old.sounds = None, []
        self.turns = [*self.turns, turn][-REMEMBERED_TURNS:]

    def exchanges(self, before: ChatTurn | None = None) -> tuple[Exchange, ...]:
        """The turns as an engine reads them; those ahead of ``before``, if it is given."""
        turns = self.turns[: self.turns.index(before)] if before in self.turns else self.turns
        said = tuple(
            Exchange(turn.heard.transcript, turn.heard.emotion.label, turn.reply.strip() or UNHEARD, turn.planned)
            for turn in turns
            if turn.heard
        )
        return (self.earlier + said)[-REMEMBERED_TURNS:]

    def speaker(self, before: ChatTurn | None = None) -> SpeakerEstimate | None:
        """What the recognizer knows of the visitor's voice after the last turn. It ends with the conversation."""
        turns = self.turns[: self.turns.index(before)] if before in self.turns else self.turns
        found = (turn.recognized.speaker for turn in reversed(turns) if turn.recognized)
        return next(found, None)

    def find(self, identity: str) -> ChatTurn | None:
        return next((turn for turn in self.turns if turn.identity == identity), None)


class Conversations:
    """All conversations of this process, by an identity that cannot be guessed."""

    def __init__(self, most: int = MOST_CONVERSATIONS, seconds: float = KEPT_SECONDS) -> None:
        self._most, self._seconds, self._lock = most, seconds, threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Conversation]] = OrderedDict()  # used last at the end

    def start(self) -> Conversation:
        conversation = Conversation()
        with self._lock:
            self._use(conversation)
        return conversation

    def get(self, identity: str) -> Conversation | None:
        """None for one that is unknown or forgotten."""
        with self._lock:
            self._expire()
            found = self._kept.get(identity)
            if found:
                self._use(found[1])
            return found[1] if found else None

    def forget(self, identity: str) -> None:
        with self._lock:
            self._kept.pop(identity, None)

    def __len__(self) -> int:
        return len(self._kept)

    def _use(self, conversation: Conversation) -> None:
        self._kept[conversation.identity] = (time.monotonic(), conversation)
        self._kept.move_to_end(conversation.identity)
        self._expire()

    def _expire(self) -> None:
        oldest = time.monotonic() - self._seconds
        while self._kept and (len(self._kept) > self._most or next(iter(self._kept.values()))[0] < oldest):
            self._kept.popitem(last=False)


def new_id(kind: str) -> str:
    """Names are also keys to what they name, so they are random."""
    return f"{kind}_{secrets.token_urlsafe(18)}"
