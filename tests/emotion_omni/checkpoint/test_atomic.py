"""A save that is killed leaves the old checkpoint or the new one, whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_omni
from tiny_checkpoints import (
    ROOT,
)

from emotion_omni.checkpoint import atomic

KILLED = """
import dataclasses, os, signal, sys
from pathlib import Path
from emotion_omni import checkpoint
from emotion_omni.checkpoint import atomic
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import Omni

# audit events that Python raises before it acts
EVENTS = ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree", "ctypes.dlsym")
folder, pattern = Path(sys.argv[1]) / "best", checkpoint.read_about(sys.argv[2])
old, new = (Omni.build(OmniConfig.preset("tiny"), seed=seed) for seed in (1, 2))

def save(model):
    checkpoint.save(folder, model, dataclasses.replace(pattern, steps=1 if model is old else 2))
    return checkpoint.identity(folder)

def killed_before(number):
    def hook(event, arguments):
        nonlocal number
        if event in EVENTS:
            number -= 1
            if number < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        save(new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status

def steps_of_what_is_there(way):
    about, _ = checkpoint.check(folder)
    assert checkpoint.identity(folder) == {1: identities[1], 2: identities[0]}[about.steps]
    assert folder.is_dir() or way == "two renames"
    return str(about.steps)

for way in ("exchange", "two renames"):
    if way == "two renames":
        atomic.exchange = lambda one, other: False  # as on a file system that cannot
    identities, found, status = [save(new), save(old)], "", 1
    while status:
        status = killed_before(len(found))
        found += steps_of_what_is_there(way)
        if found[-1] == "2":
            save(old)
    print(found, sorted(os.listdir(folder.parent)), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to be killed often")
def test_killed_anywhere_a_save_leaves_the_old_one_or_the_new_one_whole(tmp_path, pattern):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, pattern], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines()[-2:]:
        found, left = line.split(" ", 1)
        assert re.fullmatch("1{20,}2{2,}", found), line  # of each moment a digit: the old one, then the new one
        assert left == "['.best.lock', 'best']"  # what those killed had left is gone


def can_exchange(folder: Path) -> bool:
    for name in ("one", "other"):
        (folder / name).mkdir()
        (folder / name / f"{name}.txt").touch()
    swapped = atomic.exchange(folder / "one", folder / "other")
    assert (folder / "one" / ("other.txt" if swapped else "one.txt")).exists()
    return swapped


def test_folders_change_places_in_one_step_where_the_system_can(tmp_path):
    assert can_exchange(tmp_path) or not sys.platform.startswith("linux")


def test_all_files_are_flushed_to_the_disk_before_a_checkpoint_takes_its_place(tmp_path, monkeypatch):
    flushed, put = [], atomic._put
    monkeypatch.setattr(atomic, "_flush", lambda path: flushed.append(path.name))

    def look(new, folder, old):
        assert set(flushed) == {*(path.name for path in new.iterdir()), new.name}
        put(new, folder, old)

    monkeypatch.setattr(atomic, "_put", look)
    tiny_omni.save(tmp_path / "mine")
    assert flushed[-1] == tmp_path.name, "and the folder it lies in afterwards"
