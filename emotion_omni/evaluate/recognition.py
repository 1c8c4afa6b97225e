"""Evaluate a recognizer of emotion on labelled recordings: one report for machines, one page for people.

``python -m emotion_omni evaluate --only recognition --data FOLDER:FOLDER --out FOLDER``

Every clip is a turn. What goes before it is varied: nothing, K turns of the same person, all of them, turns in one
mood, turns of another person (recognition_turns.py). Features are kept on disk, so a run that was stopped resumes, and
a second run of the same recognizer is quick. What cannot be measured is named with its reason under ``not_run``.

Axes: N clips, D draws, C emotions.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emotion_omni import emotion, processors
from emotion_omni.evaluate import recognition_metrics as metrics
from emotion_omni.evaluate import recognition_turns as turns
from emotion_omni.evaluate.clip_features import ClipFeatures, Extracted
from emotion_omni.evaluate.evaluated_recognizers import EvaluatedRecognizer
from emotion_omni.evaluate.recognition_metrics import Confidences, Predictions
from emotion_omni.train.emotion_corpus import Clip, read_manifests
from emotion_omni.types import SURE, EmotionOmniError

DRAWS = 3
FIRST, KNOWN = "k0", "k5"  # the conditions of calibration: a stranger, and somebody heard five times
OTHERS = 10  # clips of another person, where a corpus has one person in the split
PACKAGES = ("numpy", "torch", "ctranslate2", "onnxruntime", "soundfile", "soxr")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """``data``: folders with a manifest.csv. ``limit``: clips of each corpus, 0 for all of them."""

    data: tuple[Path, ...]
    split: str = "test"
    limit: int = 0
    draws: int = DRAWS


def check(options: Options) -> None:
    """Raises :class:`EmotionOmniError` (code ``no-data`` and those of the manifests) if there is nothing to measure."""
    choose_clips(read_manifests(options.data), options)


@dataclass(frozen=True, eq=False)
class Measured:
    """The report, and what it was made from: predictions of the clips by condition."""

    report: dict[str, Any]
    clips: list[Clip]
    predictions: dict[str, Predictions]


def measure(recognizer: EvaluatedRecognizer, options: Options, cache: Path, say: Say) -> dict[str, Any]:
    """The report. Raises :class:`EmotionOmniError` (code ``no-data`` and those of the manifests)."""
    return measure_all(recognizer, options, cache, say).report


def measure_all(recognizer: EvaluatedRecognizer, options: Options, cache: Path, say: Say) -> Measured:
    """Raises as :func:`measure`."""
    chosen, strangers = choose_clips(read_manifests(options.data), options)
    clips = [*chosen, *(strangers if not recognizer.why_no_speaker else [])]
    found = extract_all(recognizer, clips, cache, say)
    predictions = judge(recognizer, clips, found, len(chosen), options.draws, say)
    report = _about(recognizer, options, chosen) | _figures(options, chosen, found, predictions)
    report["not_run"] = {}
    _add_or_explain(report, "tone_milliseconds", recognizer.tone_milliseconds(), "the tone shares no pass with words")
    left_out = _leave_one_out(recognizer.training_log)
    _add_or_explain(report, "leave_one_corpus_out", left_out, "the training log holds no such figures")
    if recognizer.why_no_speaker:
        report["not_run"]["earlier turns"] = recognizer.why_no_speaker
    return Measured(report, chosen, predictions)


def _add_or_explain(report: dict[str, Any], name: str, value: Any, why: str) -> None:
    if value is None:
        report["not_run"][name] = why
    else:
        report[name] = value


# --- which clips --------------------------------------------------------------------------------------------------


def choose_clips(clips: Sequence[Clip], options: Options) -> tuple[list[Clip], list[Clip]]:
    """→ the clips of the split, and some of another person for each corpus that has one person there."""
    within = [clip for clip in clips if options.split in ("all", clip.split)]
    if not within:
        raise EmotionOmniError(
            f"No clip in {', '.join(map(str, options.data))} has split {options.split!r}.", "no-data"
        )
    chosen, strangers = [], []
    for corpus, own in _by(within, lambda clip: clip.source).items():
        kept = spread(own, options.limit) if options.limit else own
        chosen += kept
        people = {clip.speaker for clip in kept}
        others = [clip for clip in clips if clip.source == corpus and clip.speaker not in people]
        if len(people) == 1 and others:
            strangers += spread([clip for clip in others if clip.speaker == others[0].speaker], OTHERS)
    return chosen, strangers


def spread(clips: Sequence[Clip], limit: int) -> list[Clip]:
    """At most so many clips, in turn from each emotion of as few speakers as give everyone at least 25."""
    people = sorted({clip.speaker for clip in clips}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    kept = set(people[: max(2, limit // 25)])
    groups = _by([clip for clip in clips if clip.speaker in kept], lambda clip: f"{clip.speaker} {clip.emotion}")
    for group in groups.values():
        group.sort(key=lambda clip: hashlib.sha256(clip.path.name.encode()).hexdigest())
    longest = max(map(len, groups.values()))
    order = [group[at] for at in range(longest) for group in groups.values() if at < len(group)]
    return order[:limit]


def _by(clips: Sequence[Clip], key: Callable[[Clip], str]) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        found[key(clip)].append(clip)
    return dict(found)


# --- features and predictions -------------------------------------------------------------------------------------


def extract_all(recognizer: EvaluatedRecognizer, clips: Sequence[Clip], cache: Path, say: Say) -> list[Extracted]:
    files, found = ClipFeatures(cache, recognizer.features_identity), []
    for index, clip in enumerate(clips):
        found.append(files.get(clip.path, recognizer.extract))
        if (index + 1) % 100 == 0 or index + 1 == len(clips):
            say(f"{recognizer.name}: features of {index + 1} of {len(clips)} clips")
    return found


def judge(
    recognizer: EvaluatedRecognizer,
    clips: Sequence[Clip],
    extracted: Sequence[Extracted],
    targets: int,
    draws: int,
    say: Say,
) -> dict[str, Predictions]:
    """Predictions of the first ``targets`` clips by condition. A condition without a clip is left out."""
    heard = [index for index, one in enumerate(extracted) if one.features is not None]
    features = [extracted[index].features for index in heard]

    def classify(clip: int, speaker: Any) -> Any:
        found = features[clip]
        assert found is not None
        return recognizer.classify(found, speaker)

    voices = turns.Voices(
        [f"{clips[index].source} {clips[index].speaker}" for index in heard],
        [clips[index].source for index in heard],
        [clips[index].emotion for index in heard],
        classify,
    )
    judged = [place for place, index in enumerate(heard) if index < targets]
    probabilities: dict[str, np.ndarray] = {}
    if recognizer.why_no_speaker:
        rows = ((place, 0, {FIRST: voices.probabilities(place, None)}) for place in judged)
    else:
        rows = turns.judge_all(voices, judged, draws)  # type: ignore[assignment]
    for count, (place, draw, found) in enumerate(rows):
        for name, row in found.items():
            if name not in probabilities:
                shape = (targets, 1 if name in (FIRST, turns.ALL.name) else draws, len(emotion.NAMES))
                probabilities[name] = np.full(shape, np.nan)
            if draw < probabilities[name].shape[1]:
                probabilities[name][heard[place], draw] = row
        if (count + 1) % 1000 == 0:
            say(f"{recognizer.name}: judged {count + 1} of {len(judged) * draws}")
    labels = np.array([clip.label for clip in clips[:targets]])
    people = np.array([clip.speaker for clip in clips[:targets]])
    corpora = np.array([clip.source for clip in clips[:targets]])
    return {name: Predictions(values, labels, people, corpora) for name, values in probabilities.items()}


# --- the report ---------------------------------------------------------------------------------------------------


def _about(recognizer: EvaluatedRecognizer, options: Options, clips: Sequence[Clip]) -> dict[str, Any]:
    manifests = [folder / "manifest.csv" for folder in options.data]
    return {
        "evaluation": "recognition",
        "recognizer": recognizer.name,
        "identity": hashlib.sha256(recognizer.identity.encode()).hexdigest()[:16],
        "split": options.split,
        "limit": options.limit,
        "draws": options.draws,
        "data": {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in manifests},
        "clips": len(clips),
        "speakers": len({(clip.source, clip.speaker) for clip in clips}),
        "machine": processors.describe(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _figures(
    options: Options, clips: Sequence[Clip], extracted: Sequence[Extracted], predictions: dict[str, Predictions]
) -> dict[str, Any]:
    corpora = np.array([clip.source for clip in clips])
    names = sorted(set(corpora.tolist()))
    everything = np.arange(len(clips))
    by_corpus = {name: np.flatnonzero(corpora == name) for name in names}
    report = {
        "conditions": {one.name: one.text for one in turns.CONDITIONS if one.name in predictions},
        "pooled": _group(everything, extracted, predictions, limited=False),
        "corpora": {name: _group(chosen, extracted, predictions) for name, chosen in by_corpus.items()},
    }
    if len(folders := by_folder(options, clips)) > 1:
        found = {name: _group(chosen, extracted, predictions, limited=False) for name, chosen in folders.items()}
        report["folders"] = found
    report["mean_over_corpora"] = {
        name: round(float(np.mean([row["uar"][name]["value"] for row in report["corpora"].values()])), 4)
        for name in predictions
        if all(name in row["uar"] for row in report["corpora"].values())
    }
    return report


def by_folder(options: Options, clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    """The places of the clips of each folder of the data, by its name, if there are any."""
    found = {}
    for folder in options.data:
        places = [index for index, clip in enumerate(clips) if clip.path.is_relative_to(folder)]
        if places:
            found[folder.name] = np.array(places)
    return found


def _group(
    chosen: np.ndarray, extracted: Sequence[Extracted], predictions: dict[str, Predictions], limited: bool = True
) -> dict[str, Any]:
    """All figures of some clips. ``limited``: answers only among the emotions that occur there."""
    of = {name: found.of(chosen) for name, found in predictions.items()}
    first = of[FIRST]
    clips = [extracted[index] for index in chosen]
    refused = Counter(clip.refused for clip in clips if clip.features is None)
    words = [clip.words for clip in clips if clip.words is not None]
    limit = Predictions.limited if limited else lambda found: found
    row: dict[str, Any] = {
        "clips": len(chosen),
        "speakers": len(set(zip(first.corpora.tolist(), first.speakers.tolist(), strict=True))),
        "classes": [emotion.NAMES[label] for label in first.classes],
        "uar": _recalls({name: limit(found) for name, found in of.items()}),
        "refused": {"share": round(refused.total() / len(chosen), 4), "reasons": dict(refused.most_common())},
        "empty_words": round(sum(count == 0 for count in words) / len(words), 4) if words else None,
        "calibration": {name: _calibration(of[name]) for name in (FIRST, KNOWN) if name in of},
        "confusion": {name: metrics.confusion(of[name]) for name in (FIRST, KNOWN) if name in of},
        "uar_calm_as_neutral": _recalls({name: limit(found.merged()) for name, found in of.items()}),
    }
    if limited:
        row["uar_eight_classes"] = _recalls(of)
    row["not_run"] = {name: "no person has enough clips for it" for name in of if name not in row["uar"]}
    return row


def _recalls(of: dict[str, Predictions]) -> dict[str, Any]:
    """By condition. One that suits some of the clips only is reported on those, beside K = 0 on the same (``k0``)."""
    found, first = {}, of[FIRST]
    heard = (first.answers != metrics.REFUSED).all(1)
    for name, one in of.items():
        judged = (one.answers != metrics.REFUSED).all(1)
        if (judged == heard).all():
            found[name] = metrics.recall_row(one)
        elif judged.any():
            known = metrics.unweighted_average_recall(first.of(judged))
            found[name] = metrics.recall_row(one.of(judged)) | {"clips": int(judged.sum()), "k0": round(known, 4)}
    return found


def _calibration(predictions: Predictions) -> dict[str, Any]:
    found = Confidences.of(predictions)
    return {
        "ece": found.calibration_error(),
        "mean_confidence": round(float(found.confidence.mean()), 4) if len(found.confidence) else None,
        "accuracy": round(float(found.right.mean()), 4) if len(found.right) else None,
        "right_that_are_sure": found.sure_of_right(SURE),
        "reliability": found.reliability(),
    }


def _leave_one_out(log: Path | None) -> Any:
    """The figures of training, if it left corpora out."""
    if log is None or not log.is_file():
        return None
    return json.loads(log.read_text(encoding="utf-8")).get("leave_one_corpus_out")
