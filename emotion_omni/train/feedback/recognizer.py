"""``recognizer``: emotions that raters heard correct the speech emotion head.

The head is a linear classifier on standardized features, so two things ship that hold it to what it knows. Features
have variance 1 over the speech it was trained on: |ΔW|² is how much its logits change there on average, were features
uncorrelated. And ``emotion_rehearsal.safetensors`` holds the mean and the principal directions of that speech by
emotion and corpus, from which examples are drawn: on these the child must answer as its parent does.

Labels are soft, each rater weighted by reliability; a clip counts by the sum of these weights, emotions count alike.

Axes: N clips or examples, F features, C emotions, K directions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_omni import emotion
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead
from emotion_omni.train.emotion_corpus import Clip
from emotion_omni.train.emotion_rehearsal import Rehearsal
from emotion_omni.train.feedback.learner import Learner, generator_of
from emotion_omni.train.feedback.settings import FeedbackSettings
from emotion_omni.train.ratings import Ratings, Row, split
from emotion_omni.train.recognizer import EARLIER_TURNS, Extractor, estimate_of

FILE = "speech_emotion.safetensors"
REHEARSED = 256  # examples of the old speech in a step
EXAMPLES_EACH = 4  # of a clip, each with other earlier turns of its speaker


class RecognizerLearner(Learner):
    """``means`` [N, F]: of the hidden states of each row's clip."""

    def __init__(
        self, rows: Sequence[Row], means: Tensor, parent: SpeechEmotionHead, settings: FeedbackSettings
    ) -> None:
        self.settings, self.steps, self.learning_rate = settings, settings.max_steps, settings.learning_rate
        self.parent, self.head = parent, copy.deepcopy(parent)
        self.module = self.head.classifier
        order = {id(row): place for place, row in enumerate(rows)}
        training, validation = split(rows, settings.validation_ratio)
        places = [[order[id(row)] for row in part] for part in (training, validation)]
        self.training = _Examples(training, means[places[0]], parent, settings.seed)
        self.validation = _Examples(validation, means[places[1]], parent, settings.seed)
        self.old = Rehearsal.load()

    def losses(self, step: int) -> dict[str, Tensor]:
        corrected = self.training.loss(self.module, step)
        change = self.module.weight - self.parent.classifier.weight
        bias = self.module.bias - self.parent.classifier.bias
        moved = (change.square().sum() + bias.square().sum()) / len(bias)
        old = self.old.draw(REHEARSED, generator_of(self.settings, step))
        kept = _divergence(self.module(old), self.parent.classifier(old).detach())
        loss = corrected + self.settings.anchor * (kept + 0.1 * moved)
        return {"loss": loss, "corrected": corrected.detach(), "kept": kept.detach(), "moved": moved.detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        return self.validation.judged(self.module)

    def reset(self) -> None:
        self.module.load_state_dict(self.parent.classifier.state_dict())

    @torch.no_grad()
    def details(self) -> dict[str, Any]:
        old = self.old.draw(4 * REHEARSED, torch.Generator().manual_seed(1))
        same = self.module(old).argmax(1) == self.parent.classifier(old).argmax(1)
        return {
            "clips": {"train": self.training.clips, "validation": self.validation.clips},
            "child": self.evaluate(),
            "parent": self.validation.judged(self.parent.classifier),
            "rehearsal_same_answer": round(same.float().mean().item(), 3),
        }

    def save(self, folder: Path) -> None:
        self.head.save(folder / FILE)


class _Examples:
    """Clips as inputs of the classifier [N, F], some after earlier turns of the same speaker; targets [N, C]."""

    def __init__(self, rows: Sequence[Row], means: Tensor, head: SpeechEmotionHead, seed: int) -> None:
        self.clips = len(rows)
        rng = np.random.default_rng(seed)
        with torch.no_grad():
            features = head.standardize(means)
            guesses = head.classifier(features)
        speakers = np.array([row["speaker"] or f"unknown {place}" for place, row in enumerate(rows)])
        inputs, temperatures, places = [], [], []
        for place in range(len(rows)):
            same = np.flatnonzero((speakers == speakers[place]) & (np.arange(len(rows)) != place))
            for _ in range(EXAMPLES_EACH if len(same) else 1):
                count = min(int(rng.choice(EARLIER_TURNS)), len(same))
                chosen = rng.choice(same, count, replace=False) if count else same[:0]
                known = estimate_of(features[chosen].numpy(), guesses[chosen].numpy(), head.space)
                inputs.append(head.adapt(features[place], known))
                temperatures.append(head.temperature_after(count, features[place].square().mean().sqrt()))
                places.append(place)
        self.inputs = torch.stack(inputs).clone()
        self.temperatures = torch.stack(temperatures).clone()[:, None]
        self.targets = torch.tensor([rows[place]["reliable_label"] for place in places], dtype=torch.float32)
        self.labels = torch.tensor([emotion.NAMES.index(rows[place]["label"]) for place in places])
        weight = torch.tensor([min(float(rows[place]["label_weight"]), 10.0) for place in places])
        weight = weight / torch.tensor(np.bincount(places)[places], dtype=torch.float32)  # clips count, not examples
        totals = torch.zeros(len(emotion.NAMES)).index_add(0, self.labels, weight)
        self.weights = weight / totals[self.labels]
        self.weights = self.weights / self.weights.sum()

    def loss(self, classifier: torch.nn.Module, step: int) -> Tensor:
        logits = classifier(self.inputs) / self.temperatures
        return (F.cross_entropy(logits, self.targets, reduction="none") * self.weights).sum()

    def judged(self, classifier: torch.nn.Module) -> dict[str, float]:
        logits = classifier(self.inputs)
        right = logits.argmax(1) == self.labels
        recalls = [right[self.labels == label].float().mean().item() for label in self.labels.unique()]
        return {"loss": self.loss(classifier, 0).item(), "recall": float(np.mean(recalls))}


def _divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean KL divergence of answers from the wanted ones, in nats."""
    return F.kl_div(logits.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)


def means_of(ratings: Ratings, rows: Sequence[Row], cache: Path, told: Any) -> Tensor:
    """Means of the hidden states of each row's clip [N, F]; those computed before are kept in ``cache``."""
    extractor, found = Extractor(cache), []
    for number, row in enumerate(rows):
        found.append(extractor(Clip(ratings.sound(row["audio"]), row["label"] or "neutral", "", "train")))
        told(f"features of {number + 1} of {len(rows)} clips")
    return torch.from_numpy(np.stack(found).astype(np.float32))
