"""Static buffers and compiled steps: the same answers, and nothing is kept of them."""

from __future__ import annotations

import gc
import weakref
from contextlib import closing

import pytest
import torch
from omni_answers import SEEDS, built, generator, prompts, query, told
from torch._dynamo.utils import counters
from transformers import DynamicCache

from emotion_omni.omni.model import Omni


@pytest.fixture(scope="module")
def model() -> Omni:
    return built()


@pytest.mark.parametrize(
    "manner", [{"static": True}, {"compiled": True, "backend": "aot_eager"}], ids=["static", "compiled"]
)
def test_static_shapes_and_compiled_steps_give_the_same_answers(manner):
    torch.compiler.reset()
    counters.clear()
    model = built()
    asked, answers = query(60, 43, 0), generator(model, **manner)
    expected = told(generator(model).generate(asked, prompts(model), SEEDS))
    for _ in range(2):  # the second time in used buffers
        assert told(answers.generate(asked, prompts(model), SEEDS)) == expected
    if "backend" in manner:
        assert counters["stats"]["unique_graphs"] == 2, "a step of text and one of speech, each compiled once"
        assert not counters["graph_break"]


def test_two_answers_at_once_do_not_share_a_buffer(model):
    answers = generator(model, static=True)
    alone = told(answers.generate(query(60), prompts(model, 1), [1], speak=False))
    words = [answers.prefill(query(60), prompts(model, 1), [1]), answers.prefill(query(43), prompts(model, 1), [2])]
    assert words[0].state.kv_cache is not words[1].state.kv_cache
    said = ["", ""]
    while not all(stream.done for stream in words):
        for index, stream in enumerate(words):
            said[index] += "" if stream.done else stream.step().text[0]
    assert said[0] == alone[0][1]


def test_closing_early_frees_the_cache(model):
    answers = generator(model)
    words = answers.prefill(query(60), prompts(model, 1), [1])
    assert isinstance(words.state.kv_cache, DynamicCache)
    watched = [weakref.ref(words.state.kv_cache.layers[0]), weakref.ref(words)]
    with closing(answers.stream(words, [1])) as pieces:
        next(pieces)
    del words, pieces
    gc.collect()
    assert [watch() for watch in watched] == [None, None]


def test_a_static_buffer_is_returned_empty(model):
    answers = generator(model, static=True)
    words = answers.prefill(query(60), prompts(model, 1), [1])
    cache = words.state.kv_cache
    with closing(answers.stream(words, [1])) as pieces:
        next(pieces)
        assert cache.layers[0].keys.abs().sum() > 0
    assert not any(layer.keys.any() or layer.values.any() for layer in cache.layers), "nobody's words lie about"
    assert answers.prefill(query(60), prompts(model, 1), [1]).state.kv_cache is cache
