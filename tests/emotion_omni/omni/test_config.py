"""The settings: to JSON and back, and what they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch
from omni_parts import TINY

from emotion_omni.omni import adapters, speech_decoder
from emotion_omni.omni.adapters import AudioAdapters
from emotion_omni.omni.config import PRESETS, OmniConfig
from emotion_omni.omni.speech_decoder import SpeechDecoder
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_its_json(name):
    config = OmniConfig.preset(name)
    assert OmniConfig.from_json(config.to_json()) == config


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    settings = json.loads(TINY.to_json())
    settings["speech"]["layrs"] = 3
    with pytest.raises(EmotionOmniError, match=r"'speech\.layrs'.*mean 'layers'"):
        OmniConfig.from_json(json.dumps(settings))
    with pytest.raises(EmotionOmniError, match="mean 'paper'"):
        OmniConfig.preset("papr")


@pytest.mark.parametrize(
    ("where", "setting", "value"),
    [
        ("speech", "width", 64),
        ("speech", "heads", 3),
        ("speech", "heads", 32),
        ("speech", "layers", 0),
        ("speech", "layers", True),
        ("speech", "chunked_probability", 1.5),
        ("speech", "adaptive_norm", "twice"),
        ("emotion", "hz", 100),
        ("adapter", "stack", "5"),
        ("head", "mse_weight", -0.1),
        ("head", "dropout", float("nan")),
        ("lora", "target_modules", []),
        (None, "fusion", "add"),
    ],
)
def test_contradictions_and_wrong_types_are_refused_by_name(where, setting, value):
    settings = json.loads(TINY.to_json())
    (settings[where] if where else settings)[setting] = value
    with pytest.raises(EmotionOmniError, match=rf"(?i)\b{setting}\b.*must be") as error:
        OmniConfig.from_json(json.dumps(settings))
    assert error.value.code == "config"


@pytest.mark.parametrize("text", ["{", "[]", '{"fusion": "concat"}'])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(EmotionOmniError, match="JSON|object|missing"):
        OmniConfig.from_json(text)


def test_the_special_tokens_follow_the_codes():
    speech = OmniConfig.preset("paper").speech
    assert (
        speech.codebook_size,
        speech.bos_token_id,
        speech.sos_token_id,
        speech.eos_token_id,
        speech.pad_token_id,
        speech.vocab_size,
    ) == (
        6561,
        *range(6561, 6566),
    )


def test_the_configuration_needs_no_torch():
    code = "import sys, emotion_omni.omni.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_documented_sizes_are_those_of_the_paper():
    for module, part_of in ((adapters, AudioAdapters), (speech_decoder, SpeechDecoder)):
        (documented,) = re.findall(r"(\d+(?:_\d{3})+)\s+parameters", module.__doc__)
        with torch.device("meta"):
            assert sum(parameter.numel() for parameter in part_of(OmniConfig.preset("paper")).parameters()) == int(
                documented
            )
