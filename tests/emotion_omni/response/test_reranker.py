"""The reranker, the bank of replies, and the responder that chooses among candidates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from emotion_omni import emotion
from emotion_omni.response.config import RerankedConfig
from emotion_omni.response.reply_bank import BankTurn, ReplyBank
from emotion_omni.response.reranked_responder import Candidate, RerankedResponder, chosen
from emotion_omni.response.reranker import COUNTS, Reranker, Situation, _counts
from emotion_omni.response.safe_replies import CRISIS
from emotion_omni.response.sentence_encoder import load_encoder
from emotion_omni.types import EmotionOmniError, Exchange, Heard, Plan

TURNS = [
    BankTurn("my brother is coming tonight", "happy", "good", "Tonight already! What will you two get up to?"),
    BankTurn("my brother is coming tonight", "angry", "bad", "What did he do this time?"),
    BankTurn("the oven caught fire", "fearful", "bad", "Is the fire out, and are you outside?"),
]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


@pytest.fixture(scope="module")
def reranker(encoder) -> Reranker:
    return Reranker.load(encoder=encoder)


def heard_and_plan(text: str, tone: str, news: str) -> tuple[Heard, Plan]:
    return Heard(text, emotion.one_hot(tone)), Plan(emotion.answer_with(tone, news), news, tone)


@pytest.mark.parametrize(
    ("text", "tone", "news", "right", "wrong"),
    [
        (
            "my cat had four kittens",
            "happy",
            "good",
            "Four kittens! What do they look like?",
            "Was the bus late again?",
        ),
        (
            "my cat died on Sunday",
            "sad",
            "bad",
            "She leaves a quiet house. How old was she?",
            "Congratulations! Well done!",
        ),
        ("I got the job", "happy", "good", "You got it! When do you start?", "I'm so sorry to hear that. How awful."),
        ("the boiler's broken", "angry", "bad", "Again! Who is coming to fix it?", "How lovely! Enjoy your holiday!"),
    ],
)
def test_what_fits_scores_above_what_does_not(reranker, text, tone, news, right, wrong):
    one, other = reranker.scores(*heard_and_plan(text, tone, news), (), [right, wrong])
    assert one > other


def test_scores_do_not_depend_on_the_other_candidates(reranker):
    asked = heard_and_plan("I lost my keys", "sad", "bad")
    replies = ["Where did you have them last?", "Lovely weather!", "Oh, keys. They hide."]
    together = reranker.scores(*asked, (), replies)
    assert together == pytest.approx([reranker.scores(*asked, (), [one])[0] for one in replies], abs=1e-3)
    assert reranker.scores(*asked, (), []) == []


def test_a_repeated_reply_and_invented_facts_are_counted():
    earlier = Exchange("my dog died", "sad", "That hurts. What was your dog called?")
    situation = Situation("he was called Max", ("sad",), "bad", (earlier,))
    fresh, repeated = (_counts(situation, text) for text in ("Max sounds like a friend.", earlier.reply))
    assert len(fresh) == COUNTS - 2 and max(b - a for a, b in zip(fresh, repeated, strict=True)) == 1.0
    plain, invented = (_counts(situation, text) for text in ("He was a friend.", "And Susan had 12 of them."))
    assert sum(invented) > sum(plain) and invented[14] == 1.0


def test_the_context_holds_the_last_exchanges_and_an_unsure_tone_is_shared():
    earlier = tuple(Exchange(f"words {n}", "sad", f"reply {n}") for n in range(4))
    situation = Situation("now", ("sad", "calm"), "bad", earlier)
    assert situation.context == "words 2 reply 2 words 3 reply 3 now"
    assert sum(situation.conditions) == 2.0 and situation.conditions.count(0.5) == 2


def test_weights_of_another_shape_are_refused(tmp_path, encoder):
    from safetensors.torch import save_file

    save_file({"output.weight": torch.zeros(1, 3)}, tmp_path / "reranker.safetensors")
    with pytest.raises(EmotionOmniError):
        Reranker.load(tmp_path / "reranker.safetensors", encoder)


def test_the_bank_prefers_the_same_tone_and_survives_a_round_trip(encoder, tmp_path):
    bank = ReplyBank.of(encoder, TURNS)
    bank.save(tmp_path / "bank.safetensors")
    for one in (bank, ReplyBank.load(encoder, tmp_path / "bank.safetensors")):
        for tone, news, first in (("angry", "bad", TURNS[1]), ("happy", "good", TURNS[0])):
            found = one.nearest(Situation("my brother comes tonight", (tone,), news), 3)
            assert found[0][0] == first and found[0][1] > 0.8 and found[-1][0] == TURNS[2]


def test_a_seed_may_choose_what_is_nearly_as_good_and_nothing_worse():
    found = [Candidate("best", "bank", 3.0), Candidate("good", "bank", 2.8), Candidate("bad", "model", -9.0)]
    assert chosen(found, 0).reply == "best"
    assert {chosen(found, seed).reply for seed in range(1, 40)} == {"best", "good"}


@pytest.fixture(scope="module")
def responder(encoder, reranker, embedded) -> RerankedResponder:
    return RerankedResponder(
        RerankedConfig(written=0), ReplyBank.of(encoder, TURNS), reranker, embedded.responder.guard, None
    )


def test_tone_chooses_among_replies_to_the_same_words(responder):
    said = "my brother is coming tonight"
    for tone, news, reply in (("happy", "good", TURNS[0].reply), ("angry", "bad", TURNS[1].reply)):
        pieces = list(responder.reply(*heard_and_plan(said, tone, news)))
        assert "".join(pieces) == reply and len(pieces) <= 2


def test_what_was_said_before_is_not_said_again(responder):
    asked = heard_and_plan("my brother is coming tonight", "happy", "good")
    history = (Exchange("hi", "happy", TURNS[0].reply),)
    assert TURNS[0].reply not in {one.reply for one in responder.candidates(*asked, history)}


def test_nothing_near_gets_a_fixed_reply_and_self_harm_its_own(responder):
    assert responder.candidates(*heard_and_plan("what is seven times eight", "neutral", "neutral")) == []
    assert "".join(responder.reply(*heard_and_plan("what is seven times eight", "neutral", "neutral"))).strip()
    assert list(responder.reply(*heard_and_plan("I want to kill myself", "sad", "bad"))) == [CRISIS[0]]


def test_written_candidates_are_finished_and_the_same_each_time(responder, embedded):
    both = RerankedResponder(
        replace(responder.config, written=4), responder.bank, responder.reranker, responder.guard, embedded.responder
    )
    asked = heard_and_plan("I dropped my phone in the sea", "sad", "bad")
    found = [one for one in both.candidates(*asked) if one.source == "model"]
    assert found and all(one.reply[-1] in ".!?" for one in found)
    assert both.candidates(*asked) == both.candidates(*asked)


def test_settings_are_checked():
    assert RerankedConfig.from_mapping(json.loads(RerankedConfig().to_json())) == RerankedConfig()
    with pytest.raises(EmotionOmniError):
        RerankedConfig(min_similarity=2)
