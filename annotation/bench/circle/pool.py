"""Situations with candidate answers, as retrieval and the reranker see them: what the circle's raters compare.

Of training are turns of the shipped bank, each without its own answer; locked are the held-out written exchanges, which
nothing was trained on. Axes: K candidates of a situation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from annotation.bench.circle.rubric import points

CANDIDATES = 12  # of retrieval
COMPARED = 6  # of the parent's best, from which a pair is drawn


@dataclass(frozen=True, eq=False)
class Candidates:
    """``replies`` [K] of one situation, ``scores`` [K] of the parent, ``features`` by name [K, …] (torch tensors)."""

    text: str
    tones: tuple[str, ...]
    news: str
    replies: tuple[str, ...]
    scores: Any
    features: dict[str, Any]

    @property
    def points(self) -> list[int]:
        """Of the hidden rubric [K]."""
        return [points(reply) for reply in self.replies]

    def best(self, correction: Any = None) -> int:
        """The index of the answer that is chosen, with a correction of the parent's scores or without."""
        import torch

        with torch.no_grad():
            scores = self.scores if correction is None else self.scores + correction(self.features)
        return int(scores.argmax())


@dataclass(frozen=True, eq=False)
class Pool:
    training: list[Candidates]
    locked: list[Candidates]


def gather(reranker: Any, training: int, locked: int, seed: int = 0) -> Pool:
    """With the shipped bank and exchanges. ``reranker``: the parent's."""
    from emotion_omni.response.reply_bank import ReplyBank
    from emotion_omni.response.reranker import Situation
    from emotion_omni.train import exchanges
    from emotion_omni.train.reranker import Vectors, group_of

    rng = random.Random(seed)
    vectors = Vectors(reranker.encoder)
    bank = ReplyBank.load(reranker.encoder)
    turns = rng.sample(bank.turns, training)
    known = [Situation(turn.text, tuple(turn.tone.split(" or ")), turn.news) for turn in turns]
    single = [one for one in exchanges.read() if len(one.turns) == 1 and one.split == "dev"]
    held = {one.turns[0].text: group_of(one).situation for one in single}
    chosen = rng.sample(sorted(held), min(locked, len(held)))
    of_training = [
        _candidates(one, reranker, bank, vectors, turn.reply) for one, turn in zip(known, turns, strict=True)
    ]
    return Pool(of_training, [_candidates(held[text], reranker, bank, vectors, "") for text in chosen])


def _candidates(situation: Any, reranker: Any, bank: Any, vectors: Any, own: str) -> Candidates:
    import torch

    from emotion_omni.response.reranker import Reranker
    from emotion_omni.train.feedback.reward import features_of

    near = [turn.reply for turn, _ in bank.nearest(situation, CANDIDATES + 1)]
    replies = [reply for reply in dict.fromkeys(near) if reply != own][:CANDIDATES]
    with torch.no_grad():
        inputs = Reranker.inputs([situation] * len(replies), replies, vectors)
        scores, features = reranker.scorer(*inputs), features_of(reranker.scorer, inputs)
    order = scores.argsort(descending=True)
    ordered = tuple(replies[index] for index in order.tolist())
    features = {name: value[order] for name, value in features.items()}
    return Candidates(situation.text, situation.tones, situation.news, ordered, scores[order], features)


def pair_of(one: Candidates, rng: random.Random) -> tuple[int, int]:
    """Two of the parent's best, at random."""
    first, second = rng.sample(range(min(COMPARED, len(one.replies))), 2)
    return first, second


def mean_points(pool: Sequence[Candidates], correction: Any = None) -> float:
    """Of the answers that are chosen."""
    return sum(one.points[one.best(correction)] for one in pool) / len(pool)
