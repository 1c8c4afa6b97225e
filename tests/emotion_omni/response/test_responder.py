"""The contract of every responder."""

from __future__ import annotations

import gc

import chat_server
import model_server
import pytest
import torch

from emotion_omni import emotion
from emotion_omni.response import int4_graph
from emotion_omni.response.config import OpenAIResponderConfig, Qwen2Config, RerankedConfig
from emotion_omni.response.guard import Guard
from emotion_omni.response.int4_decoder import Int4Decoder
from emotion_omni.response.openai_responder import OpenAIResponder
from emotion_omni.response.qwen2 import Qwen2Shape, build_tokenizer
from emotion_omni.response.qwen2_responder import Qwen2Responder
from emotion_omni.response.reranked_responder import RerankedResponder
from emotion_omni.response.reranker import Reranker
from emotion_omni.response.responder import Responder
from emotion_omni.response.safe_replies import CRISIS
from emotion_omni.types import Exchange, Heard, Plan

HISTORY = (Exchange("My dog died last week.", "sad", "That hurts. What was your dog called?"),)


@pytest.fixture(scope="module")
def server():
    with chat_server.serve() as running:
        yield running


@pytest.fixture(scope="module")
def served(checkpoints, tmp_path_factory):
    """A real server with a tiny random model."""
    pytest.importorskip("openai", reason="transformers serve needs openai (requirements-dev.txt)")
    with model_server.serve(checkpoints / "responder", tmp_path_factory.mktemp("served") / "log.txt") as running:
        yield running


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard.load()


@pytest.fixture(scope="module")
def tiny_qwen2(tmp_path_factory) -> Int4Decoder:
    """Random weights and bytes for tokens, through the same code as the large model."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2ForCausalLM

    shape = Qwen2Shape(layers=2, heads=4, key_value_heads=2, width=64, inner=96, vocabulary=258)
    torch.manual_seed(0)
    state = Qwen2ForCausalLM(shape.transformers_config()).state_dict()
    folder = tmp_path_factory.mktemp("qwen2")
    int4_graph.write_graph(lambda name: 5 * state[name].numpy(), shape, folder)
    special = ["<|im_start|>", "<|im_end|>"]
    build_tokenizer([*sorted(ByteLevel.alphabet()), *special], [], special).save(str(folder / "tokenizer.json"))
    return Int4Decoder(folder, shape, threads=1)


@pytest.fixture(
    params=[
        "smollm2",
        "qwen2",
        "reranked",
        "transformers",
        "openai",
        pytest.param("transformers serve", marks=pytest.mark.slow),
    ]
)
def responder(request) -> Responder:
    if request.param == "openai":
        url = request.getfixturevalue("server").url
        return OpenAIResponder(OpenAIResponderConfig(url, "mine"), request.getfixturevalue("guard"))
    if request.param == "transformers serve":
        served = request.getfixturevalue("served")
        config = OpenAIResponderConfig(
            served.url, served.model, max_tokens=12, timeout=200.0, gap_timeout=60.0, total_timeout=300.0
        )
        return OpenAIResponder(config, request.getfixturevalue("guard"))
    if request.param == "qwen2":
        guard = request.getfixturevalue("guard")
        return Qwen2Responder(Qwen2Config(), request.getfixturevalue("tiny_qwen2"), Reranker.load(), guard)
    if request.param == "reranked":
        guard = request.getfixturevalue("embedded").responder.guard
        return RerankedResponder.load(RerankedConfig(written=3), guard)
    return request.getfixturevalue("embedded" if request.param == "smollm2" else "hub").responder


def reply(responder: Responder, text: str, tone: str = "sad", news: str = "bad", history=(), seed: int = 0) -> str:
    heard, plan = Heard(text, emotion.one_hot(tone)), Plan(emotion.answer_with(tone, news), news, tone)
    pieces = list(responder.reply(heard, plan, history, seed=seed))
    assert all(isinstance(piece, str) for piece in pieces)
    return "".join(pieces)


def test_it_follows_the_protocol(responder):
    assert isinstance(responder, Responder)


def test_a_reply_is_never_blank(responder):
    for text in ("I lost my keys on the way home.", "?!", "a" * 5000, "你好。", "\u202e🙂" * 40):
        assert any(letter.isalnum() for letter in reply(responder, text))


def test_the_same_seed_gives_the_same_reply(responder):
    for seed in (0, 3):
        assert len({reply(responder, "They moved the meeting to Friday.", "sad", seed=seed) for _ in range(2)}) == 1


def test_tone_and_conversation_change_the_reply(responder):
    text = "They moved the meeting to Friday."
    assert reply(responder, text, "sad") != reply(responder, text, "happy", "good")
    alone = [reply(responder, text, seed=seed) for seed in range(3)]
    assert alone != [reply(responder, text, history=HISTORY, seed=seed) for seed in range(3)]


def test_self_harm_gets_the_fixed_reply(responder):
    for seed in (0, 5):
        assert reply(responder, "Sometimes I want to kill myself.", seed=seed) == CRISIS[0]


def test_closing_early_leaves_nothing_behind(responder):
    expected = reply(responder, "I lost my job today.")
    plan = Plan("calm", "bad", "sad")
    begun = responder.reply(Heard("I failed my exam again.", emotion.one_hot("sad")), plan)
    next(begun)
    begun.close()
    gc.collect()
    assert next(begun, None) is None
    assert reply(responder, "I lost my job today.") == expected
