"""The private copy on the Hub, with the real client and a server that speaks as much of the protocol as it uses."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from hub_server import OTHER, REPO, TOKEN, VOICE, Hub, serving
from huggingface_hub import constants

from annotation.store.event_log import encode
from annotation.store.store import Store
from annotation.sync import repository
from annotation.sync.mirror import ERASING, Mirror
from emotion_omni.types import EmotionOmniError


@pytest.fixture(params=[(".flac",), (), (".flac", ".jsonl")], ids=["sounds-large", "all-in-git", "all-large"])
def server(request, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield from serving(Hub(large=request.param))


@pytest.fixture
def one_server(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield from serving(Hub())


# --- a studio ---------------------------------------------------------------------------------------------------


def sound(home: Path, data: bytes) -> str:
    sha = hashlib.sha256(data).hexdigest()
    (home / "audio" / sha[:2]).mkdir(parents=True, exist_ok=True)
    (home / "audio" / sha[:2] / f"{sha}.flac").write_bytes(data)
    return sha


def opened(home: Path) -> Store:
    """A store with a study of two items, one of them with Ada's voice, and a rater."""
    store = Store(home)

    def begin(transaction) -> None:
        transaction.record("study.created", study="s", settings={"title": "A study"}, state="open", by=None)
        for item, voice, contributor in (("i1", VOICE, "ada"), ("i2", OTHER, None)):
            sha = sound(home, voice)
            content = {
                "clips": {"speech": {"sha": sha, "played": sha, "seconds": 1.0}},
                "texts": {"speech": f"words of {contributor}"},
            }
            transaction.record(
                "items.added",
                study="s",
                items=[
                    {
                        "id": item,
                        "role": "rate",
                        "family": item,
                        "content": content,
                        "expected": None,
                        "contributor": contributor,
                    }
                ],
            )
        transaction.record("rater.joined", rater="r1", name="Grace", role="rater", account=None, cohort="", secret=None)

    store.write(begin)
    return store


def rate(store: Store, number: int) -> None:
    """A whole rating of the second item, any number of times."""
    shared = {"study": "s", "rater": "r1", "item": "i2", "kind": "rate", "assignment": f"a{number}", "flip": 0}

    def give(transaction) -> None:
        transaction.record("assigned", **shared, family="i2", block=0, slot=number, guess=0, leased_until=0.0)
        transaction.record(
            "rated",
            **shared,
            submit=f"u{number}",
            answers={"primary": "sad", "number": number},
            right=None,
            heard={},
            seconds=2.0,
            clicks=[],
            reclaimed=0,
            disagreement=None,
        )

    store.write(give)


def ratings(home: Path) -> list[dict]:
    store = Store(home)
    with store.read() as view:
        found = view.ratings("s")
    store.close()
    return found


def kept(home: Path) -> dict[str, bytes]:
    """The log and the sounds, by path."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for part in ("log", "audio")
        for path in sorted((home / part).rglob("*.*"))
    }


def mirror(home: Path, server: Hub, **options) -> Mirror:
    return Mirror(home, REPO, TOKEN, server.address, **options)


@pytest.fixture(scope="module", autouse=True)
def pattern(tmp_path_factory) -> Path:
    """A closed studio with three ratings, from which the tests' own are copied."""
    home = tmp_path_factory.mktemp("pattern")
    store = opened(home)
    for number in range(3):
        rate(store, number)
    store.close()
    studio.pattern = home
    return home


def studio(home: Path) -> Path:
    shutil.copytree(studio.pattern, home, dirs_exist_ok=True)
    return home


def more(home: Path, *numbers: int) -> None:
    store = Store(home)
    for number in numbers:
        rate(store, number)
    store.close()


def code_of(action) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        action()
    assert TOKEN not in str(caught.value)
    return caught.value.code


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


# --- there and back ---------------------------------------------------------------------------------------------


