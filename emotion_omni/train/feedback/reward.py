"""``reward``: ratings train the reranker, which chooses among candidate replies. Seconds on two cores.

A few hundred ratings cannot teach a network without breaking it: what is learned is a correction that is linear in
what the parent's network makes of a reply (its hidden units, the sentence vector of the reply, the counts). That is a
convex problem, held to the parent by |w|². The child has the parent's shape: the correction is added to its weights.

Pairs that raters compared: the Bradley-Terry loss with an offset, and with the probability that the label is reversed
(``flip_rate``), so that a pair on which raters are split teaches little:

    (1 - ε) softplus(γ m - Δ) + ε softplus(Δ),    Δ = s(chosen) - s(rejected), m the margin, γ ``offset``

Axes: N pairs, H hidden units, D width of a sentence vector, S counts.
Sources: Bradley & Terry 1952; conservative labels, Mitchell 2023, "cDPO"; offset, Amini et al. 2024, "ODPO".
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from emotion_omni.emotion import NAMES
from emotion_omni.response.reranker import COUNTS, HIDDEN, ReplyScorer, Reranker, Situation
from emotion_omni.response.sentence_encoder import WIDTH
from emotion_omni.train.feedback.learner import Learner
from emotion_omni.train.feedback.settings import FeedbackSettings
from emotion_omni.train.ratings import Row, content_of, history_of, split
from emotion_omni.train.reranker import Vectors

FILE = "reranker.safetensors"
News = Callable[[str, str], str]
FOLDS = 5
LEAST_Z = 1.64  # of the gain: by chance alone in one of twenty
SCALES_TRIED = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SCALES = {"hidden": 0.5, "reply": 0.3 * math.sqrt(WIDTH), "counts": 1.0}  # that make the features alike in size


class Correction(nn.Module):
    """What is added to the parent's score, from zero."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.zeros(HIDDEN))
        self.reply = nn.Parameter(torch.zeros(WIDTH))
        self.counts = nn.Parameter(torch.zeros(COUNTS))

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """[N, H], [N, D] and [N, S] by name → [N]."""
        return torch.stack([features[name] @ (SCALES[name] * one) for name, one in self.named_parameters()]).sum(0)

    def size(self) -> Tensor:
        return torch.stack([one.square().sum() for one in self.parameters()]).sum()

    @torch.no_grad()
    def added_to(self, parent: ReplyScorer) -> ReplyScorer:
        """A scorer whose score is the parent's plus this. Tones sum to 1, so the same vector is added to each."""
        child = copy.deepcopy(parent).eval()
        child.output.weight += SCALES["hidden"] * self.hidden
        child.counts.weight += SCALES["counts"] * self.counts
        child.direction.weight[:, : len(NAMES)] += (SCALES["reply"] * self.reply)[:, None]
        return child


