"""``sft``, ``dpo`` and ``kto`` on the responder's LoRA, from ratings of words.

The reference of dpo and kto is the parent's own adapter, not the bare model: a run starts from it, so the parent's
log-probabilities are computed once, before the first step, and no second model is held. Each row counts by its own
``margin`` and ``flip_rate``; TRL's trainers know one ``label_smoothing`` for all rows and no margin, and want a chat
template in place of our prompt, so these are a few plain lines.

Axes: B rows, T tokens.
Sources: Rafailov et al. 2023, "DPO"; Ethayarajh et al. 2024, "KTO"; offset, Amini et al. 2024, "ODPO"; conservative
labels, Mitchell 2023; a share of plain loss for the better answer, Pang et al. 2024.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.response import smollm2
from emotion_omni.response.smollm2_responder import SHIPPED, read_adapter
from emotion_omni.train import responder
from emotion_omni.train.feedback.learner import Learner, chosen_rows
from emotion_omni.train.feedback.reward import preference_loss, situation_of
from emotion_omni.train.feedback.settings import FeedbackSettings
from emotion_omni.train.part_settings import ResponderSettings
from emotion_omni.train.ratings import Row, content_of, split
from emotion_omni.train.responder import Example

FILE = "responder.safetensors"
JUDGED = 64  # rows of a validation at most
MOST_TOKENS = 512
News = Callable[[str, str], str]


class WriterLearner(Learner):
    """What the three have in common. ``model``: the base with the parent's adapter; ``scale``: of that adapter."""

    def __init__(
        self, rows: Sequence[Row], model: Any, tokenizer: Any, scale: float, settings: FeedbackSettings, news: News
    ) -> None:
        self.settings, self.steps, self.learning_rate = settings, settings.max_steps, settings.learning_rate
        self.module: nn.Module = model
        self.model, self.tokenizer, self.scale, self.news = model, tokenizer, scale, news
        self.model.eval()  # the adapter has no dropout
        trained = ((name, one) for name, one in model.named_parameters() if one.requires_grad)
        self.begun = {name: one.detach().clone() for name, one in trained}
        training, validation = split(rows, settings.validation_ratio)
        self.training, self.validation = self.prepare(training), self.prepare(validation[:JUDGED])

    @abstractmethod
    def prepare(self, rows: Sequence[Row]) -> Any:
        """Rows → what a step takes, with the parent's log-probabilities."""

    @abstractmethod
    def loss(self, data: Any, chosen: Sequence[int]) -> dict[str, Tensor]: ...

    def losses(self, step: int) -> dict[str, Tensor]:
        return self.loss(self.training, chosen_rows(len(self.training), self.settings, step))

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        count, size, sums = len(self.validation), self.settings.batch_size, dict[str, float]()
        for at in range(0, count, size):
            part = list(range(at, min(at + size, count)))
            for name, value in self.loss(self.validation, part).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(part) / count
        return sums

    @torch.no_grad()
    def reset(self) -> None:
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(self.begun[name])

    def save(self, folder: Path) -> None:
        save_file(responder.adapter_of(self.model), folder / FILE, metadata={"scale": str(self.scale)})

    def encoded(self, row: Row, reply: str) -> Example:
        situation = situation_of(row, self.news)
        history = [
            message
            for one in situation.history
            for message in ({"text": one.transcript, "emotion": one.heard}, {"text": one.reply})
        ]
        tone = " or ".join(situation.tones)
        told = {"text": situation.text, "emotion": tone, "event": situation.news, "history": history, "reply": reply}
        ids, labels = responder.encode(told, self.tokenizer)
        return ids[-MOST_TOKENS:], labels[-MOST_TOKENS:]

    def log_probabilities(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Of the replies: sums [B] and numbers of tokens [B]."""
        longest = max(len(ids) for ids, _ in examples)
        ids = torch.zeros(len(examples), longest, dtype=torch.long)
        labels = torch.full((len(examples), longest), responder.IGNORED)
        for row, (tokens, targets) in enumerate(examples):
            ids[row, : len(tokens)], labels[row, : len(tokens)] = torch.tensor(tokens), torch.tensor(targets)
        inner = self.model.get_base_model()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden_states = inner.model(ids).last_hidden_state[:, :-1]  # right padding: the causal mask is enough
            chosen = labels[:, 1:] != responder.IGNORED
            logits = inner.lm_head(hidden_states[chosen])
        each = -F.cross_entropy(logits.float(), labels[:, 1:][chosen], reduction="none")
        row_of = chosen.nonzero()[:, 0]
        return torch.zeros(len(examples)).index_add(0, row_of, each), chosen.sum(1)

    @torch.no_grad()
    def of_parent(self, examples: Sequence[Example]) -> Tensor:
        """Sums [N] by the model as it is before the first step."""
        size = self.settings.batch_size
        parts = [self.log_probabilities(examples[at : at + size])[0] for at in range(0, len(examples), size)]
        return torch.cat(parts).clone()


class _Pairs:
    def __init__(self, learner: WriterLearner, rows: Sequence[Row]) -> None:
        self.better = [learner.encoded(row, content_of(row["chosen"])) for row in rows]
        self.worse = [learner.encoded(row, content_of(row["rejected"])) for row in rows]
        self.margin = torch.tensor([float(row["margin"]) for row in rows])
        self.flip = torch.tensor([float(row["flip_rate"]) for row in rows])
        self.parent = learner.of_parent(self.better) - learner.of_parent(self.worse)

    def __len__(self) -> int:
        return len(self.better)


class DPOLearner(WriterLearner):
    """Direct preference optimization; ``agreement``: how often the child's odds moved towards the better answer."""

    def prepare(self, rows: Sequence[Row]) -> _Pairs:
        return _Pairs(self, rows)

    def loss(self, data: _Pairs, chosen: Sequence[int]) -> dict[str, Tensor]:
        index = list(chosen)
        sums, tokens = self.log_probabilities([data.better[i] for i in index] + [data.worse[i] for i in index])
        better, worse = sums.chunk(2)
        difference = self.settings.beta * (better - worse - data.parent[index])
        preference = preference_loss(difference, data.margin[index], data.flip[index], self.settings.offset).mean()
        words = -(better / tokens.chunk(2)[0]).mean()
        agreement = (difference.detach() > 0).float().mean()
        loss = preference + self.settings.words_weight * words
        return {"loss": loss, "preference": preference.detach(), "agreement": agreement}


class _Singles:
    def __init__(self, learner: WriterLearner, rows: Sequence[Row]) -> None:
        self.examples = [learner.encoded(row, content_of(row["completion"])) for row in rows]
        turned = [*rows[1:], *rows[:1]]  # answers to something else, for the estimate of the divergence
        self.others = [
            learner.encoded(row, content_of(other["completion"])) for row, other in zip(rows, turned, strict=True)
        ]
        self.parent, self.parent_of_others = learner.of_parent(self.examples), learner.of_parent(self.others)
        self.is_good = torch.tensor([bool(row["label"]) for row in rows])
        self.flip = torch.tensor([float(row["flip_rate"]) for row in rows])
        good = self.is_good.float().mean().clamp(0.05, 0.95)
        self.weight = torch.where(self.is_good, 0.5 / good, 0.5 / (1 - good))

    def __len__(self) -> int:
        return len(self.examples)


class KTOLearner(WriterLearner):
    """Kahneman-Tversky optimization; good and bad answers weigh the same in sum."""

    def prepare(self, rows: Sequence[Row]) -> _Singles:
        return _Singles(self, rows)

    def loss(self, data: _Singles, chosen: Sequence[int]) -> dict[str, Tensor]:
        index = list(chosen)
        with torch.no_grad():
            others = self.log_probabilities([data.others[i] for i in index])[0] - data.parent_of_others[index]
            divergence = others.mean().clamp_min(0)
        gain = self.log_probabilities([data.examples[i] for i in index])[0] - data.parent[index]
        good = torch.sigmoid(-self.settings.beta * (gain - divergence))
        bad = torch.sigmoid(-self.settings.beta * (divergence - gain))
        labelled, reversed_ = (torch.where(data.is_good[index], *both) for both in ((good, bad), (bad, good)))
        flip = data.flip[index]
        loss = (((1 - flip) * labelled + flip * reversed_) * data.weight[index]).mean()
        agreement = ((gain.detach() > divergence) == data.is_good[index]).float().mean()
        return {"loss": loss, "agreement": agreement, "divergence": divergence}


class SFTLearner(WriterLearner):
    """Plain loss of answers that raters wrote or approved, and of as many rows of the shipped corpus, rehearsed."""

    corpus = Path(responder.__file__).with_name("replies.jsonl.gz")

    def prepare(self, rows: Sequence[Row]) -> list[Example]:
        return [self.encoded(row, row["reply"]) for row in rows]

    def loss(self, data: list[Example], chosen: Sequence[int]) -> dict[str, Tensor]:
        return {"loss": self._mean([data[index] for index in chosen])}

    def losses(self, step: int) -> dict[str, Tensor]:
        found = super().losses(step)
        if self.settings.anchor <= 0:
            return found
        if not hasattr(self, "_old"):
            self._old = responder.read_rows(self.corpus)
        rng = random.Random(self.settings.seed * 1_000_003 + step)
        old = [responder.encode(row, self.tokenizer) for row in rng.sample(self._old, self.settings.batch_size)]
        rehearsed = self._mean(old)
        loss = found["loss"] + self.settings.anchor * rehearsed
        return {"loss": loss, "words": found["loss"].detach(), "rehearsed": rehearsed.detach()}

    def _mean(self, examples: Sequence[Example]) -> Tensor:
        sums, tokens = self.log_probabilities(examples)
        return -(sums / tokens).mean()


LEARNERS: dict[str, type[WriterLearner]] = {"dpo": DPOLearner, "kto": KTOLearner, "sft": SFTLearner}


def load(parent: str) -> tuple[Any, Any, float]:
    """SmolLM2 with an adapter (empty: the shipped one) to train on → the model, its tokenizer, the adapter's scale."""
    path = Path(parent or SHIPPED)
    tensors, scale = read_adapter(path)
    rank = next(value.shape[0] for name, value in tensors.items() if name.endswith(".lora_A"))
    checkpoint = smollm2.read_gguf(weights.fetch("smollm2/smollm2-135m-instruct-q4_1.gguf"))
    model = responder.build(checkpoint, ResponderSettings(rank=rank, alpha=round(scale * rank)))
    with weights.part_explained(path, "responder"):
        responder.load_adapter(model, path)
    return model, checkpoint.tokenizer, scale
