"""The documentation is true: code runs, every file is named, commands and links exist, and it is short enough."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from annotation import __main__ as annotation_cli
from emotion_omni import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
READMES = sorted([*ROOT.glob("*.md"), *ROOT.glob("emotion_omni/**/*.md"), *ROOT.glob("annotation/**/*.md")])
FOLDERS = sorted(
    {path.parent for package in ("emotion_omni", "annotation") for path in (ROOT / package).rglob("*.py")}
    - {ROOT / "annotation"}
)
LONGEST_README = 200  # lines


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_python_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert "sad" in capsys.readouterr().out


def test_the_readme_is_short():
    assert len(README.splitlines()) <= LONGEST_README


def test_the_readmes_tree_names_every_folder():
    tree = README.split("## The house")[1].split("```")[1]
    for package in ("emotion_omni", "annotation"):
        for folder in (ROOT / package).iterdir():
            if (folder / "__init__.py").exists():
                assert f"  {folder.name}/" in tree, folder


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folders_readme_names_each_of_its_files(folder):
    """The page of a folder without one is that of the folder above it."""
    page = next(place / "README.md" for place in (folder, *folder.parents) if (place / "README.md").exists())
    named = set(re.findall(r"(\w+\.py)\b", page.read_text(encoding="utf-8")))
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert files <= named, f"{name(page)} does not name {sorted(files - named)}"


@pytest.mark.parametrize("page", READMES, ids=name)
def test_a_readme_names_no_file_that_is_not_there(page):
    named = set(re.findall(r"(\w+\.py)\b", page.read_text(encoding="utf-8")))
    there = {path.name for folder in ("emotion_omni", "annotation", "tests") for path in (ROOT / folder).rglob("*.py")}
    assert named <= there | {"app.py"}, f"{name(page)} names {sorted(named - there)}"


@pytest.mark.parametrize("page", READMES, ids=name)
def test_every_command_and_option_exists(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for program, line in re.findall(r"-m (emotion_omni|annotation) ([^\n|#`]+)", text):
        parser = cli.parser() if program == "emotion_omni" else annotation_cli.parser()
        words = shlex.split(line.replace("…", ""), comments=True)
        while words and not words[0].startswith("-") and not words[0].isupper():  # WHAT stands for any command
            action = next(
                (one for one in parser._actions if hasattr(one, "choices") and isinstance(one.choices, dict)), None
            )
            if action is None:
                break
            assert words[0] in action.choices, f"{name(page)}: {program} {line}"
            parser = action.choices[words.pop(0)]
        known = {option for action in parser._actions for option in action.option_strings}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, f"{name(page)}: {program} {line}: {sorted(asked - known)}"


@pytest.mark.parametrize("page", READMES, ids=name)
def test_pictures_and_links_exist(page):
    for target in re.findall(r"\]\((?!http|#)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


REPORTS = [
    ROOT / "emotion_omni" / "evaluate" / "weights",
    ROOT / "emotion_omni" / "evaluate" / "results",
    ROOT / "annotation" / "bench" / "results",
]
FIGURE = re.compile(r"(\d+(?:\.(\d+))?)( %)?<!--(\S+) (\S+)-->")  # a number, its report, where it stands in it


@pytest.mark.parametrize("page", READMES, ids=name)
def test_a_figure_is_that_of_its_report(page):
    text = page.read_text(encoding="utf-8")
    assert len(FIGURE.findall(text)) == len(re.findall(r"<!--\S+ \S+-->", text)), (
        f"{name(page)}: a mark without a number"
    )
    for shown, digits, percent, report, place in FIGURE.findall(text):
        (file,) = [folder / f"{report}.json" for folder in REPORTS if (folder / f"{report}.json").exists()]
        value = json.loads(file.read_text(encoding="utf-8"))
        for key in place.split("/"):
            value = value[int(key)] if isinstance(value, list) else value[key]
        value = 100 * value if percent else value
        assert abs(value - float(shown)) <= 0.5 * 10 ** -len(digits) + 1e-9, (
            f"{name(page)}: {shown} is {value} in {report}"
        )


def test_the_main_figures_are_read_from_reports():
    assert len(FIGURE.findall(README)) >= 8


def test_requirements_hold_no_weights_and_no_gpl():
    names = re.findall(r"^([\w.-]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    refused = {"kokoro-onnx", "phonemizer", "piper-tts", "faster-whisper", "av", "torchaudio", "opensmile", "cosyvoice"}
    assert not refused & set(names)


def test_the_repository_names_no_machine():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not files:
        pytest.skip("not a git checkout")
    for file in files:
        if file.endswith((".py", ".md", ".toml", ".txt", ".json", ".css", ".yml")) and file != "tests/test_docs.py":
            text = (ROOT / file).read_text(encoding="utf-8")
            assert "/work/" not in text and "/tmp/" + "x" not in text and "/tmp/" + "y" not in text, file
