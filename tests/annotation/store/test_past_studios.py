"""Studios of past releases still open: their databases, event logs, logins and invites.

The fixtures in ``tests/data/studio-0.1`` were made with the code of release 0.1, by the ``make.py`` beside them.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import raters
from sign_in import refused

from annotation.people.logins import COOKIE
from annotation.people.people import People
from annotation.people.signing_key import pseudonym
from annotation.store.migrations import MIGRATIONS
from annotation.store.store import Store
from annotation.studio import Studio

DATA = Path(__file__).parents[2] / "data" / "studio-0.1"
EXPECTED = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))


def unpack(name: str, home: Path) -> Path:
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(home)
    return home


def old_invite(people: People, name: str) -> str:
    """A rater's link as release 0.1 signed it."""
    content = {"id": name, "role": "rater", "study": None, "cohort": "", "name": "Cy"}
    return people.invites._serializer.dumps(content)


def as_released(ratings: list[dict]) -> list[dict]:
    """Ratings with what release 0.1 showed of them: without the time at which the item was handed out."""
    return [{name: value for name, value in row.items() if name != "handed"} for row in ratings]


def rows_on_disk(home: Path) -> dict[str, list[tuple]]:
    """All rows, read without our code."""
    with sqlite3.connect(home / "studio.db") as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return unpack("home", tmp_path / "home")


