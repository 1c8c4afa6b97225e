"""Is the emotion of recordings recognized, of strangers and of known voices, and is its confidence true?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emotion_omni import weights
from emotion_omni.evaluate import evaluated_recognizers, recognition
from emotion_omni.evaluate.evaluated_recognizers import AnyRecognizer, EvaluatedRecognizer
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Run
from emotion_omni.evaluate.recognition_metrics import Predictions
from emotion_omni.types import Heard, Turn

SHOWN = ("k0", "k5", "all")  # conditions that become figures; all are in the details
NO_RECORDINGS = (
    "it needs labelled recordings: name folders with a manifest.csv by --data or EMOTION_OMNI_SPEECH. RAVDESS, "
    "EMO-DB and "
    "nEMO are free to download"
)


def measure(run: Run) -> Outcome:
    if not run.sources.recordings:
        raise NotRun(NO_RECORDINGS)
    options = recognition.Options(run.sources.recordings, run.sources.split, run.size)
    found = recognition.measure_all(recognizer_of(run), options, weights.cache() / "features" / "clips", run.say)
    outcome = Outcome(details=found.report, not_run=dict(found.report["not_run"]))
    for condition in SHOWN:
        if condition in found.predictions:
            outcome.samples += samples(condition, found.predictions[condition], found.clips)
    outcome.samples += confidence(found.predictions["k0"], found.clips)
    return outcome


def recognizer_of(run: Run) -> EvaluatedRecognizer:
    subject = run.subject
    if subject.config is not None:
        return evaluated_recognizers.of_part(subject.name, subject.recognizer, subject.config)
    return AnyRecognizer(subject.name, _Whole(run), subject.identities["recognizer"], weights.cache() / "none")


class _Whole:
    """An engine that cannot be taken apart, as a recognizer."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def recognize(self, turn: Turn) -> Heard:
        assert turn.audio is not None
        return self._run.subject.hear(turn.audio, turn.speaker)


def samples(condition: str, predictions: Predictions, clips: list[Any]) -> Iterator[Sample]:
    """Pooled with eight answers; of each corpus among its own emotions."""
    judged = np.isfinite(predictions.probabilities).all((1, 2)) if condition == "all" else np.ones(len(clips), bool)
    for place in np.flatnonzero(judged):
        yield _sample(f"uar_{condition}", clips[place], predictions.right[place])
    for corpus in sorted(set(predictions.corpora.tolist())):
        places = np.flatnonzero((predictions.corpora == corpus) & judged)
        if len(places):
            right = predictions.of(places).limited().right
            for place, value in zip(places, right, strict=True):
                yield _sample(f"uar_{condition}: {corpus}", clips[place], value)


def _sample(figure: str, clip: Any, value: float) -> Sample:
    name = f"{clip.source}/{clip.speaker}/{clip.path.name}"
    return Sample(figure, name, round(float(value), 5), clip.speaker, group=clip.emotion, stratum=clip.source)


def confidence(predictions: Predictions, clips: list[Any]) -> Iterator[Sample]:
    """The Brier score of each answered clip: the squared distance of the probabilities from the truth."""
    truth = np.eye(predictions.probabilities.shape[-1])[predictions.labels]
    scores = ((predictions.probabilities - truth[:, None]) ** 2).sum(-1).mean(1)
    for place in np.flatnonzero(np.isfinite(scores)):
        clip = clips[place]
        name = f"{clip.source}/{clip.speaker}/{clip.path.name}"
        yield Sample("brier", name, round(float(scores[place]), 5), clip.speaker, stratum=clip.source)


MEASURE = Measure(
    name="recognition",
    title="Emotion in recordings",
    section="Hearing",
    text="Unweighted average recall (UAR): the mean over emotions of the share that is recognized; a refused clip is "
    "wrong. "
    "All clips together with eight answers, each corpus among its own emotions; intervals over speakers. Acted speech.",
    figures=(
        Figure("uar_k0", "UAR, a stranger's first turn", guarded=True, margin=0.01),
        Figure("uar_k5", "UAR after five turns", guarded=True, margin=0.01),
        Figure("uar_all", "UAR, the voice well known"),
        Figure(
            "brier", "distance of probabilities from the truth (Brier, 0 to 2)", "lower", "", guarded=True, margin=0.02
        ),
    ),
    parts=("recognizer",),
    run=measure,
    sizes={"quick": 24, "full": 0},
    sources=("recordings", "split"),
)
