"""What a checkpoint records about itself."""

from __future__ import annotations

import types

import pytest
import transformers
from tiny_checkpoints import (
    HEARS,
    about,
    refused,
    told,
)

from emotion_omni import checkpoint
from emotion_omni.checkpoint import ABOUT, CONFIG
from emotion_omni.omni import language_model
from emotion_omni.omni.config import OmniConfig
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize(
    "change",
    [
        {"stages": []},
        {"stages": ["speak"]},
        {"stages": ["understand"]},
        {"stages": "speak"},
        {"stages": None},
        {"created": "yesterday"},
        {"created": "2026-01-31T12:00:00"},
        {"created": 5},
        {"parent": "mine"},
        {"parent": 3},
        {"steps": -1},
        {"steps": True},
        {"seed": "0"},
        {"metrics": {"loss": float("nan")}},
        {"metrics": {"loss": "low"}},
        {"metrics": [1]},
        {"data": [{"name": "x"}]},
        {"files": []},
        {"data": [{"name": "x", "sha256": "short", "rows": 1}]},
        {"base_models": {"emotion": 3}},
        {"base_models": []},
        {"files": {}},
        {"licence": "mit\nlicense: evil"},
        {"name": "a" * 5000},
        {"name": "\ud800"},
        {"name": "\u202e gnp.exe"},
        {"version": ""},
        {"files": {CONFIG: {"sha256": "x", "bytes": 1}}},
        {"trained_by": "me"},
        {"name": None},
        {"name": "x" * (2 << 20)},
    ],
)
def test_an_about_that_makes_no_sense_is_refused(folder, change):
    refused(told(folder, **change))


def test_an_unknown_key_is_named_with_the_nearest_known(folder):
    assert "Did you mean 'licence'" in refused(told(folder, license="mit"))


def test_an_about_of_brackets_or_bytes_is_refused(folder):
    for data in (b"[" * 100_000, b"", b"\xff\xfe", b"null", b'{"name": "a"}'):
        (folder / ABOUT).write_bytes(data)
        assert ABOUT in refused(folder)


def test_a_checkpoint_records_its_base_models_with_their_revisions(tmp_path):
    trained = types.SimpleNamespace(config=OmniConfig.preset("paper"), trained_state_dict=lambda parts: {})
    folder = checkpoint.save(tmp_path / "paper", trained, about(HEARS, base_models={}))
    assert checkpoint.read_about(folder).base_models == {
        "semantic": "openai/whisper-large-v3@06f233fe06e710322aca913c1bc4249a0d71fce1",
        "emotion": "iic/emotion2vec_base@unpinned",
        "language_model": "Qwen/Qwen2.5-7B-Instruct@a09a35458c702b33eeacc393d103063234e8bc28",
    }
    small = checkpoint.base_models(OmniConfig.preset("small"))
    assert set(small.values()) == {"embedded"}, "parts of this package, which pins them"


def test_base_models_are_loaded_at_their_revision(monkeypatch):
    asked = []

    def from_pretrained(name, revision, **_):
        asked.append((name, revision))
        raise OSError("not in a test")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    paper = OmniConfig.preset("paper")
    with pytest.raises(EmotionOmniError, match="cannot be loaded"):
        language_model.load(paper.language_model, paper.lora)
    assert asked == [("Qwen/Qwen2.5-7B-Instruct", "a09a35458c702b33eeacc393d103063234e8bc28")]
