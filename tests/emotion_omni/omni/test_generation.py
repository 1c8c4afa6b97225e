"""Answers as they are made: in order, from their own seed, and from the states that training knows."""

from __future__ import annotations

import gc
import weakref
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from tiny_omni import BRIEF, BRIEFLY
from torch._dynamo.utils import counters
from transformers import DynamicCache

from emotion_omni.omni.config import OmniConfig, TextSampling
from emotion_omni.omni.detokenizer import REPLACEMENT, IncrementalDetokenizer
from emotion_omni.omni.emotion_planner import TextChunk
from emotion_omni.omni.generation import ReplyGenerator, SpeechChunk
from emotion_omni.omni.language_model import cast_parameters
from emotion_omni.omni.model import Omni, Query
from emotion_omni.omni.model_runner import ModelRunner
from emotion_omni.sampling import sample
from emotion_omni.types import EmotionOmniError

TINY = OmniConfig.preset("tiny")
SEEDS = (7, 11, 23)
LONG = "One after the other, words of a long reply are said while the rest of it is still being written down."


def built(mode: str = "token") -> Omni:
    """A random model whose adaptation does something and which is quick to end an answer."""
    model = Omni.build(replace(TINY, emotion_mode=mode))
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.language_model.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1, generator=draws)
    likes(model, {model.prompt_builder.eos_token_id: 2.0})
    return model


@torch.no_grad()
def likes(model: Omni, nats: dict[int, float], blind: bool = False, more: int = 0) -> None:
    """Give tokens a head start. ``blind``: it is all that counts. ``more``: rows of the head without a token."""
    own = model.causal_lm.get_output_embeddings().weight
    head = torch.nn.Linear(own.shape[1], len(own) + more)
    head.weight.zero_()
    head.bias.zero_()
    if not blind:
        head.weight[: len(own)] = own
    for token, start in nats.items():
        head.bias[token] = start
    model.causal_lm.lm_head = head


@pytest.fixture(scope="module", params=["token", "utterance"])
def either(request) -> Omni:
    return built(request.param)


@pytest.fixture(scope="module")
def model() -> Omni:
    return built()


def query(*frames: int) -> Query:
    """Frames of as many queries; what lies beyond a length is noise that nothing may read."""
    draws, lengths = torch.Generator().manual_seed(0), torch.tensor(frames)
    semantic, emotion = (torch.randn(len(frames), max(frames), width, generator=draws) for width in (24, 16))
    return Query(semantic, lengths, emotion, lengths)


def only(asked: Query, index: int) -> Query:
    length = int(asked.semantic_lengths[index])
    return Query(
        asked.semantic[index : index + 1, :length],
        asked.semantic_lengths[index : index + 1],
        asked.emotion[index : index + 1, :length],
        asked.emotion_lengths[index : index + 1],
    )


def prompts(model: Omni, count: int = 3):
    return [model.prompt_builder.prompt((), words, None) for words in (None, "She was called Luna.", "Oh")[:count]]


def generator(model: Omni, **runner) -> ReplyGenerator:
    return ReplyGenerator(model, BRIEF, BRIEFLY, runner=ModelRunner(model, **runner))


def told(replies):
    return [(reply.ids, reply.text, reply.speech) for reply in replies]


# --- order -----------------------------------------------------------------------------------------------------------


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


# --- what an answer hangs on ------------------------------------------------------------------------------------------


def test_a_batch_gives_what_each_query_gets_alone(either):
    asked, answers = query(60, 43, 0), generator(either)
    together = answers.generate(asked, prompts(either), SEEDS)
    alone = [answers.generate(only(asked, index), [prompts(either)[index]], [SEEDS[index]])[0] for index in range(3)]
    assert told(together) == told(alone)
    assert len({len(reply.ids) for reply in together}) > 1, "they end at different places"
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.emotions, other.emotions, atol=1e-5, rtol=1e-5)


def test_the_seed_decides_and_nothing_else_is_drawn_from(model):
    answers = generator(model)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other, again = (told(answers.generate(query(60), prompts(model, 1), [seed])) for seed in (1, 2, 1))
    assert one == again and one[0][0] != other[0][0] and one[0][2] != other[0][2]
    assert torch.equal(torch.rand(1), expected), "the callers' own draws go on"


def test_temperature_zero_writes_what_is_likeliest_whatever_the_seed(model):
    answers = ReplyGenerator(model, replace(BRIEF, temperature=0.0))
    one, other = (answers.generate(query(60), prompts(model, 1), [seed], speak=False)[0] for seed in (1, 2))
    assert one.ids == other.ids
    narrow = ReplyGenerator(model, replace(BRIEF, top_k=1)).generate(query(60), prompts(model, 1), [9], speak=False)[0]
    assert narrow.ids == one.ids


def test_tokens_are_drawn_in_proportion_within_the_nucleus():
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


# --- training and talking are the same ----------------------------------------------------------------------------------


