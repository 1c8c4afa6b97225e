"""The command."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import REPO
from tiny_checkpoints import (
    VOICE,
    WORDS,
)

from emotion_omni import checkpoint
from emotion_omni.checkpoint import ABOUT, CONFIG


def test_the_command_lists_shows_sends_and_fetches(run, hub, folder, home):
    assert run("list")[1][0]["checkpoint"] == "mine"
    status, (shown,) = run("show", "mine")
    assert (
        status == 0
        and shown["identity"] == checkpoint.identity(folder)
        and shown["about"]["files"].keys() == {CONFIG, WORDS, VOICE}
    )
    status, (sent,) = run("push", "mine", "--repo", REPO)
    assert status == 0 and sent["hub"] == f"{REPO}@{hub.commits[-1][0]}" and sent["private"] is True
    status, (fetched,) = run("pull", sent["hub"])
    assert status == 0 and Path(fetched["folder"]).parent == home
    (line,) = run("preload", REPO)[1][0]["preload_from_hub"]
    repo, files, commit = line.split()
    assert f"{repo}@{commit}" == sent["hub"] and set(files.split(",")) == {CONFIG, WORDS, VOICE, ABOUT}


def test_the_command_says_what_is_missing(run, folder):
    for arguments in (("show",), ("push", "mine")):
        with pytest.raises(SystemExit) as wrong:
            run(*arguments)
        assert wrong.value.code == 2
    status, (row,) = run("show", "yours")
    assert status == 1 and row["error"]["code"] == "checkpoint"
