"""The second recognizer: the estimate of a speaker, its file, and training on made-up voices."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from made_up_voices import HZ, MOODS, utterance, write_corpus

from emotion_omni import cli
from emotion_omni.evaluate.functionals_recognizer import FunctionalsRecognizer, Shrinkage, for_speaker
from emotion_omni.types import Audio, EmotionOmniError, SpeakerEstimate


@pytest.fixture(scope="module")
def shipped() -> FunctionalsRecognizer:
    return FunctionalsRecognizer.load()


def random_features(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 164)).astype(np.float32)


def test_the_estimate_is_drawn_to_the_population_the_more_the_fewer_turns():
    own = np.array([[3.0], [3.0], [5.0], [5.0]], np.float32)  # mean 4, variance 1
    total = np.array([own.sum(), np.square(own).sum()], np.float32)
    shrinkage = Shrinkage(mean=4, variance=4, share=1)
    found = for_speaker(np.array([4.0], np.float32), 4, total, shrinkage)
    assert found == pytest.approx([4 - 4 * 4 / (4 + 4)], abs=1e-6), "half of the mean; the variance is 1 already"
    one = for_speaker(np.array([4.0], np.float32), 1, np.array([5.0, 25.0], np.float32), shrinkage)
    assert one == pytest.approx([4 - 5 / 5]), "a variance of one turn is not used"
    assert for_speaker(np.array([4.0], np.float32), 0, np.zeros(2, np.float32), shrinkage) == pytest.approx([4.0])


def test_turns_add_up_in_any_order_and_change_the_answer(shipped):
    turns, speaker, backwards = random_features(6), None, None
    for one in turns[:5]:
        speaker = shipped.classify(one, speaker)[1]
    for one in turns[4::-1]:
        backwards = shipped.classify(one, backwards)[1]
    assert speaker.turns == 5 and speaker.total == pytest.approx(backwards.total, abs=1e-4)
    plain, known = (shipped.classify(turns[5], one)[0].probabilities for one in (None, speaker))
    assert plain != known and sum(known.values()) == pytest.approx(1)


def test_an_estimate_of_another_recognizer_counts_as_none(shipped):
    (turn,) = random_features(1)
    foreign = SpeakerEstimate(9, np.ones(328, np.float32), "elsewhere")
    assert shipped.classify(turn, foreign)[0] == shipped.classify(turn, None)[0]
    assert shipped.classify(turn, foreign)[1].turns == 1


def test_weights_of_other_functionals_are_refused(shipped, tmp_path):
    other = replace(shipped, names=shipped.names[1:])
    with pytest.raises(EmotionOmniError, match="other functionals"):
        other.features(Audio(utterance("sad", 120, 0), HZ))
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(EmotionOmniError) as error:
        FunctionalsRecognizer.load(tmp_path / "no.safetensors")
    assert error.value.code == "checkpoint" and "train functionals" in str(error.value)


def test_a_file_gives_back_what_was_saved(shipped, tmp_path):
    shipped.save(tmp_path / "again.safetensors")
    again, (turn,) = FunctionalsRecognizer.load(tmp_path / "again.safetensors"), random_features(1)
    assert again.names == shipped.names and again.classify(turn, None)[0] == shipped.classify(turn, None)[0]


def test_training_learns_moods_of_voices_it_never_heard(tmp_path, capsys):
    voices = {"a": ("train", 110), "b": ("train", 140), "c": ("train", 190), "d": ("train", 230), "e": ("dev", 160)}
    pack = write_corpus(tmp_path / "pack", "EMO-DB", {name: (split, float(hz)) for name, (split, hz) in voices.items()})
    unknown = write_corpus(tmp_path / "other", "A corpus without terms", {"z": ("train", 100.0)}, each=1)
    out = tmp_path / "out"
    command = ["train", "functionals", "--data", str(pack), str(unknown), "--out", str(out), "--json"]
    assert cli.main([*command, "--cache", str(tmp_path / "cache")]) == 0
    log = json.loads(capsys.readouterr().out)
    assert log["clips"] == {"EMO-DB dev": 12, "EMO-DB train": 48}, "only corpora whose authors state terms"
    trained, speaker, right = FunctionalsRecognizer.load(out / "functionals.safetensors"), None, 0
    order = np.random.default_rng(0).permutation([mood for mood in MOODS for _ in range(3)])
    for take, mood in enumerate(order):
        felt, speaker = trained.classify(trained.features(Audio(utterance(str(mood), 175.0, 77 + take), HZ)), speaker)
        right += felt.label == mood
    assert right >= 9, "of 12; chance 1.5"


def test_without_its_corpora_training_says_so(tmp_path, capsys):
    pack = write_corpus(tmp_path / "pack", "My own", {"a": ("train", 110.0)}, each=1)
    assert cli.main(["train", "functionals", "--data", str(pack), "--out", str(tmp_path / "out")]) == 1
    assert "RAVDESS" in capsys.readouterr().err
