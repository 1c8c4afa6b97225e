"""A studio's people, with a light hash of passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.people import passwords
from annotation.people.people import People
from annotation.store.store import Store


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords lightly: their cost is not what is tested."""
    monkeypatch.setattr(passwords, "_SCRYPT", {"n": 2, "r": 1, "p": 1})
    monkeypatch.delenv("STUDIO_SECRET", raising=False)


@pytest.fixture
def people(home: Path) -> Iterator[People]:
    store = Store(home)
    yield People(home, store)
    store.close()