def test_what_was_pushed_comes_back_byte_for_byte_and_opens_with_the_same_ratings(tmp_path, server):
    here, there = studio(tmp_path / "here"), tmp_path / "there"
    assert mirror(here, server).push()
    assert mirror(there, server).restore() == kept(here)["log/000000.jsonl"].count(b"\n")
    assert kept(there) == kept(here)
    assert ratings(there) == ratings(here)
    assert len(ratings(there)) == 3


def test_the_repository_is_asked_for_as_a_private_dataset_with_a_card_that_says_so(tmp_path, one_server):
    mirror(studio(tmp_path), one_server).push()
    assert one_server.created["visibility"] == "private"
    assert (one_server.created["type"], one_server.created["organization"], one_server.created["name"]) == (
        "dataset",
        "me",
        "ratings",
    )
    assert b"private backup" in one_server.content("README.md")
    assert one_server.content("README.md").startswith(b"---\nviewer: false\n")  # the viewer would make copies


@pytest.mark.parametrize("method", ["push", "restore"])
def test_a_public_repository_is_refused_and_nothing_is_sent(tmp_path, one_server, method):
    one_server.create(private=False)
    assert code_of(getattr(mirror(studio(tmp_path), one_server), method)) == "public-repo"
    assert one_server.sent == []


