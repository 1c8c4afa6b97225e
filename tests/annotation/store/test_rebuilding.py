"""A broken database is rebuilt from the event log, and kept; at start the app says so. Odd names of the home folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import raters
from store_events import add_study, assign, join, rate

from annotation.store.rebuilding import rebuild
from annotation.store.store import Store
from emotion_omni.types import EmotionOmniError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def filled(home: Path) -> dict:
    """A store with a rating → its tables."""
    store = Store(home)
    store.write(lambda transaction: add_study(transaction, 3))

    def give(transaction) -> None:
        rater = join(transaction)
        item = transaction.items("s1")[0]["id"]
        rate(transaction, rater, item, assign(transaction, rater, item))

    store.write(give)
    tables = raters.tables_of(store)
    store.close()
    return tables


def overwrite(database: Path, start: int, size: int) -> None:
    with database.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * size)


def as_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()
    (database / "inside").write_text("x")


def without_tables(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE meta")
    connection.close()


def truncate(size: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda database: os.truncate(database, size(database.stat().st_size))


BROKEN: dict[str, Callable[[Path], object]] = {
    "text": lambda database: database.write_text("This is no database." * 100),
    "header": lambda database: overwrite(database, 0, 100),
    "middle": lambda database: overwrite(database, 4096, 40_000),
    "cut in half": truncate(lambda size: size // 2),
    "cut in a page": truncate(lambda size: size - 1000),
    "a few bytes": truncate(lambda size: 50),
    "a folder": as_folder,
    "no table": without_tables,
}
REBUILT_AT_START: dict[str, Callable[[Path], object]] = {
    "zero bytes": truncate(lambda size: 0),
    "missing": Path.unlink,
}
SIDE_FILES: dict[str, Callable[[Path], object]] = {
    "stale wal": lambda database: write_stale_wal(database),
    "wal of noise": lambda database: database.with_name("studio.db-wal").write_bytes(b"\x37\x7f\x06\x82" * 4000),
    "shm of noise": lambda database: database.with_name("studio.db-shm").write_bytes(b"\xff" * 32_768),
    "wal is a folder": lambda database: database.with_name("studio.db-wal").mkdir(),
}


def write_stale_wal(database: Path) -> None:
    """The log of another database of the same page size, as a backup of single files leaves it."""
    other = database.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE foreign_one (x)")
    connection.execute("INSERT INTO foreign_one VALUES (zeroblob(50000))")
    connection.commit()
    shutil.copy(database.with_name("other.db-wal"), database.with_name("studio.db-wal"))
    connection.close()
    other.unlink()


@pytest.mark.parametrize("side", [None, *SIDE_FILES])
@pytest.mark.parametrize("what", [None, *BROKEN, *REBUILT_AT_START])
def test_rebuild_gives_the_same_tables_whatever_is_left_of_the_database(
    home: Path, what: str | None, side: str | None
) -> None:
    before, database = filled(home), home / "studio.db"
    if what:
        (BROKEN | REBUILT_AT_START)[what](database)
    if side:
        SIDE_FILES[side](database)
    done = rebuild(home)
    store = Store(home)
    assert raters.tables_of(store) == before and done.events == store.log.last
    store.close()
    assert not list(home.glob("*.fresh*"))
    kept = {path.name for path in home.glob("studio.db.broken-*")}
    assert kept == set(done.set_aside)
    if what in BROKEN and what != "cut in a page":  # its last page is a free one
        assert done.fault and kept
    if what == "a folder":
        assert next(home.glob("studio.db.broken-*/inside")).read_text() == "x"
    assert all(path.stat().st_mode & 0o077 == 0 for path in home.iterdir())


@pytest.mark.parametrize("what", BROKEN)
def test_who_opens_a_broken_database_is_told_what_to_do(home: Path, what: str) -> None:
    filled(home)
    BROKEN[what](home / "studio.db")
    if what == "middle" or what.startswith("cut"):  # found when it is read at the latest, by the rebuild at once
        return
    with pytest.raises(EmotionOmniError, match="python -m annotation rebuild") as caught:
        Store(home)
    assert caught.value.code == "database-damaged" and str(home / "studio.db") in str(caught.value)


@pytest.mark.parametrize("what", REBUILT_AT_START)
def test_an_empty_or_missing_database_is_filled_at_start(home: Path, what: str) -> None:
    before = filled(home)
    REBUILT_AT_START[what](home / "studio.db")
    store = Store(home)
    assert raters.tables_of(store) == before
    store.close()


def test_nothing_is_changed_where_the_log_cannot_give_it(home: Path) -> None:
    filled(home)
    (home / "studio.db").write_text("broken")
    log = next((home / "log").glob("*.jsonl"))
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"damaged\n", *lines[2:]]))
    for code in ("log-damaged", "log-missing"):
        with pytest.raises(EmotionOmniError) as caught:
            rebuild(home)
        assert caught.value.code == code
        assert (home / "studio.db").read_text() == "broken" and not list(home.glob("studio.db?*"))
        log.unlink(missing_ok=True)


def test_a_withdrawal_deletes_what_was_set_aside(home: Path) -> None:
    filled(home)
    (home / "studio.db").write_text("broken, with somebody's words")
    assert rebuild(home).set_aside
    store = Store(home)
    with store.read() as view:
        rater = view.raters()[0]["id"]
    store.withdraw_rater(rater)
    store.close()
    assert not list(home.glob("studio.db.broken-*"))


def test_another_file_of_sqlite_is_rebuilt_where_it_is(home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    store = Store(home, url)
    store.write(join)
    store.close()
    (tmp_path / "elsewhere.db").write_text("broken")
    assert rebuild(home, url).set_aside and not (home / "studio.db").exists()


# --- as a command, and odd names --------------------------------------------------------------------------------


def command(*arguments: str, home: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"EMOTION_OMNI_HOME": home, "PYTHONPATH": str(ROOT), "HOME": str(cwd / "me")}
    environment.pop("STUDIO_DATABASE", None)
    return subprocess.run(
        [sys.executable, "-m", *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_the_command_says_what_was_wrong_and_where_it_is_now(home: Path, tmp_path: Path) -> None:
    filled(home)
    (home / "studio.db").write_text("broken")
    for broken in (("annotation", "list"), ("emotion_omni", "serve", "--engine", "fake")):
        told = command(*broken, home=str(home), cwd=tmp_path)
        assert told.returncode and "python -m annotation rebuild" in told.stderr and "Traceback" not in told.stderr
    told = command("annotation", "rebuild", home=str(home), cwd=tmp_path)
    assert told.returncode == 0 and "not a database" in told.stdout and "studio.db.broken-" in told.stdout
    assert command("annotation", "list", home=str(home), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("a%20b", "a%20b"),
        ("a?b=c&mode=ro", "a?b=c&mode=ro"),
        ("a#b", "a#b"),
        ('it\'s "so" ;x', 'it\'s "so" ;x'),
        ("Ünïcode 家", "Ünïcode 家"),
        ("slash/", "slash"),
        ("deep/er/still", "deep/er/still"),
        ("~/data", "me/data"),
        ("file:x", "file:x"),
        (":memory:", ":memory:"),
        ("%zz[1]*{}", "%zz[1]*{}"),
        ("", "studio-data"),
        ("link", "real"),
    ],
)
def test_everything_lies_in_the_home_folder_whatever_its_name(tmp_path: Path, given: str, where: str) -> None:
    (tmp_path / "me").mkdir()
    if given == "link":
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
    done = command("annotation", "invite", "--role", "researcher", home=given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / where).iterdir()} >= {"studio.db", "log", "secret"}
    (tmp_path / where / "studio.db").write_text("broken")
    done = command("annotation", "rebuild", home=given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(f"{(tmp_path / where).as_uri()}/studio.db?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM invites").fetchone() == (1,)
    connection.close()
    roots = {where.split("/")[0], "me"} | ({"link"} if given == "link" else set())
    assert {path.name for path in tmp_path.iterdir()} == roots


@pytest.mark.parametrize(
    ("given", "message"), [("~nobody-of-this-name/x", "EMOTION_OMNI_HOME"), ("file", "cannot be made")]
)
def test_a_home_that_cannot_be_is_named(tmp_path: Path, given: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    told = command("annotation", "list", home=given, cwd=tmp_path)
    assert told.returncode == 1 and message in told.stderr and "Traceback" not in told.stderr