@pytest.mark.parametrize("static", [False, True], ids=["growing", "static"])
def test_the_states_and_emotions_met_are_those_of_training_on_the_same_text(either, static):
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


def test_merging_the_adaptation_changes_no_answer(model):
    merged = built()
    merged.language_model.merge_adapter()
    replies = [generator(each).generate(query(60, 43), prompts(model, 2), SEEDS[:2]) for each in (model, merged)]
    assert told(replies[0]) == told(replies[1])


def test_a_chosen_emotion_takes_the_place_of_the_planned_one(either):
    chosen, answers = torch.full((1, 16), 0.5), generator(either)
    pieces = list(answers.stream(answers.prefill(query(60), prompts(either, 1), [1]), [1], chosen))
    assert all(torch.equal(piece.inputs.emotion, chosen[:, None]) for piece in pieces if isinstance(piece, TextChunk))


def test_half_precision_answers_too():
    rough, chosen = cast_parameters(built(), torch.bfloat16), torch.full((1, 16), 0.5)
    (reply,) = generator(rough).generate(query(60), prompts(rough, 1), [1])
    assert reply.text and reply.speech and reply.emotions.dtype == torch.bfloat16
    answers = generator(rough)
    assert list(answers.stream(answers.prefill(query(60), prompts(rough, 1), [1]), [1], chosen)), (
        "also in a chosen emotion, of float32"
    )


def test_half_precision_turns_by_the_same_angles():
    """Rotary frequencies rounded to bfloat16 are a radian off a thousand tokens on."""
    exact, rough = built(), cast_parameters(built(), torch.bfloat16)
    for one, other in zip(exact.buffers(), rough.buffers(), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)
    assert {value.dtype for value in rough.parameters()} == {torch.bfloat16}


def test_a_model_in_training_does_not_answer(model):
    model.train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            generator(model).prefill(query(60), prompts(model, 1), [1])
    finally:
        model.eval()


# --- words ------------------------------------------------------------------------------------------------------------


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


def test_control_tokens_are_never_drawn():
    model = built()
    begin = model.prompt_builder.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert begin != model.prompt_builder.eos_token_id
    likes(model, {begin: 50.0, -1: 50.0}, blind=True, more=4)
    (reply,) = generator(model).generate(query(60), prompts(model, 1), [1], speak=False)
    assert reply.ids and begin not in reply.ids and max(reply.ids) < len(model.prompt_builder.tokenizer)


@pytest.mark.parametrize("text", ["Plain words.", "Grüße an alle: 🙂🙃, 日本語!", "  two  blanks\nand a line"])
def test_words_come_as_soon_as_they_are_certain_and_never_halved(model, text):
    tokenizer = model.prompt_builder.tokenizer
    detokenizer, said = IncrementalDetokenizer(tokenizer), ""
    ids = model.prompt_builder.encode(text)
    assert len(ids) == len(text.encode()), "a byte each"
    for place, number in enumerate(ids):
        said += detokenizer.push([number])
        assert said == text.encode()[: place + 1].decode(errors="ignore")
    assert said + detokenizer.push([], last=True) == text


def test_what_is_no_text_is_left_out(model):
    tokenizer = model.prompt_builder.tokenizer
    ids = tokenizer.encode("a\x00b\x1b<|im_start|>c\U0001f642"[:-1]) + tokenizer.encode("\U0001f642")[:2]
    detokenizer = IncrementalDetokenizer(tokenizer)
    said = detokenizer.push(ids) + detokenizer.push([], last=True)
    assert said == "abc" and REPLACEMENT not in said
    silent = IncrementalDetokenizer(tokenizer)
    assert silent.push(tokenizer.encode(" \n")) == " \n" and not silent.has_text


# --- how steps are run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "manner", [{"static": True}, {"compiled": True, "backend": "aot_eager"}], ids=["static", "compiled"]
)
def test_fixed_shapes_and_compiled_steps_give_the_same_answers(manner):
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


def test_closing_early_frees_what_was_remembered(model):
    answers = generator(model)
    words = answers.prefill(query(60), prompts(model, 1), [1])
    assert isinstance(words.state.kv_cache, DynamicCache)
    watched = [weakref.ref(words.state.kv_cache.layers[0]), weakref.ref(words)]
    with closing(answers.stream(words, [1])) as pieces:
        next(pieces)
    del words, pieces
    gc.collect()
    assert [watch() for watch in watched] == [None, None]


def test_a_fixed_buffer_is_given_back_empty(model):
    answers = generator(model, static=True)
    words = answers.prefill(query(60), prompts(model, 1), [1])
    cache = words.state.kv_cache
    with closing(answers.stream(words, [1])) as pieces:
        next(pieces)
        assert cache.layers[0].keys.abs().sum() > 0
    assert not any(layer.keys.any() or layer.values.any() for layer in cache.layers), "nobody's words lie about"
    assert answers.prefill(query(60), prompts(model, 1), [1]).state.kv_cache is cache
