"""The folder of a studio's sounds."""

from __future__ import annotations

from pathlib import Path

from conftest import tone

from annotation.study.clips import Clips


def test_a_file_that_another_process_renames_meanwhile_is_no_fault(tmp_path, monkeypatch) -> None:
    clips = Clips(tmp_path)
    clips.add(tone(0.5))
    going = tmp_path / "ab" / f"{'ab' * 32}.flac.1.new"
    found = [*tmp_path.glob("??/*.flac*"), going]  # listed, but no longer there
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(found))
    assert clips.keep_only([]) == 0
