"""Train the critic of replies on people's own conversations.

``python -m emotion_omni train critic --dialogues … --support … --daily … --out FOLDER``

Sense: what a person really answered, against answers to something else, at random or to something near. Fluency:
against its own words in disorder. Direction: the answer to good or bad news of EmpatheticDialogues, against one to the
opposite; in some pairs the words are an everyday remark, so that only the tone tells. Kinds of empathy: the support
strategies of ESConv, as EPITOME (Sharma et al. 2020) would name them; ratings of EPITOME itself only measure.

Axes: N pairs, K = :data:`~emotion_omni.evaluate.critic.JUDGED`; a target is NaN where it is not known.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from emotion_omni import streams, weights
from emotion_omni.evaluate.critic import JUDGED, KINDS, Answered, Critic, CriticHeads, Usage
from emotion_omni.response.sentence_encoder import load_encoder
from emotion_omni.train.guard import SITUATIONS
from emotion_omni.train.part_settings import CriticSettings
from emotion_omni.train.reranker import Vectors
from emotion_omni.train.responder import Row, read_rows
from emotion_omni.types import Exchange

TONES = {  # of the situations of EmpatheticDialogues
    "happy": "joyful excited proud grateful hopeful impressed",
    "calm": "confident content trusting caring faithful",
    "sad": "devastated sad lonely disappointed sentimental",
    "angry": "angry furious annoyed jealous",
    "fearful": "terrified afraid anxious apprehensive",
    "disgusted": "disgusted",
    "surprised": "surprised",
}
STRATEGIES = {  # of ESConv → the kinds of empathy that they show
    "Affirmation and Reassurance": ("emotional_reactions",),
    "Reflection of feelings": ("emotional_reactions", "interpretations"),
    "Restatement or Paraphrasing": ("interpretations",),
    "Self-disclosure": ("interpretations",),
    "Question": ("explorations",),
    "Providing Suggestions": (),
    "Information": (),
    "Others": (),
}
OPENERS = {
    "good": ("Congratulations!", "How wonderful!", "That is great news.", "I am so happy for you."),
    "bad": ("I am so sorry.", "Oh no, that is awful.", "How terrible.", "My condolences."),
}
NEAREST = 25
LONGEST_REMARK = 12  # words


@dataclass(frozen=True)
class Example:
    """``kinds``: those of empathy, unknown where ``None``. ``news``: good, bad, or unknown ("")."""

    answered: Answered
    news: str = ""
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CriticData:
    """EmpatheticDialogues, ESConv, DailyDialog and, to measure with only, EPITOME; as JSON lines with ``split``."""

    dialogues: Path
    support: Path
    daily: Path
    empathy: Path | None = None


# --- reading ------------------------------------------------------------------------------------------------------


def _situation(name: str, table: dict[str, str]) -> str:
    return next((label for label, names in table.items() if name in names.split()), "")


def read_dialogues(rows: Iterable[Row]) -> Iterator[Example]:
    for row in rows:
        news = _situation(row["emotion"], SITUATIONS)
        tone = _situation(row["emotion"], TONES) or "neutral"
        for example in _exchanges(row["turns"], tone):
            yield replace(example, news="" if news == "neutral" else news)


def read_support(rows: Iterable[Row]) -> Iterator[Example]:
    for row in rows:
        for example, turn in _with_turns(row["turns"], "sad"):
            strategy = turn.get("strategy")
            yield replace(example, kinds=STRATEGIES[strategy] if strategy else None)


def read_daily(rows: Iterable[Row]) -> Iterator[Example]:
    for row in rows:
        turns = row["turns"]
        for before, one, reply in zip([None, *turns], turns, turns[1:], strict=False):
            earlier = (Exchange("", "neutral", before["text"]),) if before else ()
            yield Example(Answered(one["text"], one.get("emotion8") or "neutral", reply["text"], earlier))


def _exchanges(turns: Sequence[dict[str, Any]], tone: str) -> Iterator[Example]:
    return (example for example, _ in _with_turns(turns, tone))


def _with_turns(turns: Sequence[dict[str, Any]], tone: str) -> Iterator[tuple[Example, dict[str, Any]]]:
    """Each turn of the listener that follows one of the person, with the exchange before."""
    earlier: tuple[Exchange, ...] = ()
    for one, reply in zip(turns, turns[1:], strict=False):
        if one["role"] == "user" and reply["role"] == "assistant":
            yield Example(Answered(one["text"], tone, reply["text"], earlier)), reply
            earlier = (Exchange(one["text"], tone, reply["text"]),)


def read(data: CriticData, split: str, most: int, seed: int) -> dict[str, list[Example]]:
    """By corpus, at most so many of each."""
    files = (("dialogues", data.dialogues, read_dialogues), ("support", data.support, read_support))
    found = {}
    for name, path, reader in (*files, ("daily", data.daily, read_daily)):
        examples = list(reader([row for row in read_rows(path) if row["split"] == split]))
        found[name] = random.Random(seed).sample(examples, min(most, len(examples)))
    return found


# --- pairs --------------------------------------------------------------------------------------------------------

Pair = tuple[Answered, tuple[float, ...]]


def target(**known: float) -> tuple[float, ...]:
    return tuple(known.get(name, math.nan) for name in JUDGED)


class Pairs:
    """Right and wrong pairs of a split, drawn anew for each epoch."""

    def __init__(self, corpora: dict[str, list[Example]], vectors: Vectors) -> None:
        self._corpora = corpora
        self._near = {name: _nearest(vectors, examples) for name, examples in corpora.items()}
        spoken = corpora["dialogues"]
        self._by_news = {news: [one for one in spoken if one.news == news] for news in ("good", "bad")}
        daily = [one.answered for one in corpora["daily"]]
        short = [one.words for one in daily if one.tone == "neutral" and len(one.words.split()) <= LONGEST_REMARK]
        self._remarks = short or ["the letter is here"]

    def draw(self, rng: random.Random) -> list[Pair]:
        """Three pairs for each example, two more where its news is known."""
        found: list[Pair] = []
        for name, examples in self._corpora.items():
            for index in range(len(examples)):
                found += self._sense(name, index, rng)
        for news, examples in self._by_news.items():
            for one in examples if all(self._by_news.values()) else ():
                found += self._direction(one, news, rng)
        return found

    def fluent_and_not(self, rng: random.Random) -> tuple[list[str], list[str]]:
        """All replies, and each in disorder."""
        own = [one.answered.reply for examples in self._corpora.values() for one in examples]
        return own, [disordered(reply, rng) for reply in own]

    def _sense(self, name: str, index: int, rng: random.Random) -> Iterator[Pair]:
        examples = self._corpora[name]
        one = examples[index]
        known = {"sense": 1.0}
        if one.kinds is not None:
            known |= {kind: float(kind in one.kinds) for kind in KINDS}
        yield one.answered, target(**known)
        for other in (examples[rng.choice(self._near[name][index])], rng.choice(examples)):
            if other.answered.reply != one.answered.reply:
                yield replace(one.answered, reply=other.answered.reply), target(sense=0.0)

    def _direction(self, one: Example, news: str, rng: random.Random) -> Iterator[Pair]:
        other_news = "bad" if news == "good" else "good"
        answered = one.answered
        if rng.random() < 0.3:  # only the tone tells
            answered = replace(answered, words=rng.choice(self._remarks), earlier=())
        wrong = rng.choice(self._by_news[other_news]).answered.reply
        right = answered.reply
        if rng.random() < 0.3:
            wrong, right = f"{rng.choice(OPENERS[other_news])} {wrong}", f"{rng.choice(OPENERS[news])} {right}"
        yield replace(answered, reply=right), target(direction=1.0)
        yield replace(answered, reply=wrong), target(direction=0.0)


def disordered(reply: str, rng: random.Random) -> str:
    """Its words in another order, or a stretch of them said twice."""
    words = reply.split()
    if len(words) > 6 and rng.random() < 0.3:
        at = rng.randrange(len(words) - 3)
        return " ".join(words[: at + 3] + words[at : at + 3] + words[at:])
    cuts = sorted(rng.sample(range(len(words) + 1), min(3, len(words) + 1)))
    parts = [words[a:b] for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]
    rng.shuffle(parts)
    return " ".join(word for part in parts for word in part)


def _nearest(vectors: Vectors, examples: Sequence[Example]) -> list[list[int]]:
    """For each example those whose words are nearest, itself and equal replies left out."""
    if not examples:
        return []
    own = vectors([one.answered.words.lower() for one in examples])
    found = []
    for index in range(len(examples)):
        near = (own @ own[index]).topk(min(NEAREST, len(examples))).indices.tolist()
        found.append([other for other in near if other != index] or [index])
    return found


# --- training -----------------------------------------------------------------------------------------------------


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy over the known targets; of the sense, wrong pairs are twice as many as right ones."""
    known = targets.isfinite()
    wanted = torch.where(known, targets, torch.zeros(()))
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    weight = torch.where(wanted > 0.5, 2.0, 1.0)
    weight[:, 1] = 1.0  # of the direction as many are right as wrong
    return (each * weight * known).sum() / (weight * known).sum()


