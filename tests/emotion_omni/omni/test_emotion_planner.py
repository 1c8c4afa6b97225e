"""The planned emotion as the tokens come."""

from __future__ import annotations

import pytest
import torch
from omni_answers import LONG, TINY, built, generator, prompts, query

from emotion_omni.omni.emotion_planner import TextChunk
from emotion_omni.omni.model import Omni


@pytest.fixture(scope="module", params=["token", "utterance"])
def either(request) -> Omni:
    return built(request.param)


@pytest.fixture(scope="module")
def model() -> Omni:
    return built()


def test_one_emotion_for_the_utterance_waits_for_its_first_tokens():
    model = built("utterance")
    answers = generator(model)
    first, *others = answers.stream(
        answers.prefill(query(60), prompts(model, 1), [1], [model.prompt_builder.answer(LONG)])
    )
    assert len(first.ids[0]) == TINY.head.first_tokens and first.text[0] == LONG[: TINY.head.first_tokens]
    assert {len(piece.ids[0]) for piece in others} == {1} and all(
        torch.equal(piece.inputs.emotion, first.inputs.emotion) for piece in others
    )
    short = next(
        answers.stream(answers.prefill(query(60), prompts(model, 1), [1], [model.prompt_builder.answer("Hm.")]))
    )
    assert short.text == ("Hm.",), "an answer may end before them"


def test_a_chosen_emotion_takes_the_place_of_the_planned_one(either):
    chosen, answers = torch.full((1, 16), 0.5), generator(either)
    pieces = list(answers.stream(answers.prefill(query(60), prompts(either, 1), [1]), [1], chosen))
    assert all(torch.equal(piece.inputs.emotion, chosen[:, None]) for piece in pieces if isinstance(piece, TextChunk))
