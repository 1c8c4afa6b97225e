"""Train the reranker of replies, and write the bank that retrieval proposes from.

``python -m emotion_omni train reranker --out FOLDER``

Right replies are those of the written exchanges and of the reply corpus, which has many tones of the same words.
Wrong ones answer something else (at random, or something near), answer another tone of the same words, or are right
ones that were damaged. The loss is the cross entropy of the right one among its group, and a binary one so that 0
means "as likely right as wrong".

Axes: N pairs of a situation and a reply, D width 384.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from emotion_omni import streams
from emotion_omni.response.reply_bank import BankTurn, ReplyBank
from emotion_omni.response.reranker import ReplyScorer, Reranker, Situation
from emotion_omni.response.safe_replies import every_reply
from emotion_omni.response.sentence_encoder import SentenceEncoder, load_encoder
from emotion_omni.train import exchanges
from emotion_omni.train.part_settings import RerankerSettings
from emotion_omni.train.responder import Row, earlier_of, is_validation, read_rows
from emotion_omni.types import Exchange

Item = TypeVar("Item")

CANDIDATES = 20  # of a test: the right reply, the nearest of the bank, and random ones
NEAREST = 12
REVERSED = {
    "good": ("I'm so sorry to hear that.", "Oh no, how awful.", "That must be really hard."),
    "bad": ("Congratulations!", "How wonderful!", "That's great news!", "I'm so happy for you!"),
    "neutral": ("I'm so sorry for you.", "Congratulations!", "How terrible.", "Well done, you must be so proud!"),
}


@dataclass
class Group:
    """One situation, its right reply and the wrong ones by kind. ``name``: shared by the tones of the same words."""

    situation: Situation
    reply: str
    name: str
    validation: bool
    written: bool = True  # of the written exchanges, not of the reply corpus
    wrong: list[tuple[str, str]] = field(default_factory=list)  # (kind, reply)


def group_of(exchange: exchanges.WrittenExchange) -> Group:
    """Without wrong replies yet. The news of earlier turns is not known, so it is of the last turn."""
    *earlier, turn = exchange.turns
    history = tuple(Exchange(one.text, one.tone, one.reply) for one in earlier)
    situation = Situation(turn.text, turn.unsure_between or (turn.tone,), exchange.news, history)
    return Group(situation, turn.reply, exchange.group, exchange.split == "dev")


def group_of_row(row: Row) -> Group:
    """The same for a row of the reply corpus."""
    situation = Situation(row["text"], (row["emotion"],), row["event"], earlier_of(row))
    return Group(situation, row["reply"], f"corpus {row['text']}", is_validation(row, 0.1), written=False)


# --- wrong replies ------------------------------------------------------------------------------------------------


def add_wrong(groups: list[Group], vectors: Tensor, rng: random.Random, settings: RerankerSettings) -> None:
    """Fills ``wrong``. ``vectors``: of the words of each group [groups, D]; wrong replies stay within a split."""
    for pool in _pools(groups):
        similar = vectors[pool] @ vectors[pool].T
        for place, index in enumerate(pool):
            group = groups[index]
            others = [groups[i] for i in pool if groups[i].name != group.name]
            nearest = [groups[pool[i]] for i in similar[place].topk(min(30, len(pool))).indices.tolist()]
            near = [one for one in nearest if one.name != group.name][:20]
            group.wrong += [("random", one.reply) for one in _some(others, settings.random_each, rng)]
            group.wrong += [("near", one.reply) for one in _some(near, settings.near_each, rng)]
            if others and group.written:
                damaged = list(_damaged(group, rng.choice(others).reply, rng))
                group.wrong += _some(damaged, settings.damaged_each, rng)
    by_name: dict[str, list[Group]] = {}
    for group in groups:
        by_name.setdefault(group.name, []).append(group)
    for group in groups:
        tones = set(group.situation.tones)
        others_of_words = [one for one in by_name[group.name] if not tones & set(one.situation.tones)]
        group.wrong += [("other tone", one.reply) for one in others_of_words if one.reply != group.reply]


def _pools(groups: Sequence[Group]) -> list[list[int]]:
    """Indices by split and corpus: neither the split nor the style of a corpus may tell right from wrong."""
    pools: dict[tuple[bool, bool], list[int]] = {}
    for index, group in enumerate(groups):
        pools.setdefault((group.validation, group.written), []).append(index)
    return list(pools.values())


def _some(items: Sequence[Item], count: int, rng: random.Random) -> list[Item]:
    return rng.sample(items, min(count, len(items)))


def _damaged(group: Group, foreign: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """``foreign``: the reply to something else."""
    sentences, reply = exchanges.sentences(group.reply), group.reply
    last = exchanges.sentences(foreign)[-1]
    yield "mixed", " ".join([*(sentences[:-1] or sentences), last])
    yield "scrambled", scrambled(reply, rng)
    yield "foreign word", with_foreign_word(reply, foreign, rng)
    yield "reversed", " ".join([rng.choice(REVERSED[group.situation.news]), *sentences[-1:]])
    yield "generic", rng.choice([text for news, text in every_reply() if news == group.situation.news])
    tone = rng.choice(group.situation.tones)
    if tone != "neutral":
        yield "parroted", f"You're {tone}. {' '.join(sentences[1:])}".strip()


def scrambled(reply: str, rng: random.Random) -> str:
    """Two neighboring stretches of words change places, or a stretch is lost."""
    words = reply.split()
    if len(words) < 4:
        return " ".join(reversed(words))
    one, two, three = sorted(rng.sample(range(len(words) + 1), 3))
    swapped = words[:one] + words[two:three] + words[one:two] + words[three:]
    return " ".join(swapped if rng.random() < 0.5 or two - one < 2 else words[:one] + words[two:])


def with_foreign_word(reply: str, foreign: str, rng: random.Random) -> str:
    """Its longest words replaced by the longest of another reply."""
    mine, theirs = (sorted(set(re.findall(r"[a-z]{4,}", text)), key=len)[-4:] for text in (reply, foreign))
    for word in rng.sample(mine, min(2, len(mine))):
        if theirs:
            reply = re.sub(rf"\b{word}\b", rng.choice(theirs), reply)
    return reply


# --- training -----------------------------------------------------------------------------------------------------


class Vectors:
    """Sentence vectors, each text encoded once."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder
        self.known: dict[str, Tensor] = {}

    def __call__(self, texts: list[str]) -> Tensor:
        missing = sorted({text for text in texts if text not in self.known}, key=len)
        for at in range(0, len(missing), 64):
            batch = missing[at : at + 64]
            self.known.update(zip(batch, self.encoder(batch).clone().unbind(), strict=True))
            if at // 64 % 50 == 49:
                streams.note(f"sentence vectors: {at + 64} of {len(missing)}")
        return torch.stack([self.known[text] for text in texts])


