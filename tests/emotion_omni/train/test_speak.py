"""The losses of stage 2."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_training import (
    TINY,
    dataset,
)

from emotion_omni.omni.model import Omni
from emotion_omni.train.speak import SpeakTask, sample_conditions


@pytest.fixture(scope="module")
def model() -> Omni:
    return Omni.build(TINY, seed=3)


def test_the_conditioning_emotion_is_sampled_per_utterance():
    places = tuple(range(400))
    from_plan, chunked = sample_conditions(places, 0, 0, 0.5, 0.5)
    assert 150 < from_plan.sum() < 250 and 150 < chunked.sum() < 250 and 60 < (from_plan & chunked).sum() < 140
    mixed = sample_conditions(places[100:108], 0, 0, 0.5, 0.5)
    assert torch.equal(mixed[0], from_plan[100:108]) and torch.equal(mixed[1], chunked[100:108]), "not by its batch"
    assert [int(sample_conditions(places, 0, 0, share, 0.5)[0].sum()) for share in (0.0, 1.0)] == [0, 400]
    assert not torch.equal(from_plan, sample_conditions(places, 0, 1, 0.5, 0.5)[0]), "anew in each epoch"
    early, late = (sample_conditions(places, 0, 0, share, 0.5)[0] for share in (0.2, 0.7))
    assert 40 < early.sum() < 120 and 240 < late.sum() < 320


def test_speech_is_conditioned_on_the_true_emotion_first_and_on_the_planned_one_in_the_end(sounds, model):
    made, task = dataset(sounds, speech=True, model=model), SpeakTask(model).eval()
    with torch.no_grad():
        for value in model.speech_decoder.adaptive_norm.parameters():
            value.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    batch = made.batch([0, 1, 2, 3])
    first, last = task(batch, 0, 0.0), task(batch, 0, 1.0)
    assert first["planned"].isnan().all() and last["true"].isnan().all()
    assert not torch.isclose(first["loss"], last["loss"]).any()
    louder = dataclasses.replace(batch, frames=batch.frames * 3)
    assert torch.equal(task(louder, 0, 1.0)["loss"], last["loss"]), "the plan needs no answer to be spoken"
    assert not torch.isclose(task(louder, 0, 0.0)["loss"], first["loss"]).any()
