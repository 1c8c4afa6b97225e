"""How text tokens are sampled, and what is never sampled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from omni_answers import LONG, SEEDS, built, generator, likes, prompts, query
from tiny_omni import BRIEF

from emotion_omni.omni.config import TextSampling
from emotion_omni.omni.generation import ReplyGenerator
from emotion_omni.omni.model import Omni
from emotion_omni.sampling import sample
from emotion_omni.types import EmotionOmniError


@pytest.fixture(scope="module")
def model() -> Omni:
    return built()


def test_tokens_are_sampled_by_their_probability_within_the_nucleus():
    shares = torch.tensor([0.1, 0.5, 0.1, 0.3])
    uniform = (torch.arange(1000) + 0.5) / 1000
    logits = shares.log().expand(1000, 4)
    counts = sample(logits, uniform, TextSampling(temperature=1.0, top_k=4, top_p=1.0)).bincount(minlength=4)
    torch.testing.assert_close(counts / 1000, shares, atol=2e-3, rtol=0)
    nucleus = sample(logits, uniform, TextSampling(temperature=1.0, top_k=4, top_p=0.6)).bincount(minlength=4)
    torch.testing.assert_close(nucleus / 1000, torch.tensor([0, 0.625, 0, 0.375]), atol=2e-3, rtol=0)
    assert sample(logits[:1], torch.tensor([1 - 2**-24]), TextSampling(temperature=1.0, top_k=2, top_p=1.0)).item() == 3
    with pytest.raises(EmotionOmniError, match="top_p"):
        TextSampling(top_p=1.5)


def test_a_model_in_training_does_not_answer(model):
    model.train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            generator(model).prefill(query(60), prompts(model, 1), [1])
    finally:
        model.eval()


def test_given_words_are_said_to_their_end(model):
    given = [model.prompt_builder.answer(words) for words in (LONG, "Oh no!")]
    assert len(given[0]) > BRIEF.max_new_tokens
    replies = generator(model).generate(query(60, 43), prompts(model, 2), SEEDS[:2], given=given)
    assert [reply.text for reply in replies] == [LONG, "Oh no!"] and all(reply.speech for reply in replies)
    assert [reply.ids for reply in replies] == [ids[:-1] for ids in given], "the end is not spoken"
    assert [len(reply.emotions) for reply in replies] == [len(ids) - 1 for ids in given]


def test_an_answer_says_something_before_it_ends():
    model = built()
    blank, letter = model.prompt_builder.encode(" x")
    likes(model, {model.prompt_builder.eos_token_id: 20.0, blank: 5.0, letter: 4.0}, blind=True)
    said = [generator(model).generate(query(60), prompts(model, 1), [seed], speak=False)[0].text for seed in range(4)]
    assert {words.strip() for words in said} == {"x"} and {words[-1] for words in said} == {"x"}, "and then it ends"
    assert any(words.startswith(" ") for words in said), "a blank is nothing"


def test_control_tokens_are_never_sampled():
    model = built()
    begin = model.prompt_builder.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert begin != model.prompt_builder.eos_token_id
    likes(model, {begin: 50.0, -1: 50.0}, blind=True, more=4)
    (reply,) = generator(model).generate(query(60), prompts(model, 1), [1], speak=False)
    assert reply.ids and begin not in reply.ids and max(reply.ids) < len(model.prompt_builder.tokenizer)


def test_temperature_zero_writes_what_is_likeliest_whatever_the_seed(model):
    answers = ReplyGenerator(model, replace(BRIEF, temperature=0.0))
    one, other = (answers.generate(query(60), prompts(model, 1), [seed], speak=False)[0] for seed in (1, 2))
    assert one.ids == other.ids
    narrow = ReplyGenerator(model, replace(BRIEF, top_k=1)).generate(query(60), prompts(model, 1), [9], speak=False)[0]
    assert narrow.ids == one.ids
