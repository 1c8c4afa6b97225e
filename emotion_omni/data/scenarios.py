"""A plan → its scenarios, one a dialogue, balanced by construction: about what, in which tone, in whose voice.

The same plan gives the same scenarios. Every stretch of them is as balanced as the whole, so that a pilot of the first
ones stands for all. Writes and speaks nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from emotion_omni.data.domains import CUES_OF, STYLES, domains
from emotion_omni.data.plan import CorpusPlan
from emotion_omni.weights import KOKORO_VOICES

KINDS = ("plain", "contrast", "conflict", "multi-turn")
SET = 4  # tones of one tone-contrast set, at most
INTENSITIES = (0.6, 0.8, 1.0, 1.2)
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Scenario:
    """``group``: dialogues of one tone-contrast set share it, others have their own. ``seed``: of all chance in it."""

    index: int
    id: str
    group: str
    kind: str
    domain: str
    situation: str
    style: str
    emotion: str
    intensity: float
    turns: int
    cue: str
    split: str
    voice: str
    reply_voice: str
    seed: int


def scenarios(plan: CorpusPlan) -> Iterator[Scenario]:
    """All scenarios in order. ids are ``NAME-00000042``."""
    voices = voices_of_splits(plan)
    tones = _cycle(plan.chosen_emotions, plan.seed, "tone")
    places = _cycle(plan.chosen_domains, plan.seed, "domain")
    cells = _cells(plan)
    index = 0
    for number, kind in enumerate(_kinds(plan)):
        group = f"{plan.name}-g{number:07d}"
        rng = random.Random(f"{plan.seed}:{group}")
        size = min(SET, len(plan.chosen_emotions)) if kind == "contrast" else 1
        if kind == "contrast":
            place = next(places)
            found = [(place, tone) for tone in _distinct(tones, size)]
        else:
            found = [next(cells[kind])]
        situation, style = rng.choice(domains()[found[0][0]].situations), rng.choice(STYLES)
        split = split_of(plan, group)
        turns = rng.choice((2, 3, 3, 4)) if kind == "multi-turn" else 1
        speakers = rng.sample(voices[split], min(size, len(voices[split])))
        for place, (domain, tone) in enumerate(found):
            if index >= plan.dialogues:
                return
            cue = rng.choice(CUES_OF[tone]) if kind == "plain" and rng.random() < plan.mix.cues else ""
            voice, reply = speakers[place % len(speakers)], rng.choice(plan.speech.replies or (speakers[0],))
            intensity, seed = rng.choice(INTENSITIES), rng.getrandbits(31)
            yield Scenario(
                index, f"{plan.name}-{index:08d}", group, kind, domain, situation, style, tone, intensity, turns, cue,
                split, voice, reply, seed,
            )  # fmt: skip
            index += 1


def _kinds(plan: CorpusPlan) -> Iterator[str]:
    """Kinds of groups for ever: each next one is the kind that is furthest behind its share of the dialogues."""
    mix, size = plan.mix, min(SET, len(plan.chosen_emotions))
    shares = {"contrast": mix.tone_contrast, "conflict": mix.conflict, "multi-turn": mix.multi_turn}
    shares = {"plain": 1 - sum(shares.values())} | shares
    sizes = {kind: size if kind == "contrast" else 1 for kind in shares}
    done = dict.fromkeys(shares, 0)
    while True:
        total = sum(done.values()) + 1
        kind = max(shares, key=lambda one: shares[one] * total - done[one] - (sizes[one] - 1) / 2)
        done[kind] += sizes[kind]
        yield kind


def _cells(plan: CorpusPlan) -> dict[str, Iterator[tuple[str, str]]]:
    """For each kind, pairs of domain and emotion, each once before any comes again."""
    pairs = list(itertools.product(plan.chosen_domains, plan.chosen_emotions))
    return {kind: _cycle(pairs, plan.seed, kind) for kind in KINDS}


def _cycle(values: Sequence, seed: int, name: str) -> Iterator:
    """For ever, each value once before any comes again, in another order every time."""
    for turn in itertools.count():
        order = list(values)
        random.Random(f"{seed}:{name}:{turn}").shuffle(order)
        yield from order


def _distinct(values: Iterator[str], count: int) -> list[str]:
    """The next ``count`` different values."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[next(values)] = None
    return list(found)


def split_of(plan: CorpusPlan, group: str) -> str:
    share = int.from_bytes(hashlib.sha256(f"{plan.seed}:{group}".encode()).digest()[:6]) / 2**48
    if share < plan.split.test:
        return "test"
    return "dev" if share < plan.split.test + plan.split.dev else "train"


def voices_of_splits(plan: CorpusPlan) -> dict[str, list[str]]:
    """Voices of people by split, apart: each held-out split has one of ten, at least one, of every gender there is."""
    names = plan.speech.queries or tuple(
        name for name in KOKORO_VOICES if name[0] in "ab" and name not in plan.speech.replies
    )
    held = [name for name, share in (("dev", plan.split.dev), ("test", plan.split.test)) if share]
    if len(names) <= len(held):  # too few to keep apart: texts are, voices are not, and the card says so
        return {split: list(names) for split in SPLITS}
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    order = sorted(names, key=lambda name: hashlib.sha256(f"{plan.seed}:{name}".encode()).digest())
    for split in held:
        count = max(1, min(2, len(names) // 10))
        genders = sorted({name[1:2] for name in order})
        for gender in itertools.islice(itertools.cycle(genders), count):
            chosen = next((name for name in order if name[1:2] == gender), order[0])
            order.remove(chosen)
            found[split].append(chosen)
    found["train"] = order
    return {split: some or order for split, some in found.items()}


def coverage(rows: Sequence[Scenario]) -> dict[str, dict[str, int]]:
    """Counts of each property, and of the cells domain × emotion."""
    names = ("domain", "emotion", "kind", "split", "voice", "style", "turns", "cue")
    found = {name: dict(sorted(Counter(str(getattr(row, name)) for row in rows).items())) for name in names}
    cells = Counter(f"{row.domain}/{row.emotion}" for row in rows)
    return found | {"cells": dict(sorted(cells.items()))}


def as_row(scenario: Scenario) -> dict:
    return asdict(scenario)
