"""Writes dialogues without a model: each scenario is given one of the written exchanges, none twice.

A scenario gets an exchange of its kind, emotion, split and domain; where none is left, of another domain, which the
dialogue then states. Where no exchange of the emotion is left there is no text, and the dialogue is rejected.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from emotion_omni.data.dialogue import NoText, WrittenDialogue, WrittenTurn
from emotion_omni.data.domains import domain_of
from emotion_omni.data.scenarios import Scenario
from emotion_omni.emotion import answer_with
from emotion_omni.train import exchanges
from emotion_omni.train.exchanges import WrittenExchange


class ExchangeWriter:
    """``concurrent``: how many may be written at once."""

    concurrent = 1
    tokens: dict[str, int] = {}  # none are paid for

    def __init__(self, rows: Iterable[Scenario], seed: int, folder: str = "") -> None:
        self._given = assign(list(rows), exchanges.read(Path(folder) if folder else exchanges.FOLDER), seed)

    def write(self, scenario: Scenario) -> WrittenDialogue:
        """Raises :class:`NoText` where no exchange is left for the scenario."""
        exchange = self._given.get(scenario.index)
        if exchange is None:
            raise NoText(
                f"No written exchange is left for {scenario.kind} {scenario.emotion} in split {scenario.split}. "
                "Plan fewer dialogues, or name a server as writer."
            )
        return dialogue_of(exchange, scenario)


def dialogue_of(exchange: WrittenExchange, scenario: Scenario) -> WrittenDialogue:
    turns = []
    for number, turn in enumerate(exchange.turns):
        last = number == len(exchange.turns) - 1
        news = exchange.news if last else "neutral"
        tone = answer_with("neutral" if turn.unsure_between else turn.tone, news)
        intensity = min(2.0, round(0.4 + turn.intensity, 2))  # theirs is 0.5 for plain speech, ours 1
        turns.append(WrittenTurn(spoken(turn.text), turn.tone, intensity, turn.reply, tone, turn.strategy, news))
    return WrittenDialogue(tuple(turns), f"exchanges:{exchange.id}", domain_of(exchange.theme), exchange.group)


def spoken(text: str) -> str:
    """As a recognizer would write it → as one writes it: a capital and an end mark, which a voice needs."""
    text = text[:1].upper() + text[1:]
    if text[-1:] in ".!?…":
        return text
    asks = text.lower().split(" ", 1)[0] in (
        *("who", "what", "when", "where", "why", "how", "which", "is", "are", "do", "does", "did", "can", "could"),
        *("would", "will", "should", "have", "has"),
    )
    return text + ("?" if asks else ".")


def kind_of(exchange: WrittenExchange) -> str:
    if len(exchange.turns) > 1:
        return "multi-turn"
    return exchange.kind if exchange.kind in ("contrast", "conflict") else "plain"


def assign(rows: Sequence[Scenario], found: Sequence[WrittenExchange], seed: int) -> dict[int, WrittenExchange]:
    """Scenario index → exchange. Those held out of the responder's training stay out of the training split."""
    order = list(found)
    random.Random(f"{seed}:exchanges").shuffle(order)
    given: dict[int, WrittenExchange] = {}
    free: dict[tuple[str, str, bool], list[WrittenExchange]] = defaultdict(list)
    sets: dict[bool, dict[str, list[WrittenExchange]]] = {True: defaultdict(list), False: defaultdict(list)}
    for one in order:
        if kind_of(one) == "contrast":
            sets[one.split == "train"][one.group].append(one)
        else:
            free[kind_of(one), one.turns[-1].tone, one.split == "train"].append(one)
    groups: dict[str, list[Scenario]] = defaultdict(list)
    for row in rows:
        if row.kind == "contrast":
            groups[row.group].append(row)
        elif taken := _take(free[row.kind, row.emotion, row.split == "train"], row.domain):
            given[row.index] = taken
    for members in groups.values():
        _assign_set(members, sets[members[0].split == "train"], given)
    return given


def _take(free: list[WrittenExchange], domain: str) -> WrittenExchange | None:
    """One of the domain if there is one, else any; it is free no more."""
    at = next((place for place, one in enumerate(free) if domain_of(one.theme) == domain), 0)
    return free.pop(at) if free else None


def _assign_set(
    members: Sequence[Scenario], free: dict[str, list[WrittenExchange]], given: dict[int, WrittenExchange]
) -> None:
    """The free set that shares most tones with the members; each member its own tone where the set has it."""
    if not free:
        return
    wanted = [row.emotion for row in members]
    name = max(free, key=lambda one: (sum(row.turns[-1].tone in wanted for row in free[one]), one))
    left = sorted(free.pop(name), key=lambda one: one.id)
    late = []
    for row in members:
        fits = next((one for one in left if one.turns[-1].tone == row.emotion), None)
        if fits is None:
            late.append(row)
        else:
            given[row.index] = fits
            left.remove(fits)
    given.update({row.index: one for row, one in zip(late, left, strict=False)})
