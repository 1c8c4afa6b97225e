"""What is left of people after they have taken back what they gave. Every byte below the home folder is searched."""

from __future__ import annotations

import uuid
from typing import Any

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Person, Target, expect, filled, tone
from annotation.study import lifecycle


def mark() -> str:
    """A word that stands nowhere else."""
    return "zq" + uuid.uuid4().hex


def noted(target: Target, study: str, name: str, note: str) -> Person:
    """A rater with a name who has left a note with a rating."""
    person = target.guest(name)
    target.enrolled(study, person)
    screen = person.next(study)
    answer = person.rate(screen, values=filled(screen) | {"note": note})
    expect(answer.status_code == 200, f"the rating was refused: {answer.text[:200]}")
    return person


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
    lifecycle.delete(target.studio.store, target.studio.clips, study)
    nothing_left(target, note, words, title)


@attack("After a study was deleted, a guest who only rated there can still erase the name.")
def withdrawal_after_deletion(target: Target) -> None:
    study, name, note = target.study(), mark(), mark()
    person = noted(target, study, name, note)
    lifecycle.delete(target.studio.store, target.studio.clips, study)
    expect(person.post("withdraw").status_code == 200, "the withdrawal was refused")
    nothing_left(target, name, note)


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
    lifecycle.delete(target.studio.store, target.studio.clips, study)
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
    nothing_left(target, note)


@attack("Files of the studio can be read by their owner alone.")
def files_for_everybody(target: Target) -> None:
    noted(target, target.study(), "Quentin", mark())
    open_: list[Any] = [
        (str(path.relative_to(target.home)), oct(path.stat().st_mode & 0o777))
        for path in target.home.rglob("*")
        if path.stat().st_mode & 0o077 and path.name != "server.txt"
    ]
    expect(not open_, f"{len(open_)} files or folders are open to others, such as {open_[:3]}")
