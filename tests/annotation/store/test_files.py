"""Files of a studio can be read by their owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_events import add_study, give_rating, join

from annotation.store import event_log, files
from annotation.store.store import Store


@pytest.fixture(autouse=True)
def no_mask() -> Iterator[None]:
    """As on a machine where everybody may read what others write."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(home: Path) -> list[str]:
    return [str(path) for path in [home, *home.rglob("*")] if path.stat().st_mode & 0o077]


def test_all_that_a_store_writes_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "SEGMENT", 3)
    one = Store(tmp_path / "home")
    one.write(add_study)
    rater = one.write(join)
    give_rating(one, rater, "s1-0")
    assert {path.name for path in one.home.iterdir()} >= {"log", "studio.db", "studio.db-wal", "studio.db-shm"}
    assert open_to_others(one.home) == []
    one.withdraw_rater(rater)
    assert open_to_others(one.home) == []
    one.close()


def test_a_file_is_private_before_its_name_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: seen.append(os.fstat(handle).st_mode & 0o777))
    files.replace_file(tmp_path / "file", b"x")
    assert seen[0] == 0o600


def test_what_an_earlier_release_left_open_is_private_after_the_next_start_and_foreign_files_are_not_touched(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    Store(home).close()
    (home / "audio" / "ab").mkdir(parents=True)
    (home / "audio" / "ab" / "sound.flac").write_bytes(b"x")
    (home / "mirror.json").write_text("{}")
    (home / "notes.txt").write_text("not ours")
    for path in [home, *home.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    one = Store(home)
    assert open_to_others(home) == [str(home / "notes.txt")]
    one.close()
