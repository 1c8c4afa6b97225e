"""Figures of recognition, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_omni import emotion
from emotion_omni.evaluate import recognition_metrics as metrics
from emotion_omni.evaluate.recognition_metrics import Confidences, Predictions

NEUTRAL, HAPPY, SAD, CALM = (emotion.NAMES.index(name) for name in ("neutral", "happy", "sad", "calm"))


def certain(answers: list[int], confidence: float = 0.8) -> np.ndarray:
    """Probabilities [N, 1, C] with these answers; -1 is a refused clip."""
    rows = np.full((len(answers), 1, 8), (1 - confidence) / 7)
    for row, answer in zip(rows, answers, strict=True):
        row[0, answer] = confidence
        if answer == metrics.REFUSED:
            row[:] = np.nan
    return rows


def predictions(
    answers: list[int], labels: list[int], speakers: list[str] | None = None, **more: object
) -> Predictions:
    names = np.array(speakers or ["one"] * len(labels))
    return Predictions(certain(answers, **more), np.array(labels), names, np.array(["corpus"] * len(labels)))


def test_recall_is_the_mean_over_labels_and_a_refused_clip_is_wrong():
    found = predictions([HAPPY, HAPPY, SAD, -1, SAD], [HAPPY, HAPPY, HAPPY, HAPPY, SAD])
    assert metrics.unweighted_average_recall(found) == pytest.approx((2 / 4 + 1 / 1) / 2)


def test_recall_is_a_mean_over_draws():
    both = np.concatenate([certain([HAPPY, SAD]), certain([SAD, SAD])], axis=1)
    found = Predictions(both, np.array([HAPPY, SAD]), np.array(["a", "a"]), np.array(["c", "c"]))
    assert metrics.unweighted_average_recall(found) == pytest.approx((0.5 + 1) / 2)


def test_limited_answers_come_from_the_labels_that_occur():
    found = predictions([CALM, SAD], [HAPPY, SAD])
    found.probabilities[0, 0, HAPPY] = 0.1  # second to calm
    assert found.answers[:, 0].tolist() == [CALM, SAD] and found.limited().answers[:, 0].tolist() == [HAPPY, SAD]


def test_calm_and_neutral_are_one_emotion_when_merged():
    found = predictions([CALM, NEUTRAL, HAPPY], [NEUTRAL, CALM, HAPPY])
    assert metrics.unweighted_average_recall(found) == pytest.approx(1 / 3)
    assert metrics.unweighted_average_recall(found.merged()) == 1
    split = predictions([HAPPY], [CALM], confidence=0.4)
    split.probabilities[0, 0, [CALM, NEUTRAL]] = 0.25
    assert split.answers[0, 0] == HAPPY and split.merged().answers[0, 0] == NEUTRAL, "their probabilities add up"


def test_refused_clips_stay_refused():
    found = predictions([-1, HAPPY], [HAPPY, HAPPY])
    for one in (found, found.limited(), found.merged()):
        assert one.answers[:, 0].tolist() == [-1, HAPPY]
    assert metrics.confusion(found) == {
        "happy": {name: float(name == "happy") for name in emotion.NAMES} | {"refused": 1.0}
    }


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.55, 0.55, 0.55])
    right = np.array([True, False, True, True, True, False])
    found = Confidences(confidence, right)
    # bins 0.9-1: |0.95 - 0.5| of 2 clips; 0.5-0.6: |0.55 - 0.75| of 4
    assert found.calibration_error() == pytest.approx((2 * 0.45 + 4 * 0.2) / 6, abs=1e-4)
    assert found.reliability() == [
        {"answers": 4, "confidence": 0.55, "accuracy": 0.75},
        {"answers": 2, "confidence": 0.95, "accuracy": 0.5},
    ]
    assert found.sure_of_right(0.6) == pytest.approx(1 / 4), "of the four right ones"


def test_calibration_leaves_refused_clips_out_and_a_perfect_one_has_no_error():
    found = Confidences.of(predictions([-1, HAPPY, HAPPY], [HAPPY, HAPPY, HAPPY], confidence=1.0))
    assert len(found.confidence) == 2 and found.calibration_error() == 0
    nothing = Confidences.of(predictions([-1], [HAPPY]))
    assert nothing.calibration_error() is None and nothing.sure_of_right(0.5) is None


def test_the_interval_is_over_speakers():
    """Clips of one speaker go together: ten right and ten wrong speakers vary more than so many single clips."""
    speakers = [f"{index}" for index in range(20) for _ in range(10)]
    answers = [HAPPY if index % 2 else SAD for index in range(20) for _ in range(10)]
    low, high = metrics.speaker_interval(predictions(answers, [HAPPY] * 200, speakers)) or (0, 0)
    assert low == pytest.approx(0.5 - 1.96 * (0.25 / 20) ** 0.5, abs=0.04) and high == pytest.approx(1 - low, abs=0.04)


def test_one_speaker_has_no_interval():
    assert metrics.speaker_interval(predictions([HAPPY, SAD], [HAPPY, HAPPY])) is None
    assert metrics.recall_row(predictions([HAPPY, SAD], [HAPPY, HAPPY])) == {"value": 0.5}
