"""The family of checkpoints: children beside their parents, and the commands that make it."""

from __future__ import annotations

import json
import re

import pytest

from emotion_omni import cli
from emotion_omni.checkpoint import lineage, promotion
from emotion_omni.evaluate import family_tree, gate


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path / "home"))


def made(tmp_path, content, parent=lineage.SHIPPED):
    folder = tmp_path / f"trained-{content}"
    folder.mkdir()
    (folder / "guard.safetensors").write_text(content)
    (folder / "data.tsv").write_text("good\tyes\n")
    return folder, lineage.record(folder, "train guard <b>", [folder / "data.tsv"], parent).identity


def test_children_stand_right_of_their_parents(tmp_path):
    one, first = made(tmp_path, "1")
    two, second = made(tmp_path, "2", first)
    three, _ = made(tmp_path, "3", first)
    four, _ = made(tmp_path, "4", second)
    for folder in (one, two, three, four):
        promotion.put(folder, "mine", "embedded", {"crisis recall": 0.5})
    members = family_tree.read()
    assert family_tree.places(members) == {0: (1, 0), 1: (2, 0), 3: (3, 0), 2: (2, 1)}
    page = family_tree.page(members)
    assert page.count("<rect") == 5 and page.count("<path") == 4 and "train guard &lt;b&gt;" in page
    assert not re.search(r"<script|<b>|src=", page) and members[-1].is_current and "1 rows" in page


def test_no_family_yet(capsys):
    assert "checkpoint promote" in family_tree.page([])
    assert cli.main(["checkpoint", "tree"]) == 0


def test_the_commands(tmp_path, monkeypatch, capsys):
    folder, _ = made(tmp_path, "1")
    (folder / lineage.LINEAGE).unlink()
    promote = ["checkpoint", "promote", str(folder), "--as", "mine", "--json"]
    assert cli.main(promote) == 1 and "checkpoint record" in capsys.readouterr().err
    recorded = ["checkpoint", "record", str(folder), "--method", "by hand", "--data", str(folder / "data.tsv")]
    assert cli.main(recorded) == 0
    report = {
        "engine": "child",
        "parent": "embedded",
        "suite": "quick",
        "created": "2026-01-01",
        "measures": [],
        "machine": dict.fromkeys(("processor", "cores", "memory_gib", "system", "python"), "?"),
        "versions": {},
        "identities": {},
        "guard_level": 0.99,
    }
    verdicts = [gate.Verdict(report, ("voice, is heard: 0.1",), ()), gate.Verdict(report, (), ())]
    monkeypatch.setattr(gate, "check", lambda *_: verdicts.pop(0))
    capsys.readouterr()
    assert cli.main(promote) == 1
    refused = json.loads(capsys.readouterr().out)
    assert refused["error"]["code"] == "gate" and "voice, is heard" in refused["error"]["message"]
    assert promotion.listed() == []
    assert cli.main(promote) == 0
    assert json.loads(capsys.readouterr().out)["version"] == promotion.get("mine").current
    assert cli.main(["checkpoint", "rollback", "mine"]) == 1
    assert cli.main(["checkpoint", "tree", "--out", str(tmp_path / "tree.html")]) == 0
    assert "by hand" in (tmp_path / "tree.html").read_text()


def test_an_engine_is_evaluated_from_the_shell(tmp_path, capsys):
    arguments = ["evaluate", "fake", "--against", "fake", "--only", "conflict", "--only", "recognition"]
    monkey = [*arguments, "--data", "", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert cli.main(monkey) == 0
    printed = capsys.readouterr().out
    assert "asks" in printed and "not run: recognition: it needs labelled recordings" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["engine"] == report["parent"] == "fake" and (tmp_path / "out" / "report.html").is_file()
    assert cli.main(["evaluate", "--list"]) == 0 and "tone-swap" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--against", "fake"], ["--only", "conflict"], ["--study", "x"]], ids=["against", "only", "study"]
)
def test_without_an_engine_there_is_nothing_to_compare(tmp_path, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "--out", str(tmp_path), *arguments])
    assert ended.value.code == 2 and "evaluate ENGINE" in capsys.readouterr().err
