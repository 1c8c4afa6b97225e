"""Hostile or damaged folders are refused."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import safetensors.torch
import torch
from tiny_checkpoints import (
    VOICE,
    WORDS,
    refused,
    rewritten,
    told,
)

from emotion_omni.checkpoint import ABOUT, CARD, CONFIG
from emotion_omni.omni.model import Omni


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "notes.txt", CARD, "a\\b", ABOUT])
def test_a_file_that_is_none_of_ours_is_never_touched(folder, name):
    files = json.loads((folder / ABOUT).read_text())["files"]
    assert "files" in refused(told(folder, files=files | {name: files[CONFIG]}))


def test_every_damage_is_refused_before_the_model_is_built(folder, pattern, monkeypatch):
    monkeypatch.setattr(Omni, "build", lambda *_: pytest.fail("it was built"))
    for name in (CONFIG, WORDS, VOICE):
        whole = (pattern / name).read_bytes()
        for damage in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
            (folder / name).write_bytes(damage)
            assert name in refused(folder)
        (folder / name).unlink()
        assert name in refused(folder)
        (folder / name).write_bytes(whole)
    (folder / ABOUT).unlink()
    assert ABOUT in refused(folder)


@pytest.mark.parametrize("name", [WORDS, VOICE])
def test_tensors_cut_short_are_refused_even_where_the_hash_was_changed_too(folder, name):
    whole = (folder / name).read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        assert "not whole" in refused(rewritten(folder, name, whole[:size]))


def test_tensors_of_another_name_shape_kind_or_value_are_refused(folder, pattern):
    tensors = safetensors.torch.load_file(pattern / WORDS)
    name = next(iter(tensors))
    first = tensors[name]
    wrong = {
        "has|lacks": {one: value for one, value in tensors.items() if one != name},
        "should not have": tensors | {"language_model.lm_head.weight": first.clone()},
        "speech_decoder": tensors | safetensors.torch.load_file(pattern / VOICE),
        re.escape(str([*first.shape, 1])): tensors | {name: first[..., None].contiguous()},
        "floats": tensors | {name: first.to(torch.int64)},
        "finite": tensors | {name: torch.full_like(first, torch.nan)},
    }
    for words, changed in wrong.items():
        assert re.search(words, refused(rewritten(folder, WORDS, safetensors.torch.save(changed)))), words


def test_swapped_files_are_refused(folder):
    words, voice = (folder / WORDS).read_bytes(), (folder / VOICE).read_bytes()
    rewritten(folder, WORDS, voice)
    assert "not of this model" in refused(rewritten(folder, VOICE, words))


def test_weights_of_another_size_of_model_are_refused(folder, model):
    config = dataclasses.replace(model.config, adapter=dataclasses.replace(model.config.adapter, hidden=48))
    assert "by its config" in refused(rewritten(folder, CONFIG, config.to_json().encode()))


@pytest.mark.parametrize(
    "text", ['{"semantic": 1}', "[]", "null", "not json", "[" * 100_000, '{"fuson": "concat"}', "\xff", "9" * 5000]
)
def test_a_configuration_that_makes_no_sense_is_refused(folder, text):
    assert CONFIG in refused(rewritten(folder, CONFIG, text.encode("latin-1")))


def test_an_unknown_setting_is_refused_by_name(folder, model):
    config = json.loads(model.config.to_json()) | {"trust_remote_code": True}
    assert "trust_remote_code" in refused(rewritten(folder, CONFIG, json.dumps(config).encode()))
