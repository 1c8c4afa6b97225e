"""Finding and listing checkpoints."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tiny_omni
import torch
from tiny_checkpoints import (
    HEARS,
    ROOT,
    WORDS,
    about,
    refused,
    same,
    told,
)

from emotion_omni import checkpoint
from emotion_omni.checkpoint import CONFIG
from emotion_omni.omni.model import UNDERSTAND


def test_a_pickle_is_refused_by_name_and_never_opened(home, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    old = home / "old"
    old.mkdir(parents=True)
    torch.save({"adapters": Bomb()}, old / "pytorch_model.bin")
    for source in (old, "old", old / "pytorch_model.bin", str(old / "pytorch_model.bin")):
        assert "pytorch_model.bin" in refused(source) or "pickle" in refused(source)
    assert "pytorch_model.bin, a pickle" in refused(old)
    assert not (tmp_path / "exploded").exists()


def test_what_is_not_there_is_said_with_what_is(folder):
    assert "Did you mean 'mine'" in refused("mien")
    for source in ("..", "../mine", "a/b/c", "", "http://x/y", "me/om ni", Path("me/omni")):
        refused(source)


def test_the_newest_is_listed_first_and_loads_by_name(model, folder, home):
    for name, created in (("older", "2025-06-01T00:00:00+00:00"), ("newest", "2026-02-01T00:00:00Z")):
        checkpoint.save(home / name, model, about(HEARS, created=created))
    found = checkpoint.listed()
    assert [one.name for one in found] == ["newest", "mine", "older"] and found[1].about == checkpoint.read_about(
        folder
    )
    assert same(checkpoint.load("older")[0], model, UNDERSTAND)


def test_broken_ones_are_not_listed_and_the_log_says_why(folder, home, caplog):
    for name, damage in (
        ("cut", lambda one: (one / WORDS).write_bytes(b"x")),
        ("strange", lambda one: told(one, stages=["sing"])),
        ("gone", lambda one: (one / CONFIG).unlink()),
    ):
        damage(Path(shutil.copytree(folder, home / name)))
    (home / "empty").mkdir()
    (home / ".hidden").mkdir()
    (home / "file.txt").touch()
    with caplog.at_level(logging.WARNING):
        assert [one.name for one in checkpoint.listed()] == ["mine"]
    for name in ("cut", "strange", "gone", "empty"):
        assert re.search(f"Not listed: .*{name}", caplog.text), name
    assert ".hidden" not in caplog.text


def test_nothing_is_listed_where_there_is_no_folder(home):
    assert checkpoint.listed() == [] and not home.exists()


def test_listing_and_describing_need_no_torch(folder):
    code = (
        "import sys; from emotion_omni import checkpoint as c; (one,) = c.listed(); "
        "c.check(one.folder); c.identity('mine'); "
        "c.card(one.about); c.preload(c.check(one.folder)[1]); "
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules), 'heavy'; "
        "print(one.name, one.about.steps)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "mine 7", done.stderr


def test_the_folder_of_a_run_stands_for_its_best_checkpoint(tmp_path):
    best = tiny_omni.save(tmp_path / "run" / "best")
    assert checkpoint.find(tmp_path / "run") == checkpoint.find(str(tmp_path / "run")) == best
