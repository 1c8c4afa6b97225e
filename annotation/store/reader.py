"""Reads a studio's database. Any process may read while another one writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from annotation.store.engines import DatabaseURL, create_engine, dropped_if_broken
from annotation.store.queries import View


class Reader:
    """``url``: of the database, with all its migrations."""

    def __init__(self, url: DatabaseURL) -> None:
        self.engine = create_engine(url, writes=False)

    @contextmanager
    def read(self) -> Iterator[View]:
        with self.engine.connect() as connection, dropped_if_broken(connection):
            yield View(connection)

    def close(self) -> None:
        self.engine.dispose()
