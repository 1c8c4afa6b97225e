"""A store on either database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.store.store import Store


@pytest.fixture
def opened(home: Path, store_url: str) -> Iterator[Store]:
    store = Store(home, store_url)
    yield store
    store.close()
