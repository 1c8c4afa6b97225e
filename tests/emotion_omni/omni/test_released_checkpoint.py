"""A checkpoint that release 0.1.0 has written: it opens under today's names and gives the same answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from emotion_omni import checkpoint
from emotion_omni.omni.config import OmniConfig, SpeechSampling, TextSampling
from emotion_omni.omni.generation import ReplyGenerator
from emotion_omni.omni.model import Omni, Query

RELEASED = Path(__file__).parents[2] / "data" / "checkpoint-0.1.0"
TEXT = "M<xL.9ȇ''[!e"
# fmt: off
TEXT_IDS = (253, 44, 27, 87, 110, 115, 124, 157, 43, 214, 13, 115, 237, 24, 189, 132, 229, 6, 6, 142, 172, 58, 0, 68)
SPEECH = (
    41, 55, 51, 37, 25, 47, 17, 10, 61, 45, 24, 61, 33, 51, 33, 11, 24, 14, 10, 21, 60, 7, 36, 33, 10, 6, 15, 19, 10,
    21, 24, 34, 32, 23, 3, 17, 28, 22, 36, 55, 41, 11, 28, 23, 10, 49, 20, 59, 11, 23, 44, 21, 48, 36, 6, 14, 23, 60,
    31, 25, 15, 45, 54, 35, 32, 49, 62, 4, 55, 36,
)
# fmt: on


@pytest.fixture(scope="module")
def model() -> Omni:
    return checkpoint.load(RELEASED)[0]


def query() -> Query:
    generator, lengths = torch.Generator().manual_seed(0), torch.tensor([40])
    semantic, emotion = (torch.randn(1, 40, 8, generator=generator) for _ in range(2))
    return Query(semantic, lengths, emotion, lengths)


def test_it_gives_the_tokens_that_the_release_gave(model):
    sampling = TextSampling(max_new_tokens=24), SpeechSampling(max_tokens_per_text_token=3, max_extra_tokens=5)
    (reply,) = ReplyGenerator(model, *sampling).generate(query(), [model.prompt_builder.prompt()], [7])
    assert (reply.ids, reply.text, reply.speech) == (TEXT_IDS, TEXT, SPEECH)
    assert model.emotion_label(reply.emotions[0]) == "happy"


def test_its_settings_have_todays_names():
    text = (RELEASED / "config.json").read_text()
    config = OmniConfig.from_json(text)
    for old in ("targets", "squared_weight", "rotary_base", "codes", "chunked_share", "extra_predictions", "units"):
        assert f'"{old}"' in text and f'"{old}"' not in config.to_json()
    assert (config.speech.mtp_layers, config.speech.codebook_size, config.voice) == (1, 64, "codec")
    assert config.lora.target_modules == ("q_proj", "down_proj")
    assert OmniConfig.from_json(config.to_json()) == config


def test_saved_again_it_has_the_same_tensors_under_the_same_names(model, tmp_path):
    about = checkpoint.read_about(RELEASED)
    again = checkpoint.save(tmp_path / "again", model, about, half=True)
    for name in ("understand.safetensors", "speak.safetensors"):
        assert (again / name).read_bytes() == (RELEASED / name).read_bytes()


def test_it_is_listed_and_named_by_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path))
    shutil.copytree(RELEASED, tmp_path / "checkpoints" / "released")
    assert [each.name for each in checkpoint.listed()] == ["released"]
    assert checkpoint.identity("released") == checkpoint.identity(RELEASED)
