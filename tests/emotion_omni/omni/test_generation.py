"""Answers as they are generated: their order, what they depend on, and that they equal training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from omni_answers import LONG, SEEDS, TINY, built, generator, only, prompts, query, told
from tiny_omni import BRIEF, BRIEFLY

from emotion_omni.omni.emotion_planner import TextChunk
from emotion_omni.omni.generation import ReplyGenerator, SpeechChunk
from emotion_omni.omni.language_model import cast_parameters
from emotion_omni.omni.model import Omni


@pytest.fixture(scope="module", params=["token", "utterance"])
def either(request) -> Omni:
    return built(request.param)


@pytest.fixture(scope="module")
def model() -> Omni:
    return built()


def test_speech_begins_with_the_first_chunk_of_text_and_long_before_its_end(model):
    answers = ReplyGenerator(model, BRIEF, replace(BRIEFLY, temperature=0.0))  # the likeliest is never the end here
    given = [model.prompt_builder.answer(LONG)]
    pieces = list(answers.stream(answers.prefill(query(60), prompts(model, 1), [1], given), [1]))
    kinds = [type(piece) for piece in pieces]
    assert kinds[: TINY.speech.text_chunk + 1] == [TextChunk] * TINY.speech.text_chunk + [SpeechChunk]
    assert kinds.count(TextChunk) == len(LONG), "a byte each, and each as soon as it is there"
    last_words = len(kinds) - 1 - kinds[::-1].index(TextChunk)
    before = kinds[:last_words].count(SpeechChunk)
    assert before == len(LONG) // TINY.speech.text_chunk, "15 speech tokens for every 5 of text"
    assert all(len(piece.tokens[0]) <= TINY.speech.speech_chunk for piece in pieces if isinstance(piece, SpeechChunk))


def test_the_whole_text_can_be_waited_for(model):
    answers = ReplyGenerator(model, BRIEF, BRIEFLY, chunked=False)
    kinds = [
        type(piece)
        for piece in answers.stream(
            answers.prefill(query(60), prompts(model, 1), [1], [model.prompt_builder.answer(LONG)]), [1]
        )
    ]
    assert SpeechChunk in kinds and TextChunk not in kinds[kinds.index(SpeechChunk) :]


def test_words_alone_have_no_speech(model):
    (reply,) = generator(model).generate(query(60), prompts(model, 1), [1], speak=False)
    assert reply.text and reply.speech == ()


def test_a_batch_gives_what_each_query_gets_alone(either):
    asked, answers = query(60, 43, 0), generator(either)
    together = answers.generate(asked, prompts(either), SEEDS)
    alone = [answers.generate(only(asked, index), [prompts(either)[index]], [SEEDS[index]])[0] for index in range(3)]
    assert told(together) == told(alone)
    assert len({len(reply.ids) for reply in together}) > 1, "they end at different places"
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.emotions, other.emotions, atol=1e-5, rtol=1e-5)


def test_the_answer_depends_on_the_seed_and_keeps_the_global_random_state(model):
    answers = generator(model)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other, again = (told(answers.generate(query(60), prompts(model, 1), [seed])) for seed in (1, 2, 1))
    assert one == again and one[0][0] != other[0][0] and one[0][2] != other[0][2]
    assert torch.equal(torch.rand(1), expected), "the callers' own draws go on"


@pytest.mark.parametrize("static", [False, True], ids=["growing", "static"])
def test_hidden_states_and_emotions_equal_those_of_training_on_the_same_text(either, static):
    asked, answers = query(60, 43, 0), generator(either, static=static)
    words = answers.prefill(asked, prompts(either), SEEDS)
    pieces = [piece for piece in answers.stream(words) if isinstance(piece, TextChunk)]
    written = [sum((piece.ids[index] for piece in pieces), ()) for index in range(3)]
    answer, _ = either(asked, prompts(either), [(*ids, either.prompt_builder.eos_token_id) for ids in written])
    planned = either.plan_emotions(answer)
    for index, ids in enumerate(written):
        for name, expected in (("hidden_states", answer.hidden_states), ("token_embeddings", answer.token_embeddings)):
            met = torch.cat(
                [getattr(piece.inputs, name)[index, : int(piece.inputs.lengths[index])] for piece in pieces]
            )
            torch.testing.assert_close(met, expected[index, : len(ids)], atol=1e-5, rtol=1e-5)
        met = torch.cat([piece.inputs.emotion[index] for piece in pieces if piece.ids[index]])
        expected = (
            planned[index, : len(ids)] if either.config.emotion_mode == "token" else planned[index].expand(len(met), -1)
        )
        torch.testing.assert_close(met, expected, atol=1e-5, rtol=1e-5)


def test_merging_the_adaptation_changes_no_answer(model):
    merged = built()
    merged.language_model.merge_adapter()
    replies = [generator(each).generate(query(60, 43), prompts(model, 2), SEEDS[:2]) for each in (model, merged)]
    assert told(replies[0]) == told(replies[1])


def test_half_precision_answers_too():
    rough, chosen = cast_parameters(built(), torch.bfloat16), torch.full((1, 16), 0.5)
    (reply,) = generator(rough).generate(query(60), prompts(rough, 1), [1])
    assert reply.text and reply.speech and reply.emotions.dtype == torch.bfloat16
    answers = generator(rough)
    assert list(answers.stream(answers.prefill(query(60), prompts(rough, 1), [1]), [1], chosen)), (
        "also in a chosen emotion, of float32"
    )


def test_half_precision_keeps_the_rotary_frequencies():
    """Rotary frequencies rounded to bfloat16 are a radian off a thousand tokens on."""
    exact, rough = built(), cast_parameters(built(), torch.bfloat16)
    for one, other in zip(exact.buffers(), rough.buffers(), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)
    assert {value.dtype for value in rough.parameters()} == {torch.bfloat16}
