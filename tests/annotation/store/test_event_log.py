"""The event log: damage is named, and it reads from anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store_events import join, names

from annotation.store import event_log as log
from annotation.store.event_log import EventLog
from annotation.store.store import Store
from emotion_omni.types import EmotionOmniError

pytest_plugins = ("databases",)


def damaged_log(home: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = home / "log" / "000000.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def test_damage_in_the_middle_of_the_log_is_named(opened: Store, home: Path) -> None:
    for name in ("one", "two", "three"):
        opened.write(lambda transaction, name=name: join(transaction, name))
    damaged_log(home, lambda lines: [lines[0], lines[1].replace(b"two", b"owt"), lines[2]])
    with pytest.raises(EmotionOmniError, match="000000.jsonl, line 2") as caught:
        opened.rebuild()
    assert caught.value.code == "log-damaged"
    assert names(opened) == ["one", "three", "two"]  # what was not rebuilt stays as it was


def test_a_line_missing_from_the_log_is_named(opened: Store, home: Path) -> None:
    for name in ("one", "two", "three"):
        opened.write(lambda transaction, name=name: join(transaction, name))
    damaged_log(home, lambda lines: [lines[0], lines[2]])
    with pytest.raises(EmotionOmniError, match="jumps from 1 to 3"):
        opened.rebuild()


def test_a_log_without_its_beginning_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SEGMENT", 2)
    one = Store(tmp_path)
    for name in ("one", "two", "three"):
        one.write(lambda transaction, name=name: join(transaction, name))
    (tmp_path / "log" / "000000.jsonl").unlink()
    with pytest.raises(EmotionOmniError, match="jumps from 0 to 3"):
        one.rebuild()
    one.close()


def test_a_database_whose_log_is_missing_is_refused(opened: Store, home: Path, store_url: str) -> None:
    opened.write(join)
    shutil.rmtree(home / "log")
    with pytest.raises(EmotionOmniError, match="Restore the folder 'log'") as caught:
        Store(home, store_url)
    assert caught.value.code == "log-missing"


def test_a_log_of_many_segments_reads_in_order_and_can_be_read_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT", 3)
    one = EventLog(tmp_path)
    one.append([{"sequence": number} for number in range(1, 9)])
    assert len(one.segments()) == 3
    for after in range(9):
        assert [event["sequence"] for event in one.read(after)] == list(range(after + 1, 9))


def test_a_new_segment_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sync of the folder, a loss of power may forget a file that was synced."""
    synced: list[Path] = []
    monkeypatch.setattr(log, "sync_folder", synced.append)
    monkeypatch.setattr(log, "SEGMENT", 2)
    one = EventLog(tmp_path)
    for number, expected in ((1, 1), (2, 1), (3, 2)):
        one.append([{"sequence": number}])
        assert synced == [tmp_path] * expected
