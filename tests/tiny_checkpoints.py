"""Tiny random checkpoints, and what the tests do to them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml

from emotion_omni import checkpoint
from emotion_omni.checkpoint import ABOUT, About
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.types import EmotionOmniError

HEARS, SPEAKS = ("understand",), ("understand", "speak")
WORDS, VOICE = "understand.safetensors", "speak.safetensors"
ROOT = Path(__file__).parents[1]


def about(stages: tuple[str, ...] = SPEAKS, **changes) -> About:
    known = {
        "name": "small one",
        "stages": stages,
        "created": "2026-01-31T12:00:00+00:00",
        "parent": None,
        "data": [{"name": "talks.jsonl", "sha256": "a" * 64, "rows": 40}],
        "base_models": {
            "semantic": "openai/whisper-large-v3@" + "b" * 40,
            "emotion": "iic/emotion2vec_base",
            "language_model": "random",
        },
        "steps": 7,
        "metrics": {"loss": 1.25},
        "seed": 3,
        "version": "0.1.0",
        "licence": "cc-by-nc-4.0",
    }
    return About(**known | changes)


def built(seed: int, **changes) -> Omni:
    model = Omni.build(dataclasses.replace(OmniConfig.preset("tiny"), **changes), seed=seed)
    with torch.no_grad():
        model.prototypes.normal_(generator=torch.Generator().manual_seed(seed))
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(generator=torch.Generator().manual_seed(seed))
    return model


def refused(source, code: str = "checkpoint") -> str:
    with pytest.raises(EmotionOmniError) as caught:
        checkpoint.load(source)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def same(one: Omni, other: Omni, parts=UNDERSTAND + SPEAK) -> bool:
    ours, theirs = one.trained_state_dict(parts), other.trained_state_dict(parts)
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def rewritten(folder: Path, name: str, data: bytes) -> Path:
    """As an attacker would: the bytes are changed, and the hash of them beside."""
    (folder / name).write_bytes(data)
    told = json.loads((folder / ABOUT).read_text())
    told["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / ABOUT).write_text(json.dumps(told))
    return folder


def told(folder: Path, **changes) -> Path:
    (folder / ABOUT).write_text(json.dumps(json.loads((folder / ABOUT).read_text()) | changes))
    return folder


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])