def fit(critic: Critic, pairs: Sequence[Pair], settings: CriticSettings) -> None:
    batches = [critic.features([one for one, _ in pairs[at : at + 512]]) for at in range(0, len(pairs), 512)]
    inputs = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    targets = torch.tensor([wanted for _, wanted in pairs])
    optimizer = torch.optim.AdamW(critic.heads.parameters(), settings.learning_rate, weight_decay=0.1)
    steps = settings.epochs * (len(pairs) // settings.batch_size + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    critic.heads.train()
    critic.heads.fluency.requires_grad_(False)
    for epoch in range(settings.epochs):
        total = 0.0
        for chosen in torch.randperm(len(pairs)).split(settings.batch_size):
            loss = loss_of(critic.heads(tuple(part[chosen] for part in inputs)), targets[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.item() * len(chosen)
        streams.note(f"epoch {epoch}: loss {total / len(pairs):.3f}")
    critic.heads.eval()


def fit_fluency(critic: Critic, pairs: Pairs, rng: random.Random) -> None:
    """``pairs``: of texts that the usage has not counted, or all their pairs of words would be known."""
    own, wrong = pairs.fluent_and_not(rng)
    counts = torch.cat([critic.counts(own), critic.counts(wrong)])
    right = torch.cat([torch.ones(len(own)), torch.zeros(len(wrong))])
    layer = critic.heads.fluency.requires_grad_(True)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(layer(counts)[:, 0], right)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]


# --- report -------------------------------------------------------------------------------------------------------


def area(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Area under the ROC curve: how often a right one scores above a wrong one (Mann-Whitney)."""
    order = sorted([(score, 1) for score in right] + [(score, 0) for score in wrong])
    total, below, at = 0.0, 0, 0
    while at < len(order):  # equal scores count half
        end = at
        while end < len(order) and order[end][0] == order[at][0]:
            end += 1
        hits = sum(kind for _, kind in order[at:end])
        misses = end - at - hits
        total += hits * (below + misses / 2)
        below, at = below + misses, end
    return round(total / (len(right) * len(wrong)), 4) if right and wrong else math.nan


def report(critic: Critic, pairs: Pairs, seed: int) -> dict[str, Any]:
    """For each of what is judged: area under the curve, and how much of right and wrong is above a half."""
    drawn = pairs.draw(random.Random(seed))
    scores = critic.judge([answered for answered, _ in drawn])
    found: dict[str, Any] = {}
    for place, name in enumerate(JUDGED):
        of = [(score[name], wanted[place]) for score, (_, wanted) in zip(scores, drawn, strict=True)]
        right, wrong = ([score for score, wanted in of if wanted == value] for value in (1.0, 0.0))
        if right and wrong:
            above = {side: round(sum(s > 0.5 for s in some) / len(some), 4) for side, some in _sides(right, wrong)}
            found[name] = {"area": area(right, wrong), **above, "pairs": len(of)}
    own, wrong_words = pairs.fluent_and_not(random.Random(seed))
    scores_of = [critic.heads.fluency(critic.counts(some))[:, 0].sigmoid().tolist() for some in (own, wrong_words)]
    found["fluency"] = {"area": area(*scores_of), "pairs": 2 * len(own)}
    return found


def _sides(right: list[float], wrong: list[float]) -> tuple[tuple[str, list[float]], tuple[str, list[float]]]:
    return ("right above 0.5", right), ("wrong above 0.5", wrong)


def agreement(critic: Critic, rows: Sequence[Row]) -> dict[str, float]:
    """Area under the curve against people's ratings of EPITOME: none against weak or strong."""
    scores = critic.judge([Answered(row["seeker"], "neutral", row["response"]) for row in rows])
    found = {}
    for kind in KINDS:
        sides = [
            [s[kind] for s, r in zip(scores, rows, strict=True) if (r["levels"][kind] > 0) is shown]
            for shown in (True, False)
        ]
        found[kind] = area(*sides)
    return found


def train(data: CriticData, out: Path, settings: CriticSettings) -> dict[str, Any]:
    """Write ``critic.safetensors`` and its log to ``out`` → the log."""
    torch.manual_seed(settings.seed)
    vectors = Vectors(load_encoder())
    corpora = read(data, "train", settings.examples, settings.seed)
    everything = read(data, "train", sys.maxsize, settings.seed)
    usage = Usage.of([one.answered.reply for examples in everything.values() for one in examples])
    critic, pairs = Critic(vectors, usage, CriticHeads()), Pairs(corpora, vectors)
    rng = random.Random(settings.seed)
    fit(critic, [pair for _ in range(settings.draws) for pair in pairs.draw(rng)], settings)
    dev = Pairs(read(data, "dev", settings.report, 1), vectors)
    fit_fluency(critic, dev, rng)
    tensors = {name: value.detach().half().contiguous() for name, value in critic.heads.state_dict().items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors | {"usage": torch.from_numpy(usage.counts)}, out / "critic.safetensors")
    log: dict[str, Any] = {"settings": asdict(settings)}
    log["data"] = {name: weights.sha256(path) for name, path in vars(data).items() if path}
    log["examples"] = {name: len(examples) for name, examples in corpora.items()}
    log["dev"] = report(critic, dev, 1)
    log["test"] = report(critic, Pairs(read(data, "test", settings.report, 2), vectors), 2)
    if data.empathy:
        rows = [row for row in read_rows(data.empathy) if row["split"] == "dev"]
        log["people of EPITOME, dev"] = agreement(critic, rows)
    (out / "critic.log.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    return log
