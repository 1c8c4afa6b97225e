"""Recordings with emotion labels, and how well predictions agree with them.

Axes: B clips, C emotions.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

UNLICENSED = ("ASED", "EMOVO", "EmoV-DB", "TurEV-DB")  # no terms, no product use, or no derivatives: only measured with


@dataclass(frozen=True)
class Clip:
    path: Path
    emotion: str
    source: str
    split: str
    speaker: str = ""

    @property
    def label(self) -> int:
        return emotion.NAMES.index(self.emotion)


def read_manifest(folder: Path) -> list[Clip]:
    """Raises :class:`EmotionOmniError` (codes ``missing``, ``bad-line``, ``unknown-emotion``)."""
    path = folder / "manifest.csv"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [_clip(folder, row) for row in csv.DictReader(file)]
    except OSError as error:
        raise EmotionOmniError(
            f"{str(path)!r} cannot be read: {error.strerror}. Name a folder with recordings and a manifest.csv.",
            "missing",
        ) from error
    except KeyError as error:
        raise EmotionOmniError(f"{str(path)!r} lacks the column {error}.", "bad-line") from error


def _clip(folder: Path, row: dict[str, str]) -> Clip:
    label = emotion.find(row["emotion"]).name
    return Clip(folder / row["path"], label, row["source"], row["split"], row.get("speaker", ""))


def read_manifests(folders: Iterable[Path]) -> list[Clip]:
    """The clips of several folders."""
    return [clip for folder in folders for clip in read_manifest(folder)]


def unweighted_average_recall(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([(predictions[labels == label] == label).mean() for label in np.unique(labels)]))


def recall_within(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Unweighted average recall where only the emotions of ``labels`` may be answered: a corpus has its own."""
    present = np.unique(labels)
    return unweighted_average_recall(present[probabilities[:, present].argmax(1)], labels)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of answers [N]: mean distance of accuracy and confidence (Guo et al. 2017)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, confidence - right, bins)  # sums of (confidence - right) in each bin
    return float(np.abs(gaps).sum() / len(confidence))


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
        str(source): round(recall_within(probabilities.numpy()[sources == source], labels[sources == source]), 4)
        for source in np.unique(sources)
    }
    found["calibration_error"] = round(calibration_error(probabilities.max(1).values.numpy(), predictions == labels), 4)
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
