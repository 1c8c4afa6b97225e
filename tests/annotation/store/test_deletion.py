"""Deleting a study erases what was in it, and the guests who were in no other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import raters
from store_events import add_study, bytes_of, die, dies, give_rating, item, join, names, skip

from annotation.store.store import Store
from annotation.store.transaction import Transaction

pytest_plugins = ("databases",)

SECRET, TITLE, WORDS, NAME = "Xylophonia-Quintessenz", "Title-of-the-study", "Words-of-a-voice", "Guest-of-one-study"
SOUND = b"fLaC a voice"


def sound_of(home: Path) -> Path:
    sha = hashlib.sha256(SOUND).hexdigest()
    return home / "audio" / sha[:2] / f"{sha}.flac"


def voiced(name: str, home: Path) -> dict:
    """An item with words and a sound."""
    path = sound_of(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SOUND)
    clip = {"sha": path.stem, "played": path.stem, "seconds": 1.0}
    return item(name) | {"content": {"clips": {"speech": clip}, "texts": {"speech": WORDS}}}


def with_a_study(one: Store, home: Path) -> dict[str, str]:
    """A study "s1" with a guest of its own, a member with an account, and a guest who is also in "s2"."""
    one.write(lambda transaction: (add_study(transaction, 2, "s1"), add_study(transaction, 2, "s2")))
    one.write(lambda transaction: transaction.record("study.changed", study="s1", settings={"title": TITLE}))
    one.write(lambda transaction: transaction.record("items.added", study="s1", items=[voiced("voice", home)]))
    people = {who: one.write(lambda transaction, who=who: join(transaction, who)) for who in (NAME, "both", "idle")}
    member = {"name": "member", "role": "rater", "account": "local:member", "cohort": "", "secret": "x"}
    one.write(lambda transaction: transaction.record("rater.joined", rater="rm", **member))
    people["member"] = "rm"
    for rater in (people[NAME], people["both"], "rm"):
        give_rating(one, rater, "s1-0", SECRET)
        skip(one, rater, "s1-1")
    give_rating(one, people["both"], "s2-0", "kept", "s2")
    return people


def test_nothing_of_a_deleted_study_is_left_in_any_file_and_others_keep_theirs(opened: Store, home: Path) -> None:
    people = with_a_study(opened, home)
    for text in (SECRET, TITLE, WORDS, NAME):
        assert text.encode() in bytes_of(home)
    assert opened.delete_study("s1") == [people[NAME]]
    for text in (SECRET, TITLE, WORDS, NAME):
        assert text.encode() not in bytes_of(home)
    assert not sound_of(home).exists()
    assert not any(text in row for rows in raters.tables_of(opened).values() for row in rows for text in (SECRET, NAME))
    assert names(opened) == ["both", "idle", "member"]
    with opened.read() as view:
        assert [row["answers"]["note"] for row in view.ratings("s2")] == ["kept"] and view.skips("s1") == []


def test_a_rebuild_after_a_deletion_gives_the_same(opened: Store, home: Path) -> None:
    with_a_study(opened, home)
    opened.delete_study("s1")
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before
    assert SECRET.encode() not in bytes_of(home)


def test_withdrawing_and_taking_back_after_a_deletion_leave_nothing_either(opened: Store, home: Path) -> None:
    people = with_a_study(opened, home)
    opened.delete_study("s1")
    opened.withdraw_rater(people["both"])
    opened.withdraw_contributor("code", ["voice"])
    log = b"".join(path.read_bytes() for path in (home / "log").iterdir())
    assert log.count(people["both"].encode()) == 1  # the withdrawal
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before


def test_a_study_of_the_same_name_begins_anew(opened: Store, home: Path) -> None:
    with_a_study(opened, home)
    opened.delete_study("s1")
    opened.write(lambda transaction: add_study(transaction, 1, "s1"))
    opened.withdraw_rater(opened.write(join))  # another's erasing must not take it
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before
    with opened.read() as view:
        assert [row["id"] for row in view.items("s1")] == ["s1-0"]


def test_a_sound_that_another_study_needs_stays(opened: Store, home: Path) -> None:
    with_a_study(opened, home)
    opened.write(lambda transaction: transaction.record("items.added", study="s2", items=[voiced("also", home)]))
    opened.delete_study("s1")
    assert sound_of(home).exists()
    opened.delete_study("s2")
    assert not sound_of(home).exists()


@pytest.mark.parametrize("step", ["requested", "delete_sounds", "replace_file", "os.replace"])
def test_an_erasure_that_is_killed_is_finished_at_the_next_start(
    home: Path, store_url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the log is read, before and after the sounds are gone, and with a new segment half in place."""

    def act(one: Store) -> None:
        with_a_study(one, home)
        places = {"replace_file": "event_log.replace_file", "os.replace": "files.os.replace"}
        monkeypatch.setattr(f"annotation.store.{places.get(step, f'store.{step}')}", die)
        one.delete_study("s1")

    dies(home, store_url, act)
    assert SECRET.encode() in bytes_of(home)
    one = Store(home, store_url)
    assert not any(text.encode() in bytes_of(home) for text in (SECRET, TITLE, WORDS, NAME))
    assert not sound_of(home).exists() and not list(home.rglob("*.new"))
    one.close()


def test_what_release_0_1_had_kept_of_a_deleted_study_is_erased_when_it_is_opened(home: Path, store_url: str) -> None:
    """It deleted the rows only."""
    one = Store(home, store_url)
    people = with_a_study(one, home)

    def as_before(transaction: Transaction) -> None:
        transaction.record("study.deleted", study="s1")
        transaction.finish_erasure(transaction.sequence)
        transaction.connection.exec_driver_sql("DROP TABLE skips")
        transaction.connection.exec_driver_sql("UPDATE version SET number = 3")

    one.write(as_before)
    one.close()
    assert SECRET.encode() in bytes_of(home)
    one = Store(home, store_url)
    assert not any(text.encode() in bytes_of(home) for text in (SECRET, TITLE, WORDS))
    with one.read() as view:
        assert view.rater(people[NAME]) and view.skips("s1") == []
    before = raters.tables_of(one)
    one.rebuild()
    assert raters.tables_of(one) == before
    one.close()


def test_a_rating_of_a_withdrawn_voice_keeps_no_rater_who_withdraws_later(opened: Store, home: Path) -> None:
    opened.write(lambda transaction: add_study(transaction, 3, "s1", contributor="code-1"))
    first, second = (opened.write(join) for _ in range(2))
    for rater in (first, second):
        give_rating(opened, rater, "s1-0")
        give_rating(opened, rater, "s1-1")
    opened.withdraw_contributor("code-1", ["s1-0"])
    opened.withdraw_rater(first)
    opened.withdraw_rater(second, "s1")
    events = list(opened.log.read())
    found = [(event["event"], event["rater"]) for event in events if event.get("rater") in (first, second)]
    assert found == [("rater.joined", second), ("rater.withdrawn", first), ("rater.withdrawn", second)]
    before = raters.tables_of(opened)
    opened.rebuild()
    assert raters.tables_of(opened) == before
