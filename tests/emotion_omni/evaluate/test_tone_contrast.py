"""The experiment on tone: what it takes from a set of recordings, and how it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from emotion_omni.evaluate import tone_pairs
from emotion_omni.evaluate.tone_contrast import likelihoods, summary
from emotion_omni.evaluate.tone_pairs import Clip, assign_answers, choose_tones, manifest_rows
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import Omni, Query
from emotion_omni.train.batches import Batch
from emotion_omni.types import EmotionOmniError

TONES = ("sad", "happy", "angry")


def recordings(sentences: int = 40) -> list[Clip]:
    """Each sentence in three tones by two training speakers; in two of them also by a test speaker."""
    clips = []
    for number in range(sentences):
        source = "RAVDESS" if number < 4 else "EMO-DB" if number < 16 else "nEMO"
        for index, tone in enumerate(TONES):
            speakers = [("a", "train"), ("b", "train"), *([("c", "test")] if index < 2 else [])]
            clips += [
                Clip(f"{number}-{tone}-{name}.wav", f"sentence {number}", tone, name, split, source)
                for name, split in speakers
            ]
    return clips


@pytest.fixture(scope="module")
def pairs():
    return assign_answers(choose_tones(recordings()))


def test_it_takes_32_sentences_in_the_two_tones_that_can_be_measured(pairs):
    tones = choose_tones(recordings())
    assert len(tones) == 32 and all(both == ("happy", "sad") for both in tones.values()), "angry has no test speaker"
    sources = Counter(
        clip.source for clip in {clip.sentence: clip for clip in recordings()}.values() if clip.sentence in tones
    )
    assert sources == {"RAVDESS": 2, "EMO-DB": 10, "nEMO": 20}


def test_too_few_sentences_are_refused():
    with pytest.raises(EmotionOmniError, match="Only 26 sentences"):  # 2 + 10 + the 14 of nEMO
        choose_tones(recordings(30))


def test_no_two_pairs_share_an_answer_and_both_tones_of_a_sentence_differ(pairs):
    assert len(pairs) == 64 == len({pair.reply for pair in pairs})
    assert Counter(pair.tone for pair in pairs) == {"happy": 32, "sad": 32}
    assert all(tone_pairs.MIN_WORDS <= len(pair.reply.split()) <= tone_pairs.MAX_WORDS for pair in pairs)


def test_shuffling_deals_the_answers_of_the_same_sentence_and_leaves_test_clips_alone(pairs):
    spoken = {pair.reply: Path("answer.wav") for pair in pairs}
    true, shuffled = (manifest_rows(recordings(), pairs, spoken, shuffled=on) for on in (False, True))
    assert [row["query"] for row in true] == [row["query"] for row in shuffled]
    of_sentence = {pair.reply: pair.sentence for pair in pairs}
    for one, other in zip(true, shuffled, strict=True):
        assert of_sentence[one["reply"]] == of_sentence[other["reply"]]
        assert one["split"] == "train" or one["reply"] == other["reply"]
    swapped = [
        one["reply"] != other["reply"] for one, other in zip(true, shuffled, strict=True) if one["split"] == "train"
    ]
    assert 0.3 < sum(swapped) / len(swapped) < 0.7


def test_the_clips_of_a_pair_are_limited_in_training_only(pairs):
    many = [replace(clip, path=f"{number}-{clip.path}") for clip in recordings() for number in range(5)]
    rows = manifest_rows(many, pairs, {pair.reply: Path("answer.wav") for pair in pairs}, shuffled=False)
    counts = Counter((row["reply"], row["split"]) for row in rows)
    assert {count for (_, split), count in counts.items() if split == "train"} == {tone_pairs.MAX_CLIPS}
    assert {count for (_, split), count in counts.items() if split == "test"} == {5}


def test_a_likelihood_is_that_of_the_words_one_by_one():
    model = Omni.build(OmniConfig.preset("tiny"))
    draw = torch.Generator().manual_seed(0)
    lengths = torch.tensor([40, 30])
    query = Query(torch.randn(2, 40, 24, generator=draw), lengths, torch.randn(2, 40, 16, generator=draw), lengths)
    nothing = torch.zeros(2, 0, dtype=torch.long)
    asked = Batch((0, 1), query, (model.prompt_builder.prompt(),) * 2, (), nothing, nothing, nothing, nothing)
    replies = ["Oh no!", "How lovely to hear."]
    with torch.no_grad():
        found, likeliest = likelihoods(model, asked, replies)
        for index, reply in enumerate(replies):
            ids = model.prompt_builder.answer(reply)
            _, logits = model(query, asked.prompts, [ids, ids])
            expected = sum(float(logits[index, place].log_softmax(-1)[token]) for place, token in enumerate(ids))
            assert float(found[index]) == pytest.approx(expected, abs=1e-3) and expected < -20
    assert likeliest.tolist() == [False, False]


def test_the_summary_counts_clips_and_speakers():
    rows = [
        {"speaker": name, "right": right, "other": -2.0, "writes_right": right > -1, "writes_other": False}
        for name, right in (("a", -1.5), ("a", -3.0), ("b", -0.5), ("b", -1.0))
    ]
    found = summary(rows)
    assert (found["clips"], found["accuracy"], found["writes_right"]) == (4, 0.75, 0.25)
    assert found["speakers"] == {"a": [1, 2], "b": [2, 2]} and found["interval"][0] < 0.75 < found["interval"][1]
