"""How much the replies of a conversation repeat each other, and whether they ask what was told.

Shares are of the replies after the first of each conversation, because the first has nothing to repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emotion_omni.engine import Engine
from emotion_omni.response.repetition import Alike, Repeated, opening, repeated
from emotion_omni.types import Exchange, Heard, Text, Turn

TURNS = 20


def measure(conversations: Sequence[Sequence[Exchange]], alike: Alike | None = None) -> dict[str, Any]:
    """``alike``: compares meanings (:meth:`emotion_omni.response.guard.Guard.alike`); without it only words count.

    For each kind of :class:`~emotion_omni.response.repetition.Repeated` its share, ``any`` of the faults among them,
    and how often the most frequent opening comes in a conversation, on average.
    """
    found = [
        repeated(exchange.reply, exchange.transcript, conversation[:at], alike)
        for conversation in conversations
        for at, exchange in enumerate(conversation)
        if at
    ]
    shares: dict[str, Any] = {name: _share([getattr(one, name) for one in found]) for name in Repeated._fields}
    shares["any"] = _share([bool(one.fault) for one in found])
    counts = [[opening(one.reply) for one in conversation] for conversation in conversations if conversation]
    most = [max(map(openings.count, openings)) for openings in counts]
    return {
        "conversations": len(conversations),
        "replies": sum(map(len, conversations)),
        "share": shares,
        "most frequent opening, times": round(sum(most) / len(most), 2) if most else 0.0,
        "repeated": [
            exchange.reply
            for conversation in conversations
            for at, exchange in enumerate(conversation)
            if at and repeated(exchange.reply, exchange.transcript, conversation[:at], alike).fault
        ],
    }


def converse(engine: Engine, words: Sequence[tuple[str, str]], seed: int = 0) -> list[Exchange]:
    """One conversation in writing: (transcript, emotion) of each turn → with the engine's replies."""
    history: list[Exchange] = []
    for text, tone in words:
        events = list(engine.respond(Turn(None, tuple(history), transcript=text, emotion=tone, speak=False), seed=seed))
        reply = "".join(event.piece for event in events if isinstance(event, Text)).strip()
        label = next(event.emotion.label for event in events if isinstance(event, Heard))
        history.append(Exchange(text, label, reply))
    return history


def conversations_of(words: Sequence[tuple[str, str]], turns: int = TURNS) -> Iterator[list[tuple[str, str]]]:
    """Whole conversations of so many turns, in the order given; what is left over is left out."""
    for at in range(0, len(words) - turns + 1, turns):
        yield list(words[at : at + turns])


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / max(1, len(values)), 4)
