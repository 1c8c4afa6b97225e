"""The circle on a made-up language: ratings make a child that others prefer, and random ones show nothing."""

from __future__ import annotations

import hashlib
import random

import pytest
import torch

from annotation.bench.circle import circle, people, pool, rubric, simulation
from annotation.studio import Studio
from emotion_omni.response.reranker import ReplyScorer, Reranker, Situation
from emotion_omni.response.sentence_encoder import WIDTH
from emotion_omni.train.feedback.reward import features_of

THINGS, TIMES, DENIALS = ("tea", "rain", "coat", "bus"), ("tonight", "tomorrow", "now"), ("not", "never", "nothing")
FILLERS = ("well", "so", "indeed", "perhaps", "surely", "maybe", "there", "it", "goes", "on")


def encode(texts):
    """Each word has a vector of its own; that of a text is their sum."""
    return torch.stack([_vector(text) for text in texts])


def _vector(text):
    seeds = [int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) for word in text.lower().strip(".").split()]
    found = sum(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds)
    return torch.nn.functional.normalize(found, dim=0)


@pytest.fixture
def reranker(monkeypatch):
    """A random one in place of the shipped one; children are loaded as ever."""
    torch.manual_seed(0)
    shipped = Reranker(encode, ReplyScorer())
    load = Reranker.load.__func__

    def loaded(cls, path="", encoder=None):
        return load(cls, path, encode) if path else shipped

    monkeypatch.setattr(Reranker, "load", classmethod(loaded))
    return shipped


def candidates(reranker, count: int, seed: int) -> list[pool.Candidates]:
    rng, found = random.Random(seed), []
    for number in range(count):
        replies = []
        for place in range(8):
            words = [rng.choice(FILLERS) for _ in range(3)]
            words += [rng.choice(kind) for kind in (THINGS, TIMES, DENIALS) if rng.random() < 0.4]
            replies.append(" ".join(words).capitalize() + f" {'x' * place}.")
        situation = Situation(f"Day {seed} {number} was long.", ("sad",), "bad")
        with torch.no_grad():
            inputs = Reranker.inputs([situation] * 8, replies, encode)
            scores, features = reranker.scorer(*inputs), features_of(reranker.scorer, inputs)
        found.append(pool.Candidates(situation.text, ("sad",), "bad", tuple(replies), scores, features))
    return found


def test_the_rubric_counts_things_times_and_denials():
    texts = ("A cup of tea tonight.", "Tea.", "Indeed.", "Never mind the tea.", "That isn't so.")
    assert [rubric.points(text) for text in texts] == [2, 1, 0, 0, -1]


def test_a_full_circle(reranker, tmp_path):
    size = circle.Size(items=60, ratings_per_item=4, honest=4, locked=16, judges=5, steepness=4.0)
    made = pool.Pool(candidates(reranker, 60, 1), candidates(reranker, 16, 2))
    studio = people.simulated(Studio.open(tmp_path / "home"))
    try:
        report = circle._circle(studio, tmp_path, made, size, 0, lambda text: None)
    finally:
        studio.close()
    quality = report["study"]["quality_control"]
    assert quality["lazy"]["flagged"] == 1 and quality["honest"]["flagged"] <= 1
    assert report["reward"]["learned"] and report["held_out"]["win_rate_by_rubric"] > 0.5
    assert report["blind_rerating"]["verdict"] == "better"


def test_ratings_at_random_are_found_to_show_nothing(reranker):
    made = pool.Pool(candidates(reranker, 40, 1), candidates(reranker, 12, 2))
    found = simulation.control(made, runs=10)
    assert found["not shown"] >= 8
    (few, many) = simulation.curve(made, (10, 40), runs=4)
    assert few["ratings"] == 50 and many["win_rate"] >= few["win_rate"] and many["low"] <= many["win_rate"]
