"""Recordings with emotion labels, and how well predictions agree with them.

Axes: B clips, C emotions.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from emotion_omni import emotion


@dataclass(frozen=True)
class Clip:
    path: Path
    emotion: str
    source: str
    split: str

    @property
    def label(self) -> int:
        return emotion.NAMES.index(self.emotion)


def read_manifest(folder: Path) -> list[Clip]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return [Clip(folder / row["path"], emotion.find(row["emotion"]).name, row["source"], row["split"]) for row in rows]


def unweighted_average_recall(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([(predictions[labels == label] == label).mean() for label in np.unique(labels)]))


def interval(predictions: np.ndarray, labels: np.ndarray, resamples: int = 1000) -> list[float]:
    """95 % interval by bootstrap over clips. With few speakers the real uncertainty is wider."""
    rng, found = np.random.default_rng(0), []
    for _ in range(resamples):
        chosen = rng.integers(0, len(labels), len(labels))
        found.append(unweighted_average_recall(predictions[chosen], labels[chosen]))
    return [round(float(value), 3) for value in np.percentile(found, [2.5, 97.5])]


def report(probabilities: Tensor, clips: list[Clip]) -> dict[str, Any]:
    """Recall, interval, recall by corpus, confidence, accuracy and confusion of probabilities [B, C]."""
    predictions, labels = probabilities.argmax(1).numpy(), np.array([clip.label for clip in clips])
    sources = np.array([clip.source for clip in clips])
    found: dict[str, Any] = {
        "clips": len(clips),
        "uar": round(unweighted_average_recall(predictions, labels), 4),
        "interval_95": interval(predictions, labels),
    }
    found["uar_by_corpus"] = {
        str(source): round(unweighted_average_recall(predictions[sources == source], labels[sources == source]), 4)
        for source in np.unique(sources)
    }
    found["mean_confidence"] = round(probabilities.max(1).values.mean().item(), 4)
    found["accuracy"] = round(float((predictions == labels).mean()), 4)
    found["confusion"] = {
        emotion.NAMES[label]: {
            emotion.NAMES[prediction]: int(((labels == label) & (predictions == prediction)).sum())
            for prediction in range(len(emotion.NAMES))
        }
        for label in np.unique(labels)
    }
    return found