@pytest.fixture
def studio(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("STUDIO_SECRET", "the-key-of-the-fixture")
    with raters.opened(home, clock=raters.Clock()) as opened:
        yield opened


@pytest.fixture
def expected() -> dict[str, Any]:
    return EXPECTED["home"]


def test_a_studio_of_release_0_1_opens_with_every_row_unchanged(home: Path) -> None:
    before, log = rows_on_disk(home), (home / "log" / "000000.jsonl").read_bytes()
    Store(home).close()
    after = rows_on_disk(home)
    assert after.pop("version") == [(len(MIGRATIONS),)] and before.pop("version") == [(2,)]
    assert {name: rows for name, rows in after.items() if name in before} == before
    assert {name for name, rows in after.items() if rows} - before.keys() == {"skips"}
    assert (home / "log" / "000000.jsonl").read_bytes() == log


def test_all_its_ratings_decisions_and_progress_are_there(studio: Studio, expected: dict) -> None:
    study = expected["study"]
    with studio.store.read() as view:
        assert as_released(view.ratings(study)) == expected["ratings"]
        assert view.decisions(study) == expected["decisions"]
        progress = {row["rater"]: [row["phase"], row["slot"], row["done"]] for row in view.enrolments(study)}
        assert progress == expected["progress"]
        assert [row["state"] for row in view.assignments(study, expected["bob"])].count("skipped") == 1


def test_the_reasons_for_its_skips_are_taken_from_its_event_log(studio: Studio, expected: dict) -> None:
    with studio.store.read() as view:
        found = [(row["rater"], row["kind"], row["reason"]) for row in view.skips(expected["study"])]
    assert found == [(expected["bob"], "rate", "distressing")]


def test_its_event_log_alone_gives_the_same_database(studio: Studio, home: Path, expected: dict) -> None:
    before = raters.tables_of(studio.store)
    assert studio.store.rebuild() == expected["applied"]
    assert raters.tables_of(studio.store) == before


def test_its_event_log_without_a_database_gives_the_same_one(home: Path) -> None:
    store = Store(home)
    before = raters.tables_of(store)
    store.close()
    (home / "studio.db").unlink()
    again = Store(home)
    assert raters.tables_of(again) == before
    again.close()


def test_its_people_stay_signed_in_and_their_invites_and_passwords_work(
    studio: Studio, expected: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = studio.people
    assert people.accounts.sign_in("ANN", expected["password"]) == expected["ann"]
    assert pseudonym(people.key, expected["study"], expected["ann"]) == expected["pseudonym"]
    monkeypatch.setattr(time, "time", lambda: expected["at"] + 86_400)
    assert COOKIE == "studio"
    old = {COOKIE: expected["login"]}
    assert people.require(old)["id"] == expected["ann"]
    assert "raters only" in refused("sign-in", people.invites.accept, expected["invite"])  # bob is a researcher
    rater_link = old_invite(people, "a" * 32)
    assert people.invites.accept(rater_link) == people.invites.accept(rater_link) == "r" + "a" * 16
    people.sign_out(old)
    refused("sign-in", people.require, old)


def test_an_old_cookie_is_from_before_the_first_new_login(
    studio: Studio, expected: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, old = studio.people, {COOKIE: expected["login"]}
    monkeypatch.setattr(time, "time", lambda: expected["at"] + 86_400)
    people.logins.issue(expected["bob"])
    assert people.require(old)["id"] == expected["ann"]
    with_the_key = people.logins._serializer.dumps(expected["ann"])  # an old program on the same studio
    monkeypatch.setattr(time, "time", lambda: expected["at"] + 2 * 86_400)
    later = people.logins._serializer.dumps(expected["ann"])
    assert people.rater({COOKIE: with_the_key}) and people.rater({COOKIE: later}) is None


def test_who_is_signed_out_everywhere_does_not_come_back_by_an_old_link(studio: Studio) -> None:
    people = studio.people
    cy = "r" + "c" * 16
    joined = {"rater": cy, "name": "Cy", "role": "rater", "account": "link:" + "c" * 16, "cohort": "", "secret": None}
    studio.store.write(lambda transaction: transaction.record("rater.joined", **joined))
    link = old_invite(people, "c" * 32)
    people.sign_out_everywhere(cy)
    refused("sign-in", people.invites.accept, link)


def test_who_withdrew_does_not_come_back_by_an_old_link(studio: Studio, expected: dict) -> None:
    people = studio.people
    refused("sign-in", people.invites.accept, old_invite(people, expected["forgotten"][2][1:] + "0" * 16))
    link = old_invite(people, "b" * 32)
    studio.withdraw(people.invites.accept(link))
    refused("sign-in", people.invites.accept, link)


def test_its_raters_go_on_rating_where_they_stopped(studio: Studio, expected: dict) -> None:
    bob = raters.Rater(studio, expected["study"], studio.sessions.clock, expected["bob"])
    assert bob.step()["screen"] == "rate"
    bob.walk()
    with studio.store.read() as view:
        assert view.enrolment(expected["study"], expected["bob"])["phase"] == "done"
    before = raters.tables_of(studio.store)
    studio.store.rebuild()
    assert raters.tables_of(studio.store) == before


def test_withdrawing_from_it_erases_the_rater_and_keeps_the_others(studio: Studio, home: Path, expected: dict) -> None:
    study, ann = expected["study"], expected["ann"]
    assert studio.withdraw(ann) > 10
    left = [event for event in studio.store.log.read() if ann in json.dumps(event)]
    assert {event["event"] for event in left} == {"rater.withdrawn"}  # it holds the pseudonym only
    kept = [rating for rating in expected["ratings"] if rating["rater"] != ann]
    with studio.store.read() as view:
        assert view.rater(ann) is None and as_released(view.ratings(study)) == kept and kept
    before = raters.tables_of(studio.store)
    studio.store.rebuild()
    assert raters.tables_of(studio.store) == before


def test_those_who_withdrew_from_it_are_not_in_it(studio: Studio, home: Path, expected: dict) -> None:
    studio.store.rebuild()
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    names, kept_in_withdrawal = expected["forgotten"][:2], expected["forgotten"][2]
    assert not any(name.encode() in everything for name in names)
    with studio.store.read() as view:
        assert view.rater(kept_in_withdrawal) is None and view.contributed("voice-code") == []


def test_a_database_of_the_first_schema_opens(tmp_path: Path) -> None:
    home = unpack("first-schema", tmp_path / "home")
    assert "decisions" not in rows_on_disk(home) and rows_on_disk(home)["version"] == [(1,)]
    store = Store(home)
    assert rows_on_disk(home)["version"] == [(len(MIGRATIONS),)]
    with store.read() as view:
        assert as_released(view.ratings("s1")) == EXPECTED["first-schema"]["ratings"]
    before = raters.tables_of(store)
    store.rebuild()
    assert raters.tables_of(store) == before
    store.close()
