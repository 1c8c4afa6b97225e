"""Saving and loading a folder."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from tiny_checkpoints import (
    HEARS,
    SPEAKS,
    VOICE,
    WORDS,
    about,
    built,
    same,
)

from emotion_omni import checkpoint
from emotion_omni.checkpoint import ABOUT, CARD, CONFIG
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.types import EmotionOmniError


def test_what_was_trained_comes_back_and_nothing_else_is_stored(model, folder):
    loaded, known = checkpoint.load(folder)
    assert same(loaded, model) and not same(loaded, Omni.build(model.config, seed=9))
    assert loaded.config == model.config and known.stages == SPEAKS and known.metrics == {"loss": 1.25}
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, ABOUT, CARD, WORDS, VOICE])
    stored = safetensors.torch.load_file(folder / WORDS) | safetensors.torch.load_file(folder / VOICE)
    assert stored.keys() == model.trained_state_dict().keys() and {value.dtype for value in stored.values()} == {
        torch.float32
    }


def test_before_stage_two_there_is_no_speech_decoder_in_it(model, tmp_path):
    folder = checkpoint.save(tmp_path / "hears", model, about(HEARS), UNDERSTAND)
    loaded, known = checkpoint.load(folder)
    assert known.stages == HEARS and not (folder / VOICE).exists()
    assert same(loaded, model, UNDERSTAND) and not same(loaded, built(seed=2), UNDERSTAND)
    assert "has not learned to speak" in (folder / CARD).read_text()


def test_parts_that_the_stages_do_not_name_are_not_saved(model, tmp_path):
    for stages, parts in ((HEARS, UNDERSTAND + SPEAK), (SPEAKS, UNDERSTAND), (HEARS, ("adapters",))):
        with pytest.raises(EmotionOmniError, match="stages"):
            checkpoint.save(tmp_path / "x", model, about(stages), parts)
    assert list(tmp_path.iterdir()) == []


def test_half_is_half_as_large_and_rounded(model, tmp_path, folder):
    small = checkpoint.save(tmp_path / "half", model, about(), half=True)
    assert (small / VOICE).stat().st_size < 0.6 * (folder / VOICE).stat().st_size
    loaded, _ = checkpoint.load(small)
    assert {value.dtype for value in loaded.trained_state_dict().values()} == {torch.float32}
    assert all(
        torch.equal(value.half().float(), loaded.trained_state_dict()[name])
        for name, value in model.trained_state_dict().items()
    )
    assert checkpoint.identity(small) != checkpoint.identity(folder)


def test_a_weight_that_is_not_finite_is_not_saved_and_the_old_one_stays(folder):
    before = checkpoint.identity(folder)
    for value, half in ((float("nan"), False), (1e6, True)):  # a million is too large for float16
        broken = built(seed=1)
        broken.prototypes[2, 3] = value
        with pytest.raises(EmotionOmniError, match="prototypes.*not finite"):
            checkpoint.save(folder, broken, about(), half=half)
    assert checkpoint.identity(folder) == before and same(checkpoint.load(folder)[0], built(seed=1))


def test_identity_is_that_of_configuration_and_weights_alone(model, folder, tmp_path):
    told_otherwise = checkpoint.save(tmp_path / "a", model, about(name="another", metrics={}, steps=8))
    assert checkpoint.identity(told_otherwise) == checkpoint.identity(folder)
    other_weights = checkpoint.save(tmp_path / "b", built(seed=2), about())
    other_config = checkpoint.save(tmp_path / "c", built(seed=1, emotion_mode="utterance"), about(HEARS), UNDERSTAND)
    same_words = checkpoint.save(tmp_path / "d", model, about(HEARS), UNDERSTAND)
    assert len({checkpoint.identity(one) for one in (folder, other_weights, other_config, same_words)}) == 4


def test_a_folder_of_something_else_is_not_replaced(model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.md").write_text("years of work")
    with pytest.raises(EmotionOmniError, match="would be lost"):
        checkpoint.save(tmp_path / "thesis", model, about())
    assert (tmp_path / "thesis" / "chapter.md").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert checkpoint.check(checkpoint.save(tmp_path / "empty", model, about()))


def test_a_checkpoint_replaced_while_it_is_read_is_read_again(model, folder, monkeypatch):
    build, replaced = Omni.build, []

    other = built(seed=2)

    def slowly(*arguments):
        if not replaced:
            replaced.append(checkpoint.save(folder, other, about(steps=8)))
        return build(*arguments)

    monkeypatch.setattr(Omni, "build", slowly)
    loaded, known = checkpoint.load(folder)
    monkeypatch.undo()
    assert known.steps == 8 and same(loaded, other)
