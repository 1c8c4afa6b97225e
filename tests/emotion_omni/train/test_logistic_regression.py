"""Logistic regression on corpora that do not have the same emotions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_omni.emotion import NAMES
from emotion_omni.train.logistic_regression import absent_emotions, example_weights, maximize_likelihood

HAPPY, SAD = NAMES.index("happy"), NAMES.index("sad")


def test_sources_weigh_the_same_within_an_emotion_and_rare_emotions_more():
    labels, sources = np.array([SAD, SAD, SAD, SAD, HAPPY]), np.array(["a", "a", "a", "b", "b"])
    weights = example_weights(labels, sources)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[:3].sum() == pytest.approx(weights[3]) and weights[4] == pytest.approx(weights[:4].sum())


def test_an_emotion_that_a_source_does_not_have_is_absent_from_its_examples_alone():
    absent = absent_emotions(np.array([SAD, HAPPY, SAD]), np.array(["b", "b", "a"]))
    assert [np.flatnonzero(~row).tolist() for row in absent] == [[HAPPY, SAD], [HAPPY, SAD], [SAD]]


def log_odds(handicap: float) -> float:
    """Source a has happy and sad, source b sad alone, in its own place → log odds of happy over sad there."""
    inputs = torch.tensor([[1.0, 0.0]] * 20 + [[-1.0, 0.0]] * 20 + [[1.0, 1.0]] * 20)
    labels, sources = np.array([HAPPY] * 20 + [SAD] * 40), np.array(["a"] * 40 + ["b"] * 20)
    classifier = torch.nn.Linear(2, len(NAMES))
    maximize_likelihood(classifier, inputs, labels, sources, decay=0.01, iterations=50, handicap=handicap)
    assert classifier(inputs[0]).argmax() == HAPPY and classifier(inputs[20]).argmax() == SAD
    logits = classifier(inputs[-1])
    return (logits[HAPPY] - logits[SAD]).item()


def test_what_a_source_does_not_have_is_not_learned_to_be_absent_in_its_place():
    assert log_odds(handicap=1e4) > 1
    assert log_odds(handicap=0) < 0