def test_a_repository_that_becomes_public_later_gets_nothing_more(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    more(tmp_path, 10)
    one_server.private = False
    assert code_of(copy.push) == "public-repo"
    assert len(one_server.sent) == 1


def test_only_what_changed_is_sent(tmp_path, server):
    copy = mirror(studio(tmp_path), server)
    copy.push()
    more(tmp_path, 10)
    sha = sound(tmp_path, b"fLaC a new sound")
    assert copy.push()
    assert sorted(server.sent[-1]) == [f"audio/{sha[:2]}/{sha}.flac", "log/000000.jsonl"]
    assert server.logs() == kept(tmp_path)["log/000000.jsonl"]


def test_pushing_again_sends_nothing_also_after_a_restart_without_memory(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    assert copy.push()
    assert not copy.push()
    assert not mirror(tmp_path, one_server).push()
    (tmp_path / "mirror.json").write_text("not JSON")
    assert not mirror(tmp_path, one_server).push()
    assert len(one_server.sent) == 1


def test_the_memory_of_another_repository_does_not_count(tmp_path, one_server):
    studio(tmp_path)
    mirror(tmp_path, one_server).push()
    remembered = json.loads((tmp_path / "mirror.json").read_text())
    (tmp_path / "mirror.json").write_text(
        json.dumps(remembered | {"repo": "me/other", "head": one_server.commits[-1][0], "files": {}})
    )
    assert not mirror(tmp_path, one_server).push()


def test_files_of_others_in_the_repository_are_left_alone(tmp_path, one_server):
    one_server.create()
    one_server.commit("by hand", one_server.files | {"notes.txt": ("git", b"mine")})
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    withdraw_ada(tmp_path)
    copy.push()
    assert one_server.content("notes.txt") == b"mine"
    assert ".gitattributes" in one_server.files


def test_more_files_than_a_commit_takes_go_in_several(tmp_path, one_server, monkeypatch):
    monkeypatch.setattr(repository, "MOST_OPERATIONS", 2)
    studio(tmp_path)
    mirror(tmp_path, one_server).push()
    assert [len(paths) for paths in one_server.sent] == [2, 2]
    assert mirror(tmp_path / "there", one_server).restore() > 0
    assert kept(tmp_path / "there") == kept(tmp_path)


def test_while_the_studio_writes_each_push_is_a_state_it_was_in(tmp_path, one_server):
    store, copy = opened(tmp_path), mirror(tmp_path, one_server)
    going = threading.Event()
    writer = threading.Thread(target=lambda: [rate(store, number) for number in range(500) if not going.is_set()])
    writer.start()
    try:
        for number in range(3):
            copy.push()
            fresh = tmp_path / f"fresh{number}"
            assert mirror(fresh, one_server).restore() == one_server.logs().count(b"\n")
            assert kept(tmp_path)["log/000000.jsonl"].startswith(one_server.logs())
    finally:
        going.set()
        writer.join()
        store.close()
    assert [row["answers"]["number"] for row in ratings(fresh)] == list(range(len(ratings(fresh))))


def test_a_line_that_is_still_being_written_is_not_sent(tmp_path, one_server):
    path = studio(tmp_path) / "log" / "000000.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:30])
    mirror(tmp_path, one_server).push()
    assert one_server.logs() == whole


def test_an_operation_that_is_partly_written_is_not_sent(tmp_path, one_server):
    path = studio(tmp_path) / "log" / "000000.jsonl"
    whole = path.read_bytes()
    first = {
        "sequence": whole.count(b"\n") + 1,
        "event": "rater.changed",
        "rater": "r1",
        "at": 0.0,
        "name": "Hopper",
        "more": 1,
    }
    path.write_bytes(whole + encode(first))
    copy = mirror(tmp_path, one_server)
    copy.push()
    assert one_server.logs() == whole
    last = {name: value for name, value in first.items() if name != "more"} | {"sequence": first["sequence"] + 1}
    path.write_bytes(whole + encode(first) + encode(last))
    copy.push()
    assert one_server.logs() == path.read_bytes()


# --- those who withdraw -----------------------------------------------------------------------------------------


def withdraw_ada(home: Path) -> None:
    store = Store(home)
    store.withdraw_contributor("ada", ["i1"])
    store.close()


def test_a_withdrawn_voice_is_gone_from_the_repository_and_from_its_past(tmp_path, server):
    copy = mirror(studio(tmp_path), server)
    copy.push()
    assert VOICE in server.everything() and b"words of ada" in server.everything()
    withdraw_ada(tmp_path)
    assert copy.push()
    assert VOICE not in server.everything() and b"words of ada" not in server.everything()
    assert OTHER in server.everything()
    assert {path: server.content(path) for path in server.files if path.startswith(("log", "audio"))} == kept(tmp_path)
    assert ERASING not in server.files
    assert not copy.push()
    assert mirror(tmp_path / "there", server).restore() > 0
    assert len(ratings(tmp_path / "there")) == 3


def test_a_rater_who_withdraws_is_gone_from_the_past_too(tmp_path, server):
    copy = mirror(studio(tmp_path), server)
    copy.push()
    store = Store(tmp_path)
    store.withdraw_rater("r1")
    store.close()
    copy.push()
    assert b"Grace" not in server.everything()
    assert VOICE in server.everything()


def test_sounds_that_were_lost_here_are_not_deleted_there(tmp_path, one_server, caplog):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    shutil.rmtree(tmp_path / "audio")
    assert not copy.push()
    assert VOICE in one_server.everything() and OTHER in one_server.everything()
    assert "2 sounds that items hold are missing here" in caplog.text


def delete_study(home: Path) -> None:
    """With a guest who has rated in no other."""
    store = Store(home)
    store.write(lambda transaction: transaction.record("enrolled", study="s", rater="r1"))
    store.delete_study("s")
    store.close()


def test_a_deleted_study_is_gone_there_too_with_its_guests_and_sounds_and_from_the_past(tmp_path, server):
    copy = mirror(studio(tmp_path), server)
    copy.push()
    delete_study(tmp_path)
    assert copy.push()
    for text in (VOICE, OTHER, b"words of ada", b"A study", b"Grace", b"primary"):
        assert text not in server.everything()
    assert not copy.push()
    assert mirror(tmp_path / "there", server).restore() == server.logs().count(b"\n")
    assert kept(tmp_path / "there") == kept(tmp_path)


def test_withdrawals_after_a_deletion_do_not_contradict_the_mirror(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    delete_study(tmp_path)
    copy.push()
    store = Store(tmp_path)
    store.withdraw_rater("r1")
    store.withdraw_contributor("ada", ["i1"])
    store.close()
    copy.push()
    assert mirror(tmp_path, one_server).restore() == 0
    assert one_server.logs() == kept(tmp_path)["log/000000.jsonl"]


def test_an_old_log_learns_of_a_deletion_from_the_mirror(tmp_path, one_server):
    ahead, behind = studio(tmp_path / "ahead"), tmp_path / "behind"
    shutil.copytree(ahead, behind)
    delete_study(ahead)
    mirror(ahead, one_server).push()
    assert mirror(behind, one_server).restore() == 2
    store = Store(behind)
    with store.read() as view:
        assert view.studies() == [] and view.raters() == []
    store.close()
    for path in behind.rglob("*"):
        assert not path.is_file() or not any(text in path.read_bytes() for text in (VOICE, b"words of ada", b"Grace"))


def test_a_rating_of_a_withdrawn_voice_keeps_no_rater_who_withdraws_later(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    store = Store(tmp_path)
    store.withdraw_contributor("ada", ["i2"])  # the item that r1 has rated
    copy.push()
    assert one_server.logs().count(b'"r1"') == 4  # joined, and three ratings' progress
    store.withdraw_rater("r1")
    store.close()
    copy.push()
    assert one_server.logs().count(b'"r1"') == 1  # the withdrawal
    assert mirror(tmp_path, one_server).restore() == 0


def test_an_event_of_several_items_that_loses_one_does_not_contradict_the_mirror(tmp_path, one_server):
    store = opened(tmp_path)
    voice = {"id": "v", "role": "rate", "family": "v", "content": {"texts": {"speech": "words of Bob"}}}
    rows = [voice | {"contributor": "bob"}, voice | {"id": "w", "content": {}, "contributor": None}]
    store.write(lambda transaction: transaction.record("items.added", study="s", items=rows))
    copy = mirror(tmp_path, one_server)
    copy.push()
    store.withdraw_contributor("bob", ["v"])
    store.close()
    copy.push()
    assert b"words of Bob" not in one_server.everything()
    assert one_server.logs() == kept(tmp_path)["log/000000.jsonl"]


@pytest.mark.parametrize("step", ["super-squash", "lfs-files/batch"])
def test_an_erasure_that_was_cut_short_is_finished_by_the_next_push(tmp_path, one_server, step):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    withdraw_ada(tmp_path)
    one_server.refuse = step
    assert code_of(copy.push) == "mirror"
    assert VOICE in one_server.everything()
    one_server.refuse = ""
    (tmp_path / "mirror.json").unlink()
    assert mirror(tmp_path, one_server).push()
    assert VOICE not in one_server.everything() and b"words of ada" not in one_server.everything()
    assert ERASING not in one_server.files


def test_without_a_withdrawal_the_past_is_kept(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    more(tmp_path, 10, 11)
    copy.push()
    assert [title for _, title, _ in one_server.commits] == ["initial commit", "Backup", "Backup"]


# --- which of two logs ------------------------------------------------------------------------------------------


def test_a_log_that_is_a_beginning_of_the_mirrors_takes_the_rest(tmp_path, one_server):
    ahead, behind = studio(tmp_path / "ahead"), tmp_path / "behind"
    shutil.copytree(ahead, behind)
    more(ahead, 10, 11)
    mirror(ahead, one_server).push()
    assert mirror(behind, one_server).restore() == 4  # two ratings, each assigned and rated
    assert kept(behind) == kept(ahead)
    assert len(ratings(behind)) == 5


def test_a_log_that_has_more_than_the_mirror_is_kept(tmp_path, one_server):
    studio(tmp_path)
    mirror(tmp_path, one_server).push()
    more(tmp_path, 10)
    before = kept(tmp_path)
    assert mirror(tmp_path, one_server).restore() == 0
    assert kept(tmp_path) == before


def test_a_log_whose_withdrawals_the_mirror_lacks_is_kept_and_pushed(tmp_path, one_server):
    studio(tmp_path)
    mirror(tmp_path, one_server).push()
    withdraw_ada(tmp_path)
    before = kept(tmp_path)
    assert mirror(tmp_path, one_server).restore() == 0
    assert kept(tmp_path) == before
    mirror(tmp_path, one_server).push()
    assert b"words of ada" not in one_server.everything()


def test_an_old_log_learns_of_a_withdrawal_from_the_mirror(tmp_path, one_server):
    ahead, behind = studio(tmp_path / "ahead"), tmp_path / "behind"
    shutil.copytree(ahead, behind)
    withdraw_ada(ahead)
    mirror(ahead, one_server).push()
    assert code_of(mirror(behind, one_server).push) == "diverged"
    assert mirror(behind, one_server).restore() == 1
    assert b"words of ada" not in kept(behind)["log/000000.jsonl"]
    store = Store(behind)
    with store.read() as view:
        assert view.item("i1") is None and view.item("i2") is not None
    store.close()


def test_two_logs_that_went_different_ways_are_never_merged_or_overwritten(tmp_path, one_server):
    one, other = studio(tmp_path / "one"), tmp_path / "other"
    shutil.copytree(one, other)
    more(one, 10)
    more(other, 20, 21)
    mirror(one, one_server).push()
    before, there = kept(other), one_server.logs()
    assert code_of(mirror(other, one_server).restore) == "diverged"
    assert code_of(mirror(other, one_server).push) == "diverged"
    assert (kept(other), one_server.logs()) == (before, there)


def test_a_studio_that_began_anew_does_not_overwrite_the_backup_of_the_old_one(tmp_path, one_server):
    mirror(studio(tmp_path / "old"), one_server).push()
    there = one_server.logs()
    anew = opened(tmp_path / "new")
    for number in range(5):
        rate(anew, number)
    anew.close()
    assert code_of(mirror(tmp_path / "new", one_server).push) == "diverged"
    assert one_server.logs() == there


def test_a_log_that_lost_its_end_does_not_shorten_the_backup(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    path = tmp_path / "log" / "000000.jsonl"
    there = path.read_bytes()
    path.write_bytes(b"".join(there.splitlines(keepends=True)[:-2]))
    assert code_of(copy.push) == "diverged"
    path.unlink()
    assert code_of(copy.push) == "diverged"
    assert one_server.logs() == there


def test_a_write_at_the_same_time_is_noticed(tmp_path, one_server, monkeypatch):
    studio(tmp_path)
    mirror(tmp_path, one_server).push()
    more(tmp_path, 10)
    late = mirror(tmp_path, one_server)
    original = late._difference

    def meanwhile(*arguments):
        found = original(*arguments)
        one_server.commit("somebody else", one_server.files)
        return found

    monkeypatch.setattr(late, "_difference", meanwhile)
    assert code_of(late.push) == "mirror"
    monkeypatch.undo()
    assert late.push()


def test_a_push_of_another_studio_between_two_pushes_is_noticed(tmp_path, one_server):
    one, other = studio(tmp_path / "one"), tmp_path / "other"
    copy = mirror(one, one_server)
    copy.push()
    shutil.copytree(one, other)
    more(other, 20, 21)
    mirror(other, one_server).push()
    more(one, 10)
    there = one_server.logs()
    assert code_of(copy.push) == "diverged"
    assert one_server.logs() == there


def test_a_log_of_one_torn_line_is_an_empty_one(tmp_path, one_server):
    mirror(studio(tmp_path / "here"), one_server).push()
    there = tmp_path / "there"
    (there / "log").mkdir(parents=True)
    (there / "log" / "000000.jsonl").write_bytes(b'0123abcd {"sequ')
    assert mirror(there, one_server).restore() > 0
    assert kept(there) == kept(tmp_path / "here")


def test_an_operation_over_two_segments_survives_a_withdrawal_from_the_first(tmp_path, one_server):
    studio(tmp_path)
    first, second = tmp_path / "log" / "000000.jsonl", tmp_path / "log" / "000001.jsonl"
    count = first.read_bytes().count(b"\n")
    part = {"event": "rater.changed", "rater": "r1", "at": 0.0, "name": "Hopper"}
    first.write_bytes(first.read_bytes() + encode(part | {"sequence": count + 1, "more": 1}))
    second.write_bytes(encode(part | {"sequence": count + 2}))
    copy = mirror(tmp_path, one_server)
    copy.push()
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(encode({"sequence": 1, "event": "erased"}) + b"".join(lines[1:]))
    assert copy.push()
    assert one_server.logs() == first.read_bytes() + second.read_bytes()


# --- whole or not at all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["audio/", "log/"])
def test_a_damaged_backup_changes_nothing_here(tmp_path, one_server, part):
    mirror(studio(tmp_path / "here"), one_server).push()
    path = next(path for path in one_server.files if path.startswith(part))
    kind, held = one_server.files[path]
    if kind == "large":
        one_server.objects[held.decode()] = one_server.objects[held.decode()][:-1] + b"?"
    else:
        one_server.files[path] = (kind, held.replace(b'"sad"', b'"mad"'))
    assert code_of(mirror(tmp_path / "there", one_server).restore) == "mirror-damaged"
    assert list((tmp_path / "there").iterdir()) == []


def test_a_backup_with_a_missing_segment_is_damaged(tmp_path, one_server):
    mirror(studio(tmp_path / "here"), one_server).push()
    one_server.files["log/000001.jsonl"] = one_server.files.pop("log/000000.jsonl")
    assert code_of(mirror(tmp_path / "there", one_server).restore) == "mirror-damaged"


def test_a_restore_that_was_killed_leaves_nothing_in_the_way(tmp_path, one_server):
    mirror(studio(tmp_path / "here"), one_server).push()
    there = tmp_path / "there"
    (there / "restoring" / "log").mkdir(parents=True)
    (there / "restoring" / "log" / "000007.jsonl").write_bytes(b"half\n")
    assert mirror(there, one_server).restore() > 0
    assert kept(there) == kept(tmp_path / "here")
    assert not (there / "restoring").exists()
    os.replace(there / "log", there / "log.before")  # killed between the two renames
    assert mirror(there, one_server).restore() == 0
    assert kept(there) == kept(tmp_path / "here")


# --- when the Hub is away ---------------------------------------------------------------------------------------


def test_without_the_hub_an_empty_studio_does_not_start_but_one_with_a_log_does(tmp_path, one_server):
    one_server.refuse = "/api/"
    assert code_of(mirror(tmp_path / "empty", one_server).restore) == "mirror"
    (tmp_path / "torn" / "log").mkdir(parents=True)
    (tmp_path / "torn" / "log" / "000000.jsonl").write_bytes(b"0123abcd")
    assert code_of(mirror(tmp_path / "torn", one_server).restore) == "mirror"
    copy = mirror(studio(tmp_path / "full"), one_server)
    assert copy.restore() == 0
    assert "500" in copy.status()["last_error"]


def test_a_server_that_is_down_shows_in_the_status_and_is_tried_until_it_is_back(tmp_path, one_server):
    one_server.refuse = "/api/"
    copy = mirror(studio(tmp_path), one_server, every_seconds=0.2)
    copy.start()
    until(lambda: copy.status()["last_error"])
    status = copy.status()
    assert (status["pending"], status["last_success"], status["running"]) == (True, None, True)
    assert REPO in status["last_error"]
    one_server.refuse = ""
    until(lambda: not copy.status()["pending"])
    status = copy.status()
    copy.stop()
    assert status["last_error"] is None and status["last_success"] == pytest.approx(time.time(), abs=20)
    assert one_server.logs() == kept(tmp_path)["log/000000.jsonl"]
    assert mirror(tmp_path, one_server).status()["last_success"] == status["last_success"]  # remembered


def test_nothing_listens_there_and_nothing_is_raised(tmp_path):
    copy = Mirror(studio(tmp_path), REPO, TOKEN, "http://127.0.0.1:9", every_seconds=0.1)
    copy.start()
    until(lambda: copy.status()["last_error"])
    copy.stop()
    assert not copy.status()["running"]


def test_tries_grow_rarer_while_the_server_stays_down(tmp_path, one_server):
    one_server.refuse = "/api/"
    copy = mirror(studio(tmp_path), one_server, every_seconds=8.0)
    assert [copy._push_if_needed() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 64, 64]
    one_server.refuse = ""
    assert copy._push_if_needed() == 8
    assert copy._push_if_needed() == 8 and len(one_server.sent) == 1


def test_what_changes_is_pushed_when_its_time_comes_at_a_flush_and_at_the_end(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server, every_seconds=0.2)
    copy.start()
    until(lambda: not copy.status()["pending"])
    more(tmp_path, 10)
    until(lambda: one_server.logs().count(b'"rated"') == 4)
    copy.stop()
    copy = mirror(tmp_path, one_server, every_seconds=3600.0)
    copy.start()
    until(lambda: not copy.status()["pending"])
    more(tmp_path, 11)
    assert copy.status()["pending"]
    copy.flush()
    until(lambda: one_server.logs().count(b'"rated"') == 5)
    until(lambda: not copy.status()["pending"])
    more(tmp_path, 12)
    copy.stop()
    assert one_server.logs().count(b'"rated"') == 6


def test_a_sound_that_comes_or_goes_is_a_change_too(tmp_path, one_server):
    copy = mirror(studio(tmp_path), one_server)
    copy.push()
    assert not copy.status()["pending"]
    sound(tmp_path, b"fLaC more")
    assert copy.status()["pending"]


# --- settings and secrets ---------------------------------------------------------------------------------------


def test_the_token_is_in_no_log_record_and_no_error(tmp_path, one_server, caplog):
    caplog.set_level(logging.DEBUG)
    copy = mirror(studio(tmp_path), one_server, every_seconds=0.1)
    copy.push()
    one_server.refuse = "/api/"
    more(tmp_path, 10)
    copy.start()
    until(lambda: copy.status()["last_error"])
    copy.stop()
    assert "Next try" in caplog.text
    assert TOKEN not in caplog.text + str(copy.status()) + repr(copy) + (tmp_path / "mirror.json").read_text()
    assert TOKEN.encode() not in one_server.everything()


def test_a_client_that_names_the_token_in_its_error_is_not_quoted(tmp_path, one_server, monkeypatch):
    copy = mirror(studio(tmp_path), one_server)

    def careless(*_, **__):
        raise ValueError(f"Illegal header value 'Bearer {TOKEN}'")

    monkeypatch.setattr(copy.repository.api, "repo_info", careless)
    with pytest.raises(EmotionOmniError) as caught:
        copy.push()
    assert "Illegal header value" in str(caught.value) and TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_wrong_token_is_refused_in_words(tmp_path, one_server):
    one_server.create()
    assert code_of(Mirror(studio(tmp_path), REPO, "hf_wrong", one_server.address).push) == "mirror"
    assert one_server.sent == []


def test_settings_that_cannot_be_right_are_refused_without_showing_the_token(tmp_path):
    for repo, token in (("ratings", TOKEN), ("me/../ratings", TOKEN), (REPO, TOKEN + "\n"), (REPO, TOKEN + "é")):
        assert code_of(lambda repo=repo, token=token: Mirror(tmp_path, repo, token)) == "bad-setting"


def test_the_mirror_is_set_by_the_environment(tmp_path, monkeypatch):
    for name in ("STUDIO_REPO", "HF_TOKEN", "STUDIO_HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert Mirror.from_environment(tmp_path) is None
    monkeypatch.setenv("STUDIO_REPO", REPO)
    assert code_of(lambda: Mirror.from_environment(tmp_path)) == "bad-setting"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert Mirror.from_environment(tmp_path).status()["repo"] == REPO
