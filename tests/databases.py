"""The databases that a store is tested on: SQLite, and a real PostgreSQL, with a fresh one for every test.

The PostgreSQL is the server named by ``EMOTION_OMNI_POSTGRES`` (a URL whose user may create databases), or
one started for the session from binaries found here. Without either, its cases are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pg8000.native
import pytest

START_SECONDS = 30.0
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
)  # this server never loses power


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, without a database name."""
    if configured := os.environ.get("EMOTION_OMNI_POSTGRES"):
        url = configured.rstrip("/")
        yield url.rsplit("/", 1)[0] if urlsplit(url).path else url
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip("there is no PostgreSQL: neither EMOTION_OMNI_POSTGRES nor binaries (initdb, postgres)")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp" if os.name == "posix" else None))
    try:
        yield from _served(binaries, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a store."""
    return tmp_path / "home"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, home: Path) -> Iterator[str]:
    """The URL of an empty database: SQLite's lies in ``home``, as it does by default."""
    if request.param == "sqlite":
        yield f"sqlite:///{home / 'studio.db'}"
        return
    server = request.getfixturevalue("postgres")
    name = f"studio_{uuid.uuid4().hex[:12]}"
    run_sql(server, f"CREATE DATABASE {name}")
    yield f"{server}/{name}"
    run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")


def run_sql(server: str, statement: str, database: str = "postgres") -> list:
    """One statement, outside any transaction."""
    url = urlsplit(server)
    user, password = unquote(url.username or "postgres"), unquote(url.password) if url.password else None
    connection = pg8000.native.Connection(user, url.hostname or "localhost", database, url.port or 5432, password)
    try:
        return connection.run(statement)
    finally:
        connection.close()


def _binaries() -> Path | None:
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return next((path for path in found if (path / "postgres").exists() and (path / "initdb").exists()), None)


def _served(binaries: Path, folder: Path) -> Iterator[str]:
    user = _unprivileged_user() if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    as_user = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data, port = folder / "data", _free_port()
    new = [binaries / "initdb", "-D", data, "-U", "studio", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
    subprocess.run(new, check=True, **as_user)
    settings = [part for setting in FAST for part in ("-c", setting)]
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, *settings], **as_user
    )
    try:
        url = f"postgresql://studio@127.0.0.1:{port}"
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _unprivileged_user() -> str:
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(url: str, server: subprocess.Popen) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            run_sql(url, "SELECT 1")
            return
        except (OSError, pg8000.native.InterfaceError, pg8000.native.DatabaseError):
            if server.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)
