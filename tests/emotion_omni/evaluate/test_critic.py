"""The critic's data, pairs and networks, on a few made-up conversations and vectors by hash."""

from __future__ import annotations

import gzip
import json
import math
import random
import zlib

import numpy as np
import pytest
import torch

from emotion_omni.evaluate import critic_training as training
from emotion_omni.evaluate.critic import JUDGED, Answered, Critic, CriticHeads, Usage
from emotion_omni.response.sentence_encoder import WIDTH
from emotion_omni.train.part_settings import CriticSettings
from emotion_omni.types import EmotionOmniError, Exchange


def vectors(texts):
    """A bag of words: texts that share words are near."""
    found = np.zeros((len(texts), WIDTH), np.float32)
    for row, text in zip(found, texts, strict=True):
        for word in text.lower().split():
            row += np.random.default_rng(zlib.crc32(word.encode())).normal(size=WIDTH)
    return torch.nn.functional.normalize(torch.from_numpy(found), dim=1)


def dialogue(number, news):
    thing = f"thing{number}"
    reply = "congratulations how wonderful" if news == "joyful" else "oh no i am so sorry"
    turns = [("user", f"my {thing} came today"), ("assistant", f"{reply} about your {thing}")]
    return {"emotion": news, "split": "train", "turns": [{"role": role, "text": text} for role, text in turns]}


@pytest.fixture
def data(tmp_path):
    rows = {
        "dialogues": [dialogue(n, ("joyful", "devastated")[n % 2]) for n in range(60)],
        "support": [
            {
                "split": "train",
                "turns": [
                    {"role": "user", "text": f"trouble{n}"},
                    {"role": "assistant", "text": f"what about trouble{n}?", "strategy": "Question"},
                    {"role": "user", "text": "well"},
                    {
                        "role": "assistant",
                        "text": f"good that you said trouble{n}",
                        "strategy": "Affirmation and Reassurance",
                    },
                ],
            }
            for n in range(30)
        ],
        "daily": [
            {
                "split": "train",
                "turns": [{"text": f"shop{n} is shut", "emotion8": "neutral"}, {"text": f"then not shop{n}"}],
            }
            for n in range(30)
        ],
    }
    for name, some in rows.items():
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as file:
            file.write("".join(json.dumps(row) + "\n" for row in some))
    return training.CriticData(*(tmp_path / f"{name}.jsonl.gz" for name in rows))


def test_what_is_known_of_an_example(data):
    corpora = training.read(data, "train", 1000, 0)
    first = next(one for one in corpora["dialogues"] if one.news == "good")
    assert first.answered.tone == "happy" and "congratulations" in first.answered.reply
    kinds = {one.kinds for one in corpora["support"]}
    assert kinds == {("explorations",), ("emotional_reactions",)}
    assert len(training.read(data, "train", 5, 0)["daily"]) == 5 and not training.read(data, "dev", 5, 0)["daily"]


def test_pairs_are_right_and_wrong(data):
    pairs = training.Pairs(training.read(data, "train", 1000, 0), vectors).draw(random.Random(0))
    targets = np.array([wanted for _, wanted in pairs])
    sense, direction = targets[:, 0], targets[:, 1]
    assert np.nansum(sense == 1) == 60 + 60 + 30 and np.nansum(sense == 0) > np.nansum(sense == 1)
    own, wrong = training.Pairs(training.read(data, "train", 1000, 0), vectors).fluent_and_not(random.Random(0))
    assert len(own) == len(wrong) and sum(a != b for a, b in zip(own, wrong, strict=True)) > len(own) / 2
    assert (direction == 1).sum() == (direction == 0).sum() == 60
    for answered, wanted in pairs:
        if wanted[1] == 1:
            assert ("congratulations" in answered.reply) == (answered.tone == "happy")


def test_it_learns_what_it_is_shown(data):
    torch.manual_seed(0)
    pairs = training.Pairs(training.read(data, "train", 1000, 0), vectors)
    usage = Usage.of(["congratulations how wonderful about your", "oh no i am so sorry about your"] * 20)
    critic = Critic(vectors, usage, CriticHeads())
    drawn = [pair for seed in range(4) for pair in pairs.draw(random.Random(seed))]
    training.fit(critic, drawn, CriticSettings(epochs=20, batch_size=64))
    training.fit_fluency(critic, pairs, random.Random(0))
    found = training.report(critic, pairs, 9)
    assert found["fluency"]["area"] > 0.6
    assert found["direction"]["area"] > 0.9 and found["explorations"]["area"] > 0.9 and found["sense"]["area"] > 0.6
    (judged,) = critic.judge([Answered("my thing1 came today", "sad", "", (Exchange("a", "sad", "b"),))])
    assert set(judged) == set(JUDGED) and all(0 <= value <= 1 for value in judged.values())


def test_usual_words_and_others():
    usage = Usage.of(["how are you today"] * 50)
    usual, odd = usage.features("how are you"), usage.features("you how today are")
    assert usual[0] > odd[0] and usual[2] < odd[2] and usage.features("") == [0.0, 0.0, 1.0]


def test_area_under_the_curve():
    assert training.area([3, 2], [1, 0]) == 1 and training.area([1, 1], [1, 1]) == 0.5
    assert training.area([2, 0], [1]) == 0.5 and math.isnan(training.area([], [1]))


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "critic.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(EmotionOmniError, match="train critic"):
        Critic.load(path)
