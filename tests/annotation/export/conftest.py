"""A studio with raters, for all tests of the export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from export_desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "home")
    yield desk
    desk.studio.store.close()
