"""The reranker: how well each of several replies fits what was said, how it was said and what was said before.

A small network on MiniLM sentence vectors and a few counts (:mod:`emotion_omni.train.reranker` trains it). It prefers
replies that are about the words, fit tone and news, hold together, are specific, invent nothing and repeat nothing.

Axes: N replies, D width 384, S counts, C conditions (8 tones, 3 kinds of news).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.emotion import NAMES, NEWS
from emotion_omni.response.guard import CONDOLES, CONGRATULATES, PRESUMES
from emotion_omni.response.sentence_encoder import WIDTH, SentenceEncoder, load_encoder
from emotion_omni.types import Exchange, Heard, Plan

SHIPPED = Path(__file__).parent / "weights" / "reranker.safetensors"  # trained by us, with its card
CONDITIONS = len(NAMES) + len(NEWS)
COUNTS = 20
HIDDEN = 32
MAX_EARLIER = 2  # exchanges that count as context

_STOP_WORDS = """
a about after again all also am an and any are as at be because been before being but by can could did do does
don't for from get go going got had has have he he's her here him his how i i'd i'll i'm i've if in into is
isn't it it's its just like me more most much my no not now of off on one only or our out over really she she's
so some that that's the their them then there there's they they're this to too up us very was way we we're were
what what's when where which who why will with would yes you you'd you'll you're you've your
"""
_STOP = frozenset(_STOP_WORDS.split())
_QUESTION = re.compile(
    r"^(who|what|when|where|why|how|which|is|are|do|does|did|can|could|should|will|would)\b|\?", re.I
)
_GENDER = re.compile(r"\b(he|she|him|his|her|hers)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Situation:
    """What a reply answers. ``tones``: one, or two where recognition is unsure."""

    text: str
    tones: tuple[str, ...]
    news: str
    history: tuple[Exchange, ...] = ()

    @classmethod
    def of(cls, heard: Heard, plan: Plan, history: Sequence[Exchange] = ()) -> Situation:
        return cls(heard.transcript, plan.unsure_between or (plan.tone,), plan.news, tuple(history))

    @property
    def context(self) -> str:
        """The last exchanges and the words, as one text."""
        earlier = [f"{one.transcript} {one.reply}" for one in self.history[-MAX_EARLIER:]]
        return " ".join([*earlier, self.text])

    @property
    def conditions(self) -> list[float]:
        """[C]: tones that sum to 1, then the news."""
        tones = [1 / len(self.tones) if name in self.tones else 0.0 for name in NAMES]
        return tones + [float(name == self.news) for name in NEWS]


class ReplyScorer(nn.Module):
    """Vectors of words, context and reply, conditions and counts → logits that the reply fits [N]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(4 * WIDTH + CONDITIONS + COUNTS, HIDDEN), nn.GELU(), nn.Dropout(0.5)
        )
        self.output = nn.Linear(HIDDEN, 1)
        self.direction = nn.Linear(CONDITIONS, WIDTH, bias=False)  # what replies to this tone and news are like
        self.counts = nn.Linear(COUNTS, 1)

    def forward(self, words: Tensor, context: Tensor, reply: Tensor, conditions: Tensor, counts: Tensor) -> Tensor:
        scale = math.sqrt(WIDTH)  # unit vectors → entries near 1
        products = (words * reply * WIDTH, context * reply * WIDTH)
        inputs = torch.cat([words * scale, reply * scale, *products, conditions, counts], 1)
        direction = (self.direction(conditions) * reply).sum(1)
        return self.output(self.layers(inputs))[:, 0] + direction + self.counts(counts)[:, 0]


