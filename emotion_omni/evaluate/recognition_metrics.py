"""How well recognized emotions agree with labels: recall, calibration, intervals over speakers.

Recall counts a clip that was refused as wrong. Pure numpy: knows no model and no file.

Axes: N clips, D draws (of the turns that went before), C emotions, S speakers, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion_omni import emotion
from emotion_omni.train.emotion_corpus import calibration_error

CLASSES = len(emotion.NAMES)
NEUTRAL, CALM = emotion.NAMES.index("neutral"), emotion.NAMES.index("calm")
REFUSED = -1  # in place of a predicted class
RESAMPLES = 1000
BINS = 10


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities [N, D, C], NaN for a clip that was refused; labels [N]; speaker and corpus of each clip [N]."""

    probabilities: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    corpora: np.ndarray

    def of(self, chosen: np.ndarray) -> Predictions:
        return Predictions(self.probabilities[chosen], self.labels[chosen], self.speakers[chosen], self.corpora[chosen])

    @property
    def classes(self) -> np.ndarray:
        """The labels that occur."""
        return np.unique(self.labels)

    def limited(self) -> Predictions:
        """Only emotions that occur can be answered."""
        allowed = np.isin(np.arange(CLASSES), self.classes)
        return self._with(np.where(allowed, self.probabilities, self.probabilities * 0))

    def merged(self) -> Predictions:
        """Calm counts as neutral."""
        probabilities = self.probabilities.copy()
        probabilities[..., NEUTRAL] += probabilities[..., CALM]
        probabilities[..., CALM] *= 0
        return self._with(probabilities, np.where(self.labels == CALM, NEUTRAL, self.labels))

    def _with(self, probabilities: np.ndarray, labels: np.ndarray | None = None) -> Predictions:
        return Predictions(probabilities, self.labels if labels is None else labels, self.speakers, self.corpora)

    @property
    def answers(self) -> np.ndarray:
        """The likeliest emotion [N, D], or REFUSED."""
        known = np.isfinite(self.probabilities).all(-1)
        return np.where(known, np.nan_to_num(self.probabilities, nan=-1.0).argmax(-1), REFUSED)

    @property
    def right(self) -> np.ndarray:
        """Share of the draws in which the answer is the label [N]."""
        return (self.answers == self.labels[:, None]).mean(1)


def unweighted_average_recall(predictions: Predictions) -> float:
    """Mean over the labels of the share that is answered rightly."""
    right, labels = predictions.right, predictions.labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def speaker_interval(predictions: Predictions, resamples: int = RESAMPLES) -> list[float] | None:
    """95 % interval of the recall by bootstrap over speakers, within each corpus. ``None``: every corpus has one."""
    names = np.array(
        [f"{corpus} {name}" for corpus, name in zip(predictions.corpora, predictions.speakers, strict=True)]
    )
    speakers, who = np.unique(names, return_inverse=True)
    classes, what = np.unique(predictions.labels, return_inverse=True)
    right, total = np.zeros((2, len(speakers), len(classes)))
    np.add.at(right, (who, what), predictions.right)
    np.add.at(total, (who, what), 1.0)
    homes = np.array([predictions.corpora[who == index][0] for index in range(len(speakers))])
    counts = _resampled_counts(homes, resamples)
    if counts is None:
        return None
    with np.errstate(invalid="ignore"):
        recall = (counts @ right) / (counts @ total)  # [R, C]; NaN where a resample lacks a class
    return [round(float(value), 4) for value in np.percentile(np.nanmean(recall, axis=1), [2.5, 97.5])]


def _resampled_counts(homes: np.ndarray, resamples: int) -> np.ndarray | None:
    """How often each speaker is drawn [R, S], as many for each corpus as it has."""
    rng, counts, several = np.random.default_rng(0), np.zeros((resamples, len(homes))), False
    for home in np.unique(homes):
        members = np.flatnonzero(homes == home)
        several |= len(members) > 1
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts if several else None


def recall_row(predictions: Predictions) -> dict[str, Any]:
    """``value`` and, where there are several speakers, ``low`` and ``high``."""
    row: dict[str, Any] = {"value": round(unweighted_average_recall(predictions), 4)}
    found = speaker_interval(predictions)
    if found:
        row |= {"low": found[0], "high": found[1]}
    return row


@dataclass(frozen=True, eq=False)
class Confidences:
    """The probability of each answer and whether it was right, over all answered clips and draws."""

    confidence: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, predictions: Predictions) -> Confidences:
        answers = predictions.answers
        known = answers != REFUSED
        confidence = np.nan_to_num(predictions.probabilities).max(-1)
        return cls(confidence[known], (answers == predictions.labels[:, None])[known])

    def sure_of_right(self, sure: float) -> float | None:
        """Share of the right answers whose probability is at least ``sure``."""
        return round(float((self.confidence[self.right] >= sure).mean()), 4) if self.right.any() else None

    def reliability(self, bins: int = BINS) -> list[dict[str, float]]:
        """Equal-width bins of confidence that hold answers: how many, mean confidence, accuracy (Guo et al. 2017)."""
        where = np.minimum((self.confidence * bins).astype(int), bins - 1)
        return [
            {
                "answers": int((where == index).sum()),
                "confidence": round(float(self.confidence[where == index].mean()), 4),
                "accuracy": round(float(self.right[where == index].mean()), 4),
            }
            for index in range(bins)
            if (where == index).any()
        ]

    def calibration_error(self, bins: int = BINS) -> float | None:
        """Expected calibration error: mean distance of accuracy from confidence, weighted by the answers in a bin."""
        if not len(self.confidence):
            return None
        return round(calibration_error(self.confidence, self.right, bins), 4)


def confusion(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Counts by label and answer (mean over draws); ``refused`` is the last answer."""
    answers, labels = predictions.answers, predictions.labels
    columns: Sequence[tuple[str, int]] = [*((name, index) for index, name in enumerate(emotion.NAMES)), ("refused", -1)]
    return {
        emotion.NAMES[label]: {
            name: round(float((answers[labels == label] == index).mean(1).sum()), 2) for name, index in columns
        }
        for label in predictions.classes
    }
