"""A checkpoint, a home for it, a hub and the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import hub_server
import pytest
from hub_server import TOKEN, Hub
from huggingface_hub import constants
from model_hub import models
from tiny_checkpoints import (
    about,
    built,
)

from emotion_omni import checkpoint, cli
from emotion_omni.omni.model import Omni


@pytest.fixture(scope="session")
def model() -> Omni:
    return built(seed=1)


@pytest.fixture(scope="session")
def pattern(model, tmp_path_factory) -> Path:
    """A whole checkpoint, from which the tests' own are copied."""
    return checkpoint.save(tmp_path_factory.mktemp("pattern") / "whole", model, about())


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "checkpoints"


@pytest.fixture
def folder(pattern, home) -> Path:
    return Path(shutil.copytree(pattern, home / "mine"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_server, "handler", models)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for served in hub_server.serving(Hub(large=(".safetensors",))):
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield served


@pytest.fixture
def run(capsys):
    def call(*arguments: str) -> tuple[int, list[dict]]:
        status = cli.main(["checkpoint", *arguments, "--json"])
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call
