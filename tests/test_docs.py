"""The README tells the truth: its code runs, its tree is the tree, its commands exist."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from annotation import __main__ as annotation_cli
from emotion_omni import cli

ROOT = Path(__file__).parents[1]
CODE = (
    "emotion_omni",
    "emotion_omni/embedded",
    "emotion_omni/omni",
    "emotion_omni/hub",
    "emotion_omni/train",
    "emotion_omni/evaluate",
    "annotation",
    "annotation/ui",
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert "sad" in capsys.readouterr().out


def test_the_tree_names_every_module_and_nothing_else():
    tree = README.split("## The house")[1].split("```")[1]
    named = set(re.findall(r"(\w+\.py)", tree))
    files = {path.name for folder in CODE for path in (ROOT / folder).glob("*.py")}
    assert named - {"app.py"} == files - {"__init__.py", "__main__.py"}


def test_every_command_and_option_exists():
    for program, words in re.findall(r"python -m (emotion_omni|annotation) ([^\n|#`]*)", README):
        parser = cli.parser() if program == "emotion_omni" else annotation_cli.parser()
        for word in words.split():
            groups = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
            if not groups:
                break
            assert word in groups[0], words
            parser = groups[0][word]
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(re.findall(r"--\w[\w-]*", words)) <= known, words


def test_pictures_and_links_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_requirements_hold_no_weights_and_no_gpl():
    names = re.findall(r"^([\w.-]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    assert not {
        "kokoro-onnx",
        "phonemizer",
        "piper-tts",
        "faster-whisper",
        "av",
        "torchaudio",
        "opensmile",
        "cosyvoice",
    } & set(names)


def test_the_repository_names_no_machine():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not files:
        pytest.skip("not a git checkout")
    for name in files:
        if name.endswith((".py", ".md", ".toml", ".txt", ".json", ".css", ".yml")) and name != "tests/test_docs.py":
            text = (ROOT / name).read_text(encoding="utf-8")
            assert "/work/" not in text and "/tmp/" + "x" not in text and "/tmp/" + "y" not in text, name
