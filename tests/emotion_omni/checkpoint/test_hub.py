"""Pushing and pulling."""

from __future__ import annotations

import json
import logging
import shutil

from hub_server import REPO, TOKEN
from model_hub import failing
from tiny_checkpoints import (
    HEARS,
    VOICE,
    WORDS,
    about,
    built,
    same,
)

from emotion_omni import checkpoint
from emotion_omni.checkpoint import ABOUT, CARD, CONFIG
from emotion_omni.omni.model import UNDERSTAND


def test_what_was_pushed_is_pulled_and_loads_the_same(hub, folder, home, model):
    (folder / "notes.txt").write_text("mine alone")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    where = checkpoint.push("mine", REPO)
    repo, _, commit = where.partition("@")
    assert repo == REPO and commit == hub.commits[-1][0] and len(hub.sent) == 1
    assert hub.private and hub.created["visibility"] == "private" and hub.created.get("type", "model") == "model"
    assert set(hub.files) == {".gitattributes", CONFIG, ABOUT, CARD, WORDS, VOICE}
    assert f"--checkpoint {REPO} --out" in hub.content(CARD).decode()
    shutil.rmtree(folder)
    loaded, known = checkpoint.load(REPO)
    pulled = home / f"me--ratings@{commit[:12]}"
    assert same(loaded, model) and known == checkpoint.read_about(pulled)
    assert checkpoint.origin(pulled)["commit"] == commit and [one.name for one in checkpoint.listed()] == [pulled.name]
    assert same(checkpoint.load(pulled.name)[0], model) and not any(path.is_symlink() for path in pulled.iterdir())


def test_a_revision_is_a_commit_for_good(hub, folder, home, model):
    first = checkpoint.push(folder, REPO).partition("@")[2]
    checkpoint.save(folder, built(seed=2), about(HEARS, steps=8), UNDERSTAND)
    checkpoint.push(folder, REPO)
    assert VOICE not in hub.files  # what the new one lacks is gone
    assert checkpoint.load(f"{REPO}@{first}")[1].steps == 7 and checkpoint.load(f"{REPO}@main")[1].steps == 8
    assert same(checkpoint.load(f"{REPO}@{first}")[0], model)
    assert len([path for path in home.iterdir() if path.name.startswith("me--")]) == 2


def test_what_is_here_needs_no_hub(hub, folder, model, caplog):
    where = checkpoint.push(folder, REPO)
    pulled = checkpoint.pull(REPO)
    away = "http://127.0.0.1:9"
    assert checkpoint.pull(*where.split("@"), endpoint=away) == pulled
    with caplog.at_level(logging.WARNING):
        assert checkpoint.pull(REPO, endpoint=away) == pulled
    assert "pulled last" in caplog.text
    assert failing(lambda: checkpoint.pull(REPO, "main", away))[0] == "network"  # that may be another commit by now
    assert failing(lambda: checkpoint.pull("me/other", None, away))[0] == "network"
    hub.refuse = "api"
    assert failing(lambda: checkpoint.pull(REPO))[0] == "hub"


def test_a_pulled_one_that_was_damaged_is_fetched_again(hub, folder, model):
    checkpoint.push(folder, REPO)
    pulled = checkpoint.pull(REPO)
    (pulled / CONFIG).unlink()
    assert checkpoint.pull(REPO) == pulled and same(checkpoint.load(pulled)[0], model)


def test_hostile_repositories_are_refused_and_leave_nothing(hub, folder, home):
    checkpoint.push(folder, REPO)
    files = dict(hub.files)
    path = json.loads(hub.content(ABOUT)) | {"files": {"../../x": {"sha256": "a" * 64, "bytes": 1}}}
    lies = {
        "other hash": files | {CONFIG: ("git", b"{}")},
        "no config": {name: held for name, held in files.items() if name != CONFIG},
        "a path": files | {ABOUT: ("git", json.dumps(path).encode())},
    }
    for name, held in lies.items():
        hub.commit(name, held | {"payload.py": ("git", b"import os"), "pytorch_model.bin": ("git", b"x")})
        assert failing(lambda: checkpoint.load(REPO))[0] == "checkpoint", name
    assert [path.name for path in home.iterdir() if not path.name.startswith(".")] == ["mine"]
    assert not list(home.rglob("payload.py")) and not list((home.parents[1] / "cache").rglob("payload.py"))


def test_a_public_repository_takes_nothing_private(hub, folder):
    hub.create(private=False)
    assert failing(lambda: checkpoint.push(folder, REPO))[0] == "public-repo" and hub.sent == []
    checkpoint.push(folder, REPO, private=False)
    assert len(hub.sent) == 1


def test_the_token_comes_from_the_environment_and_is_never_shown(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong" + TOKEN)
    assert failing(lambda: checkpoint.push(folder, REPO))[0] == "hub"
    monkeypatch.delenv("HF_TOKEN")
    code, message = failing(lambda: checkpoint.push(folder, REPO))
    assert code == "hub" and "HF_TOKEN" in message and not hub.exists


def test_a_damaged_checkpoint_or_a_wrong_name_is_not_pushed(hub, folder):
    for repo in ("ratings", "me/../ratings", "me/rat ings", "/ratings", "me/"):
        assert failing(lambda repo=repo: checkpoint.push(folder, repo))[0] == "checkpoint"
    for revision in ("../main", "a b", "-x", ""):
        assert failing(lambda revision=revision: checkpoint.pull(REPO, revision))[0] == "checkpoint"
    (folder / WORDS).write_bytes(b"x")
    assert failing(lambda: checkpoint.push(folder, REPO))[0] == "checkpoint" and not hub.exists


def test_an_edited_card_is_pushed_as_it_is_and_a_link_is_not_followed(hub, folder, tmp_path):
    (folder / CARD).write_text("---\nlicense: mit\n---\nBetter words.")
    checkpoint.push(folder, REPO)
    assert b"Better words" in hub.content(CARD)
    (tmp_path / "secret").write_text("-----BEGIN PRIVATE KEY-----")
    (folder / CARD).unlink()
    (folder / CARD).symlink_to(tmp_path / "secret")
    checkpoint.push(folder, REPO)
    assert b"PRIVATE KEY" not in hub.everything() and b"# small one" in hub.content(CARD)
