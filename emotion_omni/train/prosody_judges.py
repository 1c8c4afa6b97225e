"""Judges of a voice for the search of its prosody: linear classifiers on the hidden states of Whisper's encoder.

Several, each from another corpus or other layers, so that a manner has to please all of them and not the faults of one.
They judge a clip relative to its voice, as people do: features are standardized by speaker. Beside them stands the
shipped head, which knows nothing of the voice. The acoustic functionals of ``evaluate`` take no part.

Axes: N clips, F features, E emotions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from emotion_omni import emotion
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead
from emotion_omni.train.emotion_corpus import UNLICENSED
from emotion_omni.train.logistic_regression import maximize_likelihood
from emotion_omni.train.recognizer import Corpus, by_speaker

ENGLISH = "RAVDESS"  # the corpus whose speakers tell what a mixture of emotions adds to the neutral voice
JUDGES = (  # corpora, first and last hidden state
    ((ENGLISH,), 0, 3),
    ((ENGLISH,), 2, 5),
    ((ENGLISH,), 4, 7),
    (("EMO-DB",), 0, 7),
    (("nEMO",), 0, 7),
    ((ENGLISH, "EMO-DB", "nEMO"), 0, 7),
)
DECAY, ITERATIONS = 0.3, 40
FLOOR = 0.05  # of a feature's deviation within a speaker, in its deviation over all clips
TEMPERATURE = 2.0
WEIGHT_OF_HEAD = 0.3  # of the shipped head, beside 1 of all judges together


@dataclass(frozen=True, eq=False)
class Judge:
    """``columns``: of the features that it reads. ``classes``: the emotions that its corpora have."""

    columns: slice
    classes: Tensor
    weight: Tensor
    bias: Tensor

    def log_probabilities(self, standardized: Tensor) -> Tensor:
        """[N, F] → [N, classes]."""
        logits = standardized[:, self.columns] @ self.weight.T + self.bias
        return (logits[:, self.classes] / TEMPERATURE).log_softmax(-1)


@dataclass(frozen=True, eq=False)
class Judges:
    """``mixture`` [F]: the mean over a speaker's emotions less that of the neutral clips. ``deviation`` [F]: within a
    speaker."""

    judges: tuple[Judge, ...]
    mixture: Tensor
    deviation: Tensor
    head: SpeechEmotionHead

    def log_likelihoods(self, changes: Tensor, neutral: Tensor, share: float) -> Tensor:
        """How well all judges together hear each of the emotions, in the order of the table [E].

        ``changes`` [E, F]: features of one clip of each emotion, less those of the neutral voice ``neutral`` [F].
        ``share``: how far the mixture that they are judged against is their own, and not that of people.
        """
        center = share * changes.mean(0) + (1 - share) * self.mixture
        standardized = (changes - center) / self.deviation
        total = torch.zeros(len(emotion.NAMES))
        for judge in self.judges:
            found = judge.log_probabilities(standardized).clamp_min(-4)
            total[judge.classes] += found[judge.classes, torch.arange(len(judge.classes))] / len(self.judges)
        logits = self.head.classifier(self.head.standardize(changes + neutral)) / TEMPERATURE
        return total + WEIGHT_OF_HEAD * logits.log_softmax(-1).diagonal().clamp_min(-4)


def fit_judges(corpus: Corpus, head: SpeechEmotionHead) -> Judges:
    """From corpora whose terms allow published weights."""
    licensed = np.flatnonzero(~np.isin(corpus.sources, UNLICENSED))
    standardized, mixtures, deviations = np.zeros_like(corpus.means), [], []
    floor = FLOOR * corpus.means[licensed].std(0)
    for rows, mean, deviation in _speakers(corpus, licensed):
        standardized[rows] = (corpus.means[rows] - mean) / (deviation + floor)
        if corpus.sources[rows[0]] == ENGLISH:
            neutral = rows[corpus.labels[rows] == emotion.NAMES.index("neutral")]
            mixtures.append(mean - corpus.means[neutral].mean(0))
            deviations.append(deviation)
    judges = tuple(_fit(corpus, standardized, licensed, *judge) for judge in JUDGES)
    mixture, deviation = np.mean(mixtures, 0), np.mean(deviations, 0) + floor
    return Judges(judges, torch.from_numpy(mixture).float(), torch.from_numpy(deviation).float(), head)


def _speakers(corpus: Corpus, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """→ each speaker's rows, and mean and deviation of the features, in which the emotions weigh the same [F]."""
    for own in by_speaker(corpus, rows).values():
        groups = [corpus.means[own[corpus.labels[own] == label]] for label in np.unique(corpus.labels[own])]
        mean = np.mean([group.mean(0) for group in groups], 0)
        yield own, mean, np.sqrt(np.mean([((group - mean) ** 2).mean(0) for group in groups], 0))


def _fit(
    corpus: Corpus, standardized: np.ndarray, rows: np.ndarray, sources: tuple[str, ...], first: int, last: int
) -> Judge:
    rows = rows[np.isin(corpus.sources[rows], sources)]
    width = corpus.means.shape[1] // 7
    columns = slice(first * width, last * width)
    inputs = torch.from_numpy(standardized[rows, columns]).float()
    classifier = nn.Linear(inputs.shape[1], len(emotion.NAMES))
    labels = corpus.labels[rows]
    maximize_likelihood(classifier, inputs, labels, corpus.sources[rows], decay=DECAY, iterations=ITERATIONS)
    weight, bias = classifier.weight.detach(), classifier.bias.detach()
    return Judge(columns, torch.from_numpy(np.unique(labels)), weight, bias)