class Reranker:
    """``scores`` is what a responder asks. ``encoder``: the one that the guard and the retrieval use too."""

    def __init__(self, encoder: SentenceEncoder, scorer: ReplyScorer) -> None:
        self.encoder, self.scorer = encoder, scorer.eval()

    @classmethod
    def load(cls, path: str | Path = "", encoder: SentenceEncoder | None = None) -> Reranker:
        """Without ``path`` the shipped ones. Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``)."""
        file, scorer = Path(path or SHIPPED), ReplyScorer()
        with weights.part_explained(file, "reranker"):
            tensors = {name: value.float() for name, value in safetensors.torch.load_file(file).items()}
            scorer.load_state_dict(tensors, strict=True)
        return cls(encoder or load_encoder(), scorer)

    def scores(self, heard: Heard, plan: Plan, history: Sequence[Exchange], candidates: Sequence[str]) -> list[float]:
        """Logits that each reply fits: above 0 it probably does."""
        if not candidates:
            return []
        situation = Situation.of(heard, plan, history)
        with torch.inference_mode():
            inputs = self.inputs([situation] * len(candidates), candidates, self.encoder)
            return self.scorer(*inputs).tolist()

    @staticmethod
    def inputs(
        situations: Sequence[Situation], replies: Sequence[str], encode: Callable[[list[str]], Tensor]
    ) -> tuple[Tensor, ...]:
        """What :class:`ReplyScorer` takes, for pairs of a situation and a reply. ``encode``: texts → vectors [B, D]."""
        texts = {text for one in situations for text in (one.text, one.context)} | set(replies)
        order = {text: index for index, text in enumerate(sorted(texts))}
        vectors = encode(list(order))
        words = vectors[[order[one.text] for one in situations]]
        context = vectors[[order[one.context] for one in situations]]
        reply = vectors[[order[text] for text in replies]]
        conditions = torch.tensor([one.conditions for one in situations])
        similar = torch.stack([(words * reply).sum(1), (context * reply).sum(1)], 1)
        other = torch.tensor([_counts(one, text) for one, text in zip(situations, replies, strict=True)])
        return words, context, reply, conditions, torch.cat([similar, other], 1)


def _counts(situation: Situation, reply: str) -> list[float]:
    """What sentence vectors miss: words in common, length, direction, invented facts, repetition. [S - 2]"""
    context, words = situation.context, _words(reply)
    said, answered = _content(situation.text), _content(reply)
    known = _content(context)
    cheers, comforts = bool(CONGRATULATES.search(reply)), bool(CONDOLES.search(reply))
    names = set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", reply))
    sentences = max(1, len(re.findall(r"[.!?](?:\s|$)", reply)))
    return [
        len(said & answered) / (len(said) or 1),
        len(known & answered) / (len(answered) or 1),
        min(len(answered - known), 12) / 12,
        math.log(1 + len(words)) / 4,
        min(sentences, 5) / 5,
        float(reply.rstrip().endswith("?")),
        float(bool(_QUESTION.search(situation.text))),
        float(cheers and situation.news == "bad"),
        float(comforts and situation.news == "good"),
        float(cheers and situation.news == "neutral"),
        float(comforts and situation.news == "neutral"),
        float(bool(PRESUMES.search(reply))),
        _repetition(words, situation.history),
        min(len(names - set(context.split())), 3) / 3,
        float(bool(set(re.findall(r"\d+", reply)) - set(re.findall(r"\d+", context)))),
        float(bool(_GENDER.search(reply)) and not _GENDER.search(context)),
        len(set(words)) / (len(words) or 1),
        float(len(situation.tones) > 1),
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _content(text: str) -> set[str]:
    """Content words, roughly without their endings."""
    return {re.sub(r"('s|ies|ing|ed|es|s|y)$", "", word) for word in _words(text) if word not in _STOP}


def _repetition(words: list[str], history: Sequence[Exchange]) -> float:
    """The largest share of the reply's three-word sequences that one earlier reply has too."""
    mine = _trigrams(words)
    return max((len(mine & _trigrams(_words(one.reply))) / (len(mine) or 1) for one in history), default=0.0)


def _trigrams(words: list[str]) -> set[tuple[str, ...]]:
    return set(zip(words, words[1:], words[2:], strict=False))