class RewardLearner(Learner):
    """``news``: (words, tone) → what the words report, for rows that do not say it."""

    def __init__(self, rows: Sequence[Row], parent: Reranker, settings: FeedbackSettings, news: News) -> None:
        self.settings, self.steps, self.learning_rate = settings, settings.max_steps, settings.learning_rate
        self.parent, self.module = parent.scorer.eval(), Correction()
        vectors = Vectors(parent.encoder)
        self.all = Pairs.of(rows, self.parent, vectors, news)
        held = {id(row) for row in split(rows, settings.validation_ratio)[1]}
        is_held = torch.tensor([id(row) in held for row in rows])
        self.training, self.validation = self.all.some(~is_held), self.all.some(is_held)
        self.gained: dict[str, float] = {}

    def losses(self, step: int) -> dict[str, Tensor]:
        """Of all pairs: they are few numbers."""
        difference = self.training.difference(self.module)
        offset = self.settings.offset
        preference = self.training.loss(difference, offset).mean()
        loss = preference + held(self.module, len(self.training), self.settings)
        return {"loss": loss, "preference": preference.detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        return self.validation.judged(self.validation.difference(self.module))

    def is_better(self, first: dict[str, float], best: dict[str, float]) -> bool:
        """By cross-validation over all items, for one fifth of few items says little (:func:`gain`). The child then
        learns from all of them."""
        self.gained = gain(self.all, self.settings)
        if self.gained["z"] < LEAST_Z:
            return False
        self.module.load_state_dict(fit(self.all, self.settings).state_dict())
        return True

    @torch.no_grad()
    def reset(self) -> None:
        for one in self.module.parameters():
            one.zero_()

    def details(self) -> dict[str, Any]:
        found: dict[str, Any] = {"pairs": {"train": len(self.training), "validation": len(self.validation)}}
        return found | ({"cross_validation": self.gained} if self.gained else {})

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        child = self.module.added_to(self.parent)
        tensors = {name: value.detach().half().contiguous() for name, value in child.state_dict().items()}
        save_file(tensors, folder / FILE)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Better less worse answers: their features by name [N, …], the parent's scores [N]; margins, flip rates [N], and
    the item of each [N]."""

    features: dict[str, Tensor]
    parent: Tensor
    margin: Tensor
    flip: Tensor
    item: Tensor

    @classmethod
    def of(cls, rows: Sequence[Row], parent: ReplyScorer, vectors: Vectors, news: News) -> Pairs:
        situations = [situation_of(row, news) for row in rows]
        with torch.no_grad():
            sides = []
            for name in ("chosen", "rejected"):
                inputs = Reranker.inputs(situations, [content_of(row[name]) for row in rows], vectors)
                sides.append((features_of(parent, inputs), parent(*inputs)))
        (better, of_better), (worse, of_worse) = sides
        families = {name: place for place, name in enumerate(dict.fromkeys(str(row["family"]) for row in rows))}
        return cls(
            {name: better[name] - worse[name] for name in better},
            of_better - of_worse,
            torch.tensor([float(row["margin"]) for row in rows]),
            torch.tensor([float(row["flip_rate"]) for row in rows]),
            torch.tensor([families[str(row["family"])] for row in rows]),
        )

    def __len__(self) -> int:
        return len(self.margin)

    def some(self, chosen: Tensor) -> Pairs:
        features = {name: value[chosen] for name, value in self.features.items()}
        return Pairs(features, *(one[chosen] for one in (self.parent, self.margin, self.flip, self.item)))

    def difference(self, correction: Correction) -> Tensor:
        return self.parent + correction(self.features)

    def loss(self, difference: Tensor, offset: float = 0.0) -> Tensor:
        """[N]."""
        return preference_loss(difference, self.margin, self.flip, offset)

    def judged(self, difference: Tensor) -> dict[str, float]:
        """``agreement``: the share of pairs that are ordered as raters did."""
        agreement = (difference > 0).float().mean()
        return {"loss": self.loss(difference).mean().item(), "agreement": agreement.item()}


def gain(pairs: Pairs, settings: FeedbackSettings) -> dict[str, float]:
    """What a correction gains on items that it was not fitted to, over :data:`FOLDS` parts of the items.

    Parent and child are each brought to their best scale first: a parent that is merely too sure of itself is no worse.
    ``z``: the mean gain of an item in its standard errors; random ratings reach :data:`LEAST_Z` in one of twenty.
    """
    before, after = torch.zeros(len(pairs)), torch.zeros(len(pairs))
    for fold in range(FOLDS):
        held = pairs.item % FOLDS == fold
        if held.all() or not held.any():
            continue
        rest, part = pairs.some(~held), pairs.some(held)
        correction = fit(rest, settings)
        with torch.no_grad():
            for losses, of_rest, of_part in (
                (before, rest.parent, part.parent),
                (after, rest.difference(correction), part.difference(correction)),
            ):
                scale = min(SCALES_TRIED, key=lambda one: rest.loss(one * of_rest).mean().item())
                losses[held] = part.loss(scale * of_part)
    gains = torch.zeros(int(pairs.item.max()) + 1).index_add(0, pairs.item, before - after)
    error = gains.std().item() / math.sqrt(len(gains))
    return {"gain": gains.mean().item(), "z": gains.mean().item() / error if error > 0 else 0.0}


def held(correction: Correction, pairs: int, settings: FeedbackSettings) -> Tensor:
    """The same prior for any number of pairs: what many ratings say, outweighs it."""
    return settings.anchor * correction.size() / (2 * max(1, pairs))


def fit(pairs: Pairs, settings: FeedbackSettings) -> Correction:
    """The correction of the lowest loss, by L-BFGS."""
    correction = Correction()
    optimizer = torch.optim.LBFGS(correction.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = pairs.loss(pairs.difference(correction), settings.offset).mean()
        loss = loss + held(correction, len(pairs), settings)
        loss.backward()
        return loss

    optimizer.step(step)
    return correction


def features_of(scorer: ReplyScorer, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """What a correction is linear in, of inputs as :meth:`Reranker.inputs` gives them."""
    _, _, reply, _, counts = inputs
    return {"hidden": scorer.hidden(*inputs), "reply": reply, "counts": counts}


def preference_loss(difference: Tensor, margin: Tensor, flip: Tensor, offset: float) -> Tensor:
    """See the equation above. [N] each → [N]."""
    return (1 - flip) * F.softplus(offset * margin - difference) + flip * F.softplus(difference)


def situation_of(row: Row, news: News) -> Situation:
    """What an answer of a row answers. ``news``: where the row has none."""
    tones = tuple((row["emotion"] or "neutral").split(" or "))
    return Situation(row["transcript"], tones, row["event"] or news(row["transcript"], tones[0]), history_of(row))