Pairs = tuple[tuple[Tensor, ...], Tensor, Tensor]  # inputs, which group, whether right


def pairs_of(groups: Sequence[Group], vectors: Vectors) -> Pairs:
    situations, replies, places, right = [], [], [], []
    for place, group in enumerate(groups):
        for reply, fits in [(group.reply, 1.0), *((wrong, 0.0) for _, wrong in group.wrong)]:
            situations.append(group.situation)
            replies.append(reply)
            places.append(place)
            right.append(fits)
    return Reranker.inputs(situations, replies, vectors), torch.tensor(places), torch.tensor(right)


def loss_of(logits: Tensor, places: Tensor, right: Tensor) -> Tensor:
    """Cross entropy of the right reply in its group, and a quarter of the binary one."""
    count = int(places.max()) + 1
    totals = torch.full((count,), -torch.inf).scatter_reduce(0, places, logits.detach(), "amax")
    sums = torch.zeros(count).index_add(0, places, (logits - totals[places]).exp())
    listwise = (sums.log() + totals - logits[right == 1]).mean()
    weight = (1 - right.mean()) / right.mean()
    binary = torch.nn.functional.binary_cross_entropy_with_logits(logits, right, pos_weight=weight)
    return listwise + 0.25 * binary


def fit(pairs: Pairs, settings: RerankerSettings) -> ReplyScorer:
    torch.manual_seed(settings.seed)
    inputs, places, right = pairs
    scorer, groups = ReplyScorer(), int(places.max()) + 1
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * (groups // settings.batch_size + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    starts = torch.searchsorted(places, torch.arange(groups + 1)).tolist()
    for epoch in range(settings.epochs):
        for chosen in torch.randperm(groups).split(settings.batch_size):
            spans = [torch.arange(starts[group], starts[group + 1]) for group in chosen.tolist()]
            rows = torch.cat(spans)
            local = torch.repeat_interleave(torch.tensor([len(span) for span in spans]))
            loss = loss_of(scorer(*(one[rows] for one in inputs)), local, right[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        streams.note(f"epoch {epoch}: loss {loss.item():.3f}")
    return scorer.eval()


# --- report -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def report(scorer: ReplyScorer, groups: Sequence[Group], vectors: Vectors) -> dict[str, Any]:
    """How often the right reply scores above each kind of wrong one; how often it is above 0 and they below."""
    inputs, _, right = pairs_of(groups, vectors)
    logits = scorer(*inputs)
    kinds = [kind for group in groups for kind in ("", *(kind for kind, _ in group.wrong))]
    best: dict[str, list[float]] = {}
    for logit, kind in zip(logits.tolist(), kinds, strict=True):
        if not kind:
            mine = logit
        else:
            best.setdefault(kind, []).append(float(mine > logit))
    found = {kind: round(sum(values) / len(values), 3) for kind, values in sorted(best.items())}
    accepted = {"right": (logits[right == 1] > 0), "wrong": (logits[right == 0] > 0)}
    shares = {f"{name} above 0": round(one.float().mean().item(), 3) for name, one in accepted.items()}
    return {"pairs": found} | shares


@torch.no_grad()
def recall(
    scorer: ReplyScorer, groups: Sequence[Group], bank: ReplyBank, vectors: Vectors, rng: random.Random
) -> dict[str, float]:
    """The right reply among :data:`CANDIDATES`: the nearest of the bank and random ones of the same groups."""
    ranks, by_cosine = [], []
    for group in groups:
        near = [turn.reply for turn, _ in bank.nearest(group.situation, NEAREST)]
        others = [one.reply for one in groups if one.name != group.name]
        candidates = [group.reply, *near, *rng.sample(others, min(CANDIDATES - 1 - len(near), len(others)))]
        inputs = Reranker.inputs([group.situation] * len(candidates), candidates, vectors)
        logits, cosines = scorer(*inputs), inputs[-1][:, 0]
        ranks.append(int((logits > logits[0]).sum()))
        by_cosine.append(int((cosines > cosines[0]).sum()))
    count = len(ranks)
    found = {f"recall at {k}": round(sum(rank < k for rank in ranks) / count, 3) for k in (1, 3, 5)}
    return found | {"recall at 1 by cosine": round(sum(rank < 1 for rank in by_cosine) / count, 3)}


def bank_turns(groups: Sequence[Group]) -> list[BankTurn]:
    """Those whose reply needs no earlier turn."""
    return [
        BankTurn(one.situation.text, " or ".join(one.situation.tones), one.situation.news, one.reply)
        for one in groups
        if one.written and not one.situation.history
    ]


def train(folder: Path, replies: Path | None, out: Path, settings: RerankerSettings) -> dict[str, Any]:
    """Write ``reranker.safetensors``, ``reply_bank.safetensors`` and the log to ``out`` → the log."""
    rng = random.Random(settings.seed)
    encoder = load_encoder()
    vectors = Vectors(encoder)
    groups = [group_of(exchange) for exchange in exchanges.read(folder)]
    groups += [group_of_row(row) for row in read_rows(replies)] if replies else []
    add_wrong(groups, vectors([group.situation.text for group in groups]), rng, settings)
    training = [group for group in groups if not group.validation and group.wrong]
    validation = [group for group in groups if group.validation and group.written and group.wrong]
    scorer = fit(pairs_of(training, vectors), settings)
    turns = bank_turns([group for group in groups if not group.validation])
    bank = ReplyBank(encoder, turns, vectors([turn.text for turn in turns]))
    log: dict[str, Any] = {"settings": asdict(settings)}
    log["groups"] = {"train": len(training), "validation": len(validation), "bank": len(turns)}
    log["validation"] = report(scorer, validation, vectors)
    log["validation"] |= recall(scorer, validation, bank, vectors, rng)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in scorer.state_dict().items()}
    save_file(tensors, out / "reranker.safetensors")
    bank.save(out / "reply_bank.safetensors")
    (out / "reranker.log.json").write_text(json.dumps(log, indent=1))
    return log
