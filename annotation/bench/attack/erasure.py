"""What is left of people after they have taken back what they gave. Every byte below the home folder is searched."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from annotation.bench.attack.forgery import exported
from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Person, Target, expect, filled, started, tone
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.rules import Study

LONGEST_WAIT_SECONDS = 3.0  # attacks run beside each other; SQLite alone would wait for 30
PATIENCE = 10.0  # seconds within which the write-ahead log is emptied after a long reader
KILLED = """
import os, pathlib, signal, sys
from annotation.studio import Studio
from annotation.store import files

studio = Studio.open(pathlib.Path(sys.argv[1]))
files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
studio.delete_study("doomed")
"""  # a program of its own: the new segment is written, but not yet in place


def mark() -> str:
    """A word that stands nowhere else."""
    return "zq" + uuid.uuid4().hex


def noted(target: Target, study: str, name: str, note: str) -> Person:
    """A rater with a name who has left a note with a rating."""
    person = target.guest(name)
    noted_again(target, study, person, note)
    return person


def noted_again(target: Target, study: str, person: Person, note: str = "") -> None:
    target.enrolled(study, person)
    screen = person.next(study)
    answer = person.rate(screen, values=filled(screen) | {"note": note})
    expect(answer.status_code == 200, f"the rating was refused: {answer.text[:200]}")


def spoken(target: Target, study: str, words: str) -> tuple[str, str]:
    """An item with a transcript, as a contributor gives it → its code and the hash of its sound."""
    code = uuid.uuid4().hex
    clip = target.studio.clips.add(tone(0.5, 300 + int(code[:2], 16)))
    row = {"role": "rate", "content": {"clips": {"speech": clip}, "texts": {"speech": words}}, "contributor": code}
    lifecycle.add_items(target.studio.store, study, [row])
    return code, clip["sha"]


def nothing_left(target: Target, *texts: str) -> None:
    found = target.bytes_holding(*texts)
    expect(not found, f"still there: {found}")


@attack("Who withdraws altogether leaves neither name nor note in any file.")
def withdrawal_leaves_traces(target: Target) -> None:
    name, note = mark(), mark()
    person = noted(target, target.study(), name, note)
    expect(bool(target.bytes_holding(note)), "nothing was stored, so nothing was tested")
    expect(person.post("withdraw").status_code == 200, "the withdrawal was refused")
    nothing_left(target, name, note)


@attack("Who withdraws from one study leaves no note of it in any file.")
def withdrawal_from_one_study_leaves_traces(target: Target) -> None:
    study, note = target.study(), mark()
    person = noted(target, study, "Nina", note)
    expect(person.post("withdraw", study=study).status_code == 200, "the withdrawal was refused")
    nothing_left(target, note)


@attack("A study that was deleted leaves no note, title or transcript in any file.")
def deletion_leaves_traces(target: Target) -> None:
    note, words, title = mark(), mark(), mark()
    study = target.study(title=title)
    spoken(target, study, words)
    noted(target, study, "Otto", note)
    target.studio.delete_study(study)
    nothing_left(target, note, words, title)


@attack("After a study was deleted, the name of a guest who only rated there is gone, or can still be erased.")
def withdrawal_after_deletion(target: Target) -> None:
    study, name, note = target.study(), mark(), mark()
    person = noted(target, study, name, note)
    target.studio.delete_study(study)
    status = person.post("withdraw").status_code
    expect(status in (200, 401), f"withdrawing afterwards is answered with {status}")  # 401: nobody of that login
    nothing_left(target, name, note)


@attack("Deleting a study erases the guests who only rated there, and nobody else.")
def guests_of_a_deleted_study(target: Target) -> None:
    study, other, only, both = target.study(), target.study(), mark(), mark()
    noted(target, study, only, mark())
    person = noted(target, study, both, mark())
    noted_again(target, other, person)
    target.studio.delete_study(study)
    nothing_left(target, only)
    expect(bool(target.bytes_holding(both)), "a guest who has rated in another study is gone as well")
    expect(len(target.ratings(other)) == 1, "a rating of another study is gone")


@attack("The sounds of a deleted study are gone, and those that another study needs are not.")
def sounds_of_a_deleted_study(target: Target) -> None:
    study, other = target.study(items=0), target.study(items=0)
    clips = [target.studio.clips.add(tone(0.5, 500 + int(mark()[2:5], 16))) for _ in range(2)]
    for name, held in ((study, clips), (other, clips[1:])):
        rows = [{"role": "rate", "content": {"clips": {"speech": clip}, "texts": {}}} for clip in held]
        lifecycle.add_items(target.studio.store, name, rows)
    target.studio.delete_study(study)
    there = [target.studio.clips.path(clip[form]).exists() for clip in clips for form in ("sha", "played")]
    expect(there == [False, False, True, True], f"which sounds are there: {there}")


@attack("An export that is made after a withdrawal, and one asked for after a deletion, hold nothing of it.")
def exports_made_later(target: Target) -> None:
    study, note, left = target.study(seconds=0.47), mark(), mark()  # sounds that no other attack deletes
    person = noted(target, study, "Rita", note)
    noted(target, study, "Stays", left)
    researcher = target.invited("researcher")
    expect(person.post("withdraw").status_code == 200, "the withdrawal was refused")
    archive = researcher.get(f"export/{study}.zip")
    expect(archive.status_code == 200, f"the export failed: {archive.text[:200]}")
    expect(exported(archive.content, left), "the notes of others are not in it, so nothing was tested")
    expect(not exported(archive.content, note), "the note of a rater who has withdrawn is in a later export")
    target.studio.delete_study(study)
    status = researcher.get(f"export/{study}.zip").status_code
    expect(status == 404, f"the export of a deleted study is answered with {status}")
    nothing_left(target, note, left)


@attack("Copies of the log that a restore has left behind are gone after the next start.")
def copies_left_by_a_restore(target: Target) -> None:
    """A restore that is killed at its end leaves the log that it has replaced, and what it had fetched."""
    note = mark()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        Studio.open(home).close()
        for name in ("log.before", "restoring/log"):
            (home / name).mkdir(parents=True)
            (home / name / "000000.jsonl").write_text(note)
        with started(home):
            found = target.bytes_holding(note, folder=home)
    expect(not found, f"still there: {found}")


@attack("An erasure that is killed in its middle is finished at the next start, with half-written files and sounds.")
def a_killed_erasure(target: Target) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, words, title = Path(folder) / "home", mark(), mark()
        studio = Studio.open(home)
        clip = studio.clips.add(tone(0.5))
        row = {"role": "rate", "content": {"clips": {"speech": clip}, "texts": {"speech": words}}}
        rules = Study.read({"title": title, "template": "emotion-recognition"})
        lifecycle.create(studio.store, studio.clips, rules, [row], study="doomed")
        studio.close()
        killed = subprocess.run([sys.executable, "-c", KILLED, str(home)], capture_output=True, text=True, check=False)
        expect(killed.returncode == -signal.SIGKILL, f"it was not killed: {killed.stderr[-300:]}")
        expect(bool(target.bytes_holding(words, folder=home)), "all was erased already, so nothing was tested")
        Studio.open(home).close()
        found = target.bytes_holding(words, title, folder=home)
        expect(not found, f"still there: {found}")
        left = [path.name for path in home.rglob("*") if path.name.endswith(".new") or path.stem == clip["sha"]]
        expect(not left, f"half-written files and sounds are left: {left}")


@attack("A voice that is taken back leaves neither transcript nor sound.")
def a_voice_taken_back_leaves_traces(target: Target) -> None:
    study, words = target.study(), mark()
    code, sha = spoken(target, study, words)
    expect(target.person().post("take-back", code=code).status_code == 200, "taking back was refused")
    nothing_left(target, words)
    expect(not target.studio.clips.path(sha).exists(), "the sound is still there")


@attack("A voice can be taken back after its study was deleted, and leaves no transcript.")
def a_voice_taken_back_after_deletion(target: Target) -> None:
    study, words = target.study(), mark()
    code, _ = spoken(target, study, words)
    target.studio.delete_study(study)
    target.person().post("take-back", code=code)  # nothing may be left of it by now, so it may also say not-found
    nothing_left(target, words, code)


@attack("A withdrawal under a long reader leaves nothing in the write-ahead log once the reader ends.")
def withdrawal_under_a_long_reader(target: Target) -> None:
    note = mark()
    person = noted(target, target.study(), "Paula", note)
    with target.studio.store.read() as view:  # of another process than the app: a backup, a long export
        view.studies()
        answer = person.post("withdraw")
    expect(answer.status_code == 200, f"the withdrawal was refused: {answer.text[:200]}")
    noted(target, target.study(), "Later", mark())  # life goes on
    until = time.monotonic() + PATIENCE
    while target.bytes_holding(note) and time.monotonic() < until:
        time.sleep(0.2)
    nothing_left(target, note)


@attack("While a long reader is at work, a withdrawal makes no other rater wait.")
def waiting_for_a_withdrawal(target: Target) -> None:
    study = target.study()
    person, other = noted(target, study, "Paul", mark()), target.enrolled(study)
    with target.studio.store.read() as view:
        view.studies()
        leaving = threading.Thread(target=lambda: person.post("withdraw"))
        leaving.start()
        longest = 0.0
        while leaving.is_alive():
            began = time.perf_counter()
            expect("assignment" in other.next(study), "the other rater gets nothing to rate")
            longest = max(longest, time.perf_counter() - began)
            time.sleep(0.05)  # slower than the rate limit
        leaving.join()
    expect(longest < LONGEST_WAIT_SECONDS, f"another rater waits {longest:.1f} s")


@attack("Files of the studio can be read by their owner alone.")
def files_for_everybody(target: Target) -> None:
    noted(target, target.study(), "Quentin", mark())
    open_: list[Any] = [
        (str(path.relative_to(target.home)), oct(path.stat().st_mode & 0o777))
        for path in target.home.rglob("*")
        if path.stat().st_mode & 0o077
    ]
    expect(not open_, f"{len(open_)} files or folders are open to others, such as {open_[:3]}")
